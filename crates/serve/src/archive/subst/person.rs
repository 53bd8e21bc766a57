//! Who made a commit, and when: `Name <mail> SECONDS ZONE`.

use bstr::ByteSlice as _;

/// The line behind `author` or `committer`, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Person<'a> {
    pub name: &'a [u8],
    pub email: &'a [u8],
    /// Seconds since 1970, and the zone in hours and minutes as they are written.
    pub date: Option<Date<'a>>,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date<'a> {
    /// As it is written.
    pub digits: &'a [u8],
    pub zone: i64,
}

impl<'a> Person<'a> {
    /// Reads a line; `None` when nobody stands in it. A broken date is none.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let open = line.find_byte(b'<')?;
        let name = line[..open].trim_ascii_end();
        let rest = &line[open + 1..];
        let email = &rest[..rest.find_byte(b'>')?];
        let behind = &rest[rest.rfind_byte(b'>')? + 1..];
        Some(Person { name, email, date: Date::read(behind.trim_ascii_start()) })
    }
}

impl<'a> Date<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let end = text.iter().position(|byte| !is_digit(byte)).unwrap_or(text.len());
        let (digits, zone) = text.split_at(end);
        let zone = zone.trim_ascii_start();
        let (sign, number) = zone.split_first()?;
        let end = number.iter().position(|byte| !is_digit(byte)).unwrap_or(number.len());
        let number: i64 = number[..end].to_str().ok()?.parse().ok()?;
        let zone = match sign {
            b'+' => number,
            b'-' => -number,
            _ => return None,
        };
        (!digits.is_empty()).then_some(Date { digits, zone })
    }

    /// Seconds since 1970; 0 for what is no time anybody can have meant.
    pub fn seconds(&self) -> i64 {
        self.digits.to_str().ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_they_are_and_as_they_should_not_be() {
        let person = Person::read(b"A U Thor  <a@x> 1112911993 -0700").expect("somebody");
        assert_eq!((person.name, person.email), (&b"A U Thor"[..], &b"a@x"[..]));
        let date = person.date.expect("a date");
        assert_eq!(
            (date.digits, date.seconds(), date.zone),
            (&b"1112911993"[..], 1_112_911_993, -700)
        );
        let person = Person::read(b"<a> b> 5 +0000").expect("somebody");
        assert_eq!((person.name, person.email), (&b""[..], &b"a"[..]));
        assert_eq!(person.date.map(|date| date.seconds()), Some(5));
        for broken in ["A <a>", "A <a> x", "A <a> 5", "A <a> 5 x", "A <a> +0100"] {
            assert_eq!(Person::read(broken.as_bytes()).expect("somebody").date, None, "{broken}");
        }
        assert_eq!(Person::read(b"A a@x 5 +0000"), None);
        assert_eq!(Person::read(b"A <a@x 5 +0000"), None);
    }
}
