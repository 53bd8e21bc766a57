//! Archives: what `git archive --remote` says and is told before the archive itself, which
//! comes on side-band ([`crate::sideband`]).
//!
//! The client sends a line `argument WORD` for each word of its command line and a flush packet;
//! the server answers `ACK` and a flush packet, or `NACK` and why (git-upload-archive(1),
//! git-archive(1)).

use std::io::{self, BufRead};

use bstr::BString;

use crate::limits::{TextBudget, push_within};
use crate::{Error, Limits, Packet, PacketReader, PacketWriter, Sink};

/// Reads the words of the client's command line, `git archive` itself left out.
///
/// # Errors
/// [`Error::Malformed`] for another line, [`Error::Limit`] for too many.
pub fn read_arguments<R: BufRead>(
    reader: &mut PacketReader<R>,
    limits: &Limits,
) -> Result<Vec<BString>, Error> {
    let mut text = TextBudget::new(limits);
    let mut arguments = Vec::new();
    loop {
        let line = match reader.next_line()? {
            Packet::Data(line) => line,
            Packet::Flush => return Ok(arguments),
            Packet::Eof => return Err(Error::HungUp),
            Packet::Delim | Packet::ResponseEnd => return Err(unexpected()),
        };
        let word = line.strip_prefix(b"argument ").ok_or_else(unexpected)?;
        if word.contains(&0) {
            return Err(Error::Malformed("an argument contains a zero byte".to_owned()));
        }
        let (max, setting) = (limits.archive_arguments_max, "archive_arguments_max");
        push_within(&mut arguments, text.keep(word)?, max, "arguments", setting)?;
    }
}

fn unexpected() -> Error {
    Error::Malformed("'argument' token or flush expected".to_owned())
}

/// Says that an archive comes, or words on side-band that say why not.
///
/// # Errors
/// When the connection failed.
pub fn accept(output: &mut dyn Sink) -> io::Result<()> {
    let mut writer = PacketWriter::new(output);
    writer.text("ACK")?;
    writer.flush_pkt()?;
    writer.flush()
}

/// Says that there is no archive, and why.
///
/// # Errors
/// When the connection failed.
pub fn refuse(output: &mut dyn Sink, words: &str) -> io::Result<()> {
    let mut writer = PacketWriter::new(output);
    writer.text(format!("NACK {}", words.replace('\n', " ")))?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<BString>, Error> {
        let limits = Limits { archive_arguments_max: 2, ..Limits::default() };
        read_arguments(&mut PacketReader::new(bytes), &limits)
    }

    #[test]
    fn arguments_are_words_until_a_flush() {
        let words = read(b"001aargument --format=tar\n0012argument HEAD\n0000rest").expect("two");
        assert_eq!(words, ["--format=tar", "HEAD"]);
        assert_eq!(read(b"0000").expect("none"), Vec::<BString>::new());
        assert_eq!(read(b"000eargument \n0000").expect("an empty one"), [""]);
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        for (bytes, words) in [
            (&b"0012argument HEAD\n"[..], "hung up"),
            (b"000cwant abc0000", "'argument' token or flush expected"),
            (b"0001", "'argument' token or flush expected"),
            (b"000fargument a\x000000", "zero byte"),
            (b"000fargument a\n000fargument b\n000fargument c\n0000", "archive_arguments_max"),
        ] {
            let error = read(bytes).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn answers_as_git_reads_them() {
        let mut out = Vec::new();
        accept(&mut out).unwrap();
        assert_eq!(out, b"0008ACK\n0000");
        let mut out = Vec::new();
        refuse(&mut out, "no\nway").unwrap();
        assert_eq!(out, b"0010NACK no way\n");
    }
}
