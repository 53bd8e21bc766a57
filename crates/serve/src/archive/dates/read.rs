//! Dates as somebody writes them on a command line (git's "approxidate", the plain part of it).

use bstr::ByteSlice as _;

use super::{Civil, DAYS, MONTHS};

/// Reads a date: `@SECONDS`, seconds with or without a zone, the forms of ISO 8601 and RFC 2822,
/// git's own, `now`, `yesterday`, `N days ago`. Where there is no zone it is UTC, and where there
/// is no time of the day that of `now`. `None` for what is none of these.
pub(crate) fn read(text: &[u8], now: i64) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.to_str().ok()?;
    if let Some(seconds) = text.strip_prefix('@') {
        return split_zone(seconds).0.parse().ok();
    }
    relative(text, now).or_else(|| seconds(text)).or_else(|| absolute(text, now))
}

/// So many digits are seconds, and no date.
const SECONDS_DIGITS_MIN: usize = 9;

fn seconds(text: &str) -> Option<i64> {
    let number = split_zone(text).0;
    let long = number.len() >= SECONDS_DIGITS_MIN && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| long)
}

fn relative(text: &str, now: i64) -> Option<i64> {
    match text {
        "now" => return Some(now),
        "yesterday" => return Some(now - 86_400),
        _ => {}
    }
    let words: Vec<&str> = text.split([' ', '.']).filter(|word| !word.is_empty()).collect();
    let &[count, unit, "ago"] = words.as_slice() else { return None };
    let count: i64 = count.parse().ok().filter(|count| (0..=1_000_000).contains(count))?;
    let unit = unit.strip_suffix('s').unwrap_or(unit);
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        "month" | "year" => {
            let months = if unit == "year" { 12 * count } else { count };
            let mut date = Civil::of(now);
            let month = date.year * 12 + date.month - 1 - months;
            (date.year, date.month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
            return Some(date.seconds());
        }
        _ => return None,
    };
    Some(now - count * seconds)
}

fn absolute(text: &str, now: i64) -> Option<i64> {
    let (text, zone) = split_zone(text);
    let text = apart(text);
    let mut date = Civil { year: -1, month: -1, day: -1, ..Civil::of(now) };
    let mut has_clock = false;
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let is_name = |name: &str| name.to_ascii_lowercase() == word[..word.len().min(3)];
        if word.contains(':') {
            clock(&mut date, word)?;
            has_clock = true;
        } else if word.contains('-') {
            let numbers: Vec<i64> =
                word.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let &[year, month, day] = numbers.as_slice() else { return None };
            (date.year, date.month, date.day) = (year, month, day);
        } else if !word.is_char_boundary(word.len().min(3)) {
            return None;
        } else if let Some(month) = MONTHS.iter().position(|name| is_name(name)) {
            date.month = month as i64 + 1;
        } else if DAYS.iter().any(|name| is_name(name)) {
            // The rest says which.
        } else {
            let number: i64 = word.parse().ok()?;
            match number {
                1..=31 if date.day < 0 => date.day = number,
                1970.. => date.year = number,
                _ => return None,
            }
        }
    }
    let possible = (1970..=9999).contains(&date.year)
        && (1..=12).contains(&date.month)
        && (1..=31).contains(&date.day);
    let zone = zone.filter(|_| has_clock).unwrap_or(0);
    possible.then(|| date.seconds() - zone)
}

/// The text without the `t` that ISO 8601 has between day and time.
fn apart(text: &str) -> String {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let is_border = |at: usize| at > 0 && digit(at - 1) && digit(at + 1);
    text.char_indices().map(|(at, c)| if c == 't' && is_border(at) { ' ' } else { c }).collect()
}

fn clock(date: &mut Civil, word: &str) -> Option<()> {
    let whole = word.split('.').next()?;
    let mut parts = whole.split(':').map(|part| part.parse::<i64>().ok());
    (date.hour, date.minute) = (parts.next()??, parts.next()??);
    date.second = parts.next().unwrap_or(Some(0))?;
    let possible = (0..24).contains(&date.hour)
        && (0..60).contains(&date.minute)
        && (0..=60).contains(&date.second);
    (possible && parts.next().is_none()).then_some(())
}

/// A text and the zone at its end, in seconds east of Greenwich.
fn split_zone(text: &str) -> (&str, Option<i64>) {
    let text = text.trim_end();
    for name in ["utc", "gmt", "z"] {
        let front = text.strip_suffix(name).filter(|front| {
            front.ends_with([' ', ':']) || front.ends_with(|c: char| c.is_ascii_digit())
        });
        if let Some(front) = front {
            return (front.trim_end(), Some(0));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else { return (text, None) };
    let (front, zone) = text.split_at(at);
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    // Two of them would be a day of a month.
    let is_zone = digits.len() == 4
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (front.contains(':') || front.ends_with(' '));
    match digits.parse::<i64>() {
        Ok(number) if is_zone => {
            let seconds = (number / 100 * 60 + number % 100) * 60;
            (front.trim_end(), Some(if zone.starts_with('-') { -seconds } else { seconds }))
        }
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2005-04-07 22:13:13 UTC
    const NOW: i64 = 1_112_911_993;

    #[test]
    fn forms_of_dates() {
        for (text, seconds) in [
            ("@0", 0),
            ("@1234 +0100", 1234),
            ("1112911993", NOW),
            ("1112911993 -0700", NOW),
            ("2005-04-07T22:13:13Z", NOW),
            ("2005-04-07 22:13:13", NOW),
            ("2005-04-07 15:13:13 -0700", NOW),
            ("2005-04-07T15:13:13-07:00", NOW),
            ("Thu Apr 7 15:13:13 2005 -0700", NOW),
            ("Thu, 7 Apr 2005 22:13:13 +0000", NOW),
            ("Tue, 12 Oct 2010 00:00:00 GMT", 1_286_841_600),
            ("2005-04-06", NOW - 86_400),
            ("now", NOW),
            ("yesterday", NOW - 86_400),
            ("2.hours.ago", NOW - 7200),
            ("1 week ago", NOW - 7 * 86_400),
            ("1 year ago", NOW - 365 * 86_400),
        ] {
            assert_eq!(read(text.as_bytes(), NOW), Some(seconds), "{text}");
        }
        for text in ["", "soon", "2005-13-01", "25:00:00 2005-01-01", "-", "@", "5", "ä", "1 ä ago"]
        {
            assert_eq!(read(text.as_bytes(), NOW), None, "{text}");
        }
    }
}
