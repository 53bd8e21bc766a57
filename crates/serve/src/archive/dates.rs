//! Dates: seconds since 1970 as people write them, and back.

mod read;

use std::fmt::Write as _;

pub(super) use read::read;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment on the calendar (the Gregorian one, in all times).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// From 0, a Sunday.
    pub weekday: usize,
}

const DAY_SECONDS: i64 = 86_400;
/// Days from 0000-03-01, with which four centuries begin, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
const DAYS_OF_400_YEARS: i64 = 146_097;

impl Civil {
    /// The moment so many seconds after 1970 began, where there is no zone.
    pub fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY_SECONDS);
        let rest = seconds.rem_euclid(DAY_SECONDS);
        let shifted = days + DAYS_TO_1970;
        let era = shifted.div_euclid(DAYS_OF_400_YEARS);
        let of_era = shifted.rem_euclid(DAYS_OF_400_YEARS);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March on, so that the day that may be missing is the last.
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Civil {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7) as usize,
        }
    }

    /// The inverse; the weekday does not count.
    pub fn seconds(&self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = (self.month + 9) % 12;
        let of_year = (153 * month + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * DAYS_OF_400_YEARS + of_era - DAYS_TO_1970;
        days * DAY_SECONDS + self.hour * 3600 + self.minute * 60 + self.second
    }
}

/// How a date is written (git-log(1), "--date").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `Thu Apr 7 22:13:13 2005 -0700`
    Normal,
    /// `Thu, 7 Apr 2005 22:13:13 -0700`
    Rfc2822,
    /// `2005-04-07 22:13:13 -0700`
    Iso,
    /// `2005-04-07T22:13:13-07:00`
    IsoStrict,
    /// `2005-04-07`
    Short,
}

/// The largest time that is a year one can write, and a bit.
const SECONDS_MAX: i64 = 1 << 55;

/// A date in its zone, which is in hours and minutes as they are written: `-700` is seven hours.
pub(super) fn write(seconds: i64, zone: i64, style: Style) -> String {
    let (seconds, zone) = match (0..SECONDS_MAX).contains(&seconds) && zone.abs() < 100_000 {
        true => (seconds, zone),
        false => (0, 0),
    };
    let date = Civil::of(seconds + (zone / 100 * 60 + zone % 100) * 60);
    let Civil { year, month, day, hour, minute, second, weekday } = date;
    let (name, weekday) = (MONTHS[month as usize - 1], DAYS[weekday]);
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let mut text = match style {
        Style::Normal => format!("{weekday} {name} {day} {clock} {year}"),
        Style::Rfc2822 => format!("{weekday}, {day} {name} {year} {clock}"),
        Style::Iso => format!("{year:04}-{month:02}-{day:02} {clock}"),
        Style::IsoStrict => format!("{year:04}-{month:02}-{day:02}T{clock}"),
        Style::Short => format!("{year:04}-{month:02}-{day:02}"),
    };
    let (hours, minutes) = (zone.abs() / 100, zone.abs() % 100);
    let sign = if zone < 0 { '-' } else { '+' };
    let written = match style {
        Style::Short => Ok(()),
        Style::IsoStrict if zone == 0 => write!(text, "Z"),
        Style::IsoStrict => write!(text, "{sign}{hours:02}:{minutes:02}"),
        _ => write!(text, " {sign}{:04}", zone.abs()),
    };
    written.expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_on_the_calendar_and_back() {
        for (seconds, year, month, day) in [
            (0, 1970, 1, 1),
            (-1, 1969, 12, 31),
            (951_782_400, 2000, 2, 29),
            (4_107_542_400, 2100, 3, 1),
            (1_112_911_993, 2005, 4, 7),
        ] {
            let civil = Civil::of(seconds);
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!(civil.seconds(), seconds);
        }
        for seconds in (-100_000_000_000..100_000_000_000).step_by(98_765_431) {
            assert_eq!(Civil::of(seconds).seconds(), seconds);
        }
    }

    #[test]
    fn dates_as_git_writes_them() {
        for (style, text) in [
            (Style::Normal, "Thu Apr 7 15:13:13 2005 -0700"),
            (Style::Rfc2822, "Thu, 7 Apr 2005 15:13:13 -0700"),
            (Style::Iso, "2005-04-07 15:13:13 -0700"),
            (Style::IsoStrict, "2005-04-07T15:13:13-07:00"),
            (Style::Short, "2005-04-07"),
        ] {
            assert_eq!(write(1_112_911_993, -700, style), text);
        }
        assert_eq!(write(1_112_911_993, 0, Style::IsoStrict), "2005-04-07T22:13:13Z");
        assert_eq!(write(1_112_911_993, 545, Style::Normal), "Fri Apr 8 03:58:13 2005 +0545");
        assert_eq!(write(i64::MAX, -700, Style::Iso), "1970-01-01 00:00:00 +0000");
    }
}
