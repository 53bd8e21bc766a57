//! What came over the wire, as transcript lines.

use std::fmt::Write;

/// Renders received bytes as `<` lines of a transcript.
pub fn render(bytes: &[u8]) -> String {
    let mut lines = Lines::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = lines.item(rest);
    }
    lines.finish()
}

/// One packet at the start of `bytes`: its whole length and whether it is a flush.
/// `None` when there is no whole, valid packet.
pub(super) fn packet_length(header: [u8; 4]) -> Option<usize> {
    let digits = std::str::from_utf8(&header).ok()?;
    if !header.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    match usize::from_str_radix(digits, 16).ok()? {
        3 => None,
        short @ 0..=2 => Some(short.max(4)),
        length => Some(length),
    }
}

/// The inverse of the escapes that [`render`] writes.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&escape, tail) = rest.split_first().expect("an escape has a letter");
        rest = tail;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("\\x has two digits");
                out.push(u8::from_str_radix(digits, 16).expect("\\x has two hex digits"));
                rest = &rest[2..];
            }
            other => panic!("no such escape: \\{}", char::from(other)),
        }
    }
    out
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text
}

/// Lines so far, and side-band data not yet cut into lines.
#[derive(Default)]
struct Lines {
    text: String,
    bands: [Vec<u8>; 3],
}

impl Lines {
    /// Renders the first thing in `bytes` and returns what follows it.
    fn item<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if bytes.starts_with(b"PACK") {
            self.flush_bands();
            self.line("<", &pack_summary(bytes));
            return &[];
        }
        let header = bytes.first_chunk::<4>().copied();
        let length = header.and_then(packet_length).filter(|length| *length <= bytes.len());
        let Some(length) = length else {
            self.flush_bands();
            self.line("<!", &escape(bytes));
            return &[];
        };
        let (packet, rest) = bytes.split_at(length);
        match (&packet[..4], &packet[4..]) {
            (special @ (b"0000" | b"0001" | b"0002"), _) => {
                self.flush_bands();
                self.line("<", &escape(special));
            }
            (_, [band @ 1..=3, data @ ..]) => {
                self.bands[usize::from(*band - 1)].extend_from_slice(data);
            }
            (_, data) => {
                self.flush_bands();
                self.packet("<", data);
            }
        }
        rest
    }

    fn packet(&mut self, mark: &str, data: &[u8]) {
        match data.strip_suffix(b"\n") {
            Some(text) => self.line(mark, &escape(text)),
            None => self.line(&format!("{mark}-"), &escape(data)),
        }
    }

    fn flush_bands(&mut self) {
        let [data, progress, error] = std::mem::take(&mut self.bands);
        // Progress first: it may come in any order with the data, and data ends a response.
        for part in progress.split(|&byte| byte == b'\n' || byte == b'\r') {
            if !part.is_empty() {
                self.line("<2", &escape(part));
            }
        }
        self.band_data(&data);
        if !error.is_empty() {
            self.line("<3", &escape(error.strip_suffix(b"\n").unwrap_or(&error)));
        }
    }

    fn band_data(&mut self, data: &[u8]) {
        if data.starts_with(b"PACK") {
            return self.line("<1", &pack_summary(data));
        }
        let mut rest = data;
        while let Some(header) = rest.first_chunk::<4>() {
            match packet_length(*header).filter(|length| *length <= rest.len()) {
                Some(4) => self.line("<1", &escape(header)),
                Some(length) => self.packet("<1", &rest[4..length]),
                None => break,
            }
            rest = &rest[packet_length(*header).expect("checked just now")..];
        }
        if !rest.is_empty() {
            self.line("<1!", &escape(rest));
        }
    }

    fn line(&mut self, mark: &str, text: &str) {
        let _ = writeln!(self.text, "{mark} {text}");
    }

    fn finish(mut self) -> String {
        self.flush_bands();
        self.text
    }
}

fn pack_summary(pack: &[u8]) -> String {
    match pack.get(8..12).and_then(|count| count.first_chunk::<4>()) {
        Some(count) => format!("pack of {} objects", u32::from_be_bytes(*count)),
        None => "pack, cut short".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_packet_has_its_line() {
        let mut bytes = b"0009done\n0007NAK0001".to_vec();
        bytes.extend_from_slice(b"000a\x02half ");
        bytes.extend_from_slice(b"000a\x02done\n");
        bytes.extend_from_slice(b"0013\x01000eunpack ok\n");
        bytes.extend_from_slice(b"0000zz");
        let expected = "< done\n<- NAK\n< 0001\n<2 half done\n<1 unpack ok\n< 0000\n<! zz\n";
        assert_eq!(render(&bytes), expected);
    }

    #[test]
    fn escapes_come_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&bytes)), bytes);
    }
}
