//! Days and seconds as people write them: `2027-01-31` or `2027-01-31T12:00:00Z`, always UTC.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds since 1970, written as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub u64);

/// A text that is no date.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no date: 2027-01-31 or 2027-01-31T12:00:00Z is one")]
pub struct NoDate(String);

const DAY: u64 = 86_400;

/// Days from 1970-01-01 to the first day of a year.
fn days_before_year(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days_of_months(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

fn parse(text: &str) -> Option<u64> {
    let (day, time) = match text.split_once(['T', ' ']) {
        Some((day, time)) => (day, Some(time.strip_suffix('Z')?)),
        None => (text, None),
    };
    let numbers = |text: &str, by: char, digits: [usize; 3]| {
        let parts: Vec<&str> = text.split(by).collect();
        let fine = |(part, digits): (&&str, usize)| {
            part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let is_fine = parts.len() == 3 && parts.iter().zip(digits).all(fine);
        let number = |at: usize| parts[at].parse::<u64>().ok();
        if !is_fine {
            return None;
        }
        Some([number(0)?, number(1)?, number(2)?])
    };
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let months = days_of_months(year);
    let at = month as usize - 1;
    if !(1..=months[at]).contains(&day) {
        return None;
    }
    let days = days_before_year(year) + months[..at].iter().sum::<u64>() + day - 1;
    let [hours, minutes, seconds] = match time {
        Some(time) => numbers(time, ':', [2, 2, 2])?,
        None => [0; 3],
    };
    let is_time = hours < 24 && minutes < 60 && seconds < 60;
    is_time.then(|| days * DAY + hours * 3600 + minutes * 60 + seconds)
}

impl FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Self, NoDate> {
        parse(text).map(Date).ok_or_else(|| NoDate(text.to_owned()))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut days, seconds) = (self.0 / DAY, self.0 % DAY);
        let mut year = 1970 + days / 366;
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        days -= days_before_year(year);
        let mut month = 1;
        for length in days_of_months(year) {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{:02}T{hours:02}:{minutes:02}:{:02}Z",
            days + 1,
            seconds % 60
        )
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A date of TOML's own, or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Toml(toml::value::Datetime),
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Toml(date) => date.to_string(),
        };
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:01Z", 951_827_401),
            ("2026-11-23T08:00:00Z", 1_795_420_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(text.parse::<Date>().expect(text).0, seconds, "{text}");
            assert_eq!(Date(seconds).to_string(), text);
        }
        for day in (0..60_000).map(|day| day * DAY + 86_399) {
            assert_eq!(Date(day).to_string().parse::<Date>().expect("a date").0, day);
        }
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T24:00:00Z",
            "1969-12-31",
        ] {
            bad.parse::<Date>().expect_err(bad);
        }
    }
}
