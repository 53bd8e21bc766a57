//! Compressed streams: what `git archive gzip` is to git.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::channel::DataWriter;
use super::tar::Ending;

/// The system a gzip header names: Unix, on every system (RFC 1952, "OS").
const UNIX: u8 = 3;

/// The level for what a client asked for; zlib's own choice when it did not.
pub(super) fn level(asked: Option<u32>) -> Compression {
    asked.map_or_else(Compression::default, |level| Compression::new(level.min(9)))
}

/// Compresses what is written, without a name and a time: the same in, the same out.
pub(super) fn gzip<W: Write>(output: W, asked: Option<u32>) -> GzEncoder<W> {
    GzBuilder::new().operating_system(UNIX).write(output, level(asked))
}

impl Ending for DataWriter<'_, '_> {
    fn end(&mut self) -> io::Result<()> {
        self.flush()
    }
}

impl<W: Ending> Ending for GzEncoder<W> {
    fn end(&mut self) -> io::Result<()> {
        self.try_finish()?;
        self.get_mut().end()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn headers_say_nothing_of_when_and_where() {
        let mut encoder = gzip(Vec::new(), Some(9));
        encoder.write_all(b"content").unwrap();
        encoder.end().unwrap();
        let bytes = encoder.get_ref();
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, UNIX]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }
}
