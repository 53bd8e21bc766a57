//! The log of a daemon: a file that begins anew when it is long.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};

/// Bytes of a log; the one before it is kept.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// Who takes what is told: a file, and, in a terminal or service, standard error, where each line begins so.
///
/// # Errors
/// When the file cannot be opened.
pub fn journal(path: PathBuf, terminal: Option<&str>) -> io::Result<Dispatch> {
    let file = LogFile::open(path)?;
    let writer = match terminal {
        None => BoxMakeWriter::new(Mutex::new(file)),
        Some(start) => {
            let start = start.to_owned();
            BoxMakeWriter::new(Mutex::new(file).and(move || Beginning(start.clone())))
        }
    };
    let subscriber =
        tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_target(false);
    Ok(Dispatch::new(subscriber.finish()))
}

/// Standard error, where each line begins so. Lines come whole.
struct Beginning(String);

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&[self.0.as_bytes(), bytes].concat())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A log that begins anew when it is long; the one before it is kept.
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(LogFile { path, file, len })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len >= LOG_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("old"))?;
            *self = Self::open(self.path.clone())?;
        }
        self.len += bytes.len() as u64;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes the last lines of a log; how long it is, in bytes.
fn log_lines(path: &Path, lines: usize, output: &mut impl Write) -> io::Result<u64> {
    let text = std::fs::read(path)?;
    let starts = text.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n');
    let start = match lines.checked_sub(1) {
        Some(before) => starts.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
        None => text.len(),
    };
    output.write_all(&text[start..])?;
    Ok(text.len() as u64)
}

/// Shows the last lines of a log, and, if somebody wants that, waits for more.
///
/// # Errors
/// When it cannot be read.
pub fn show(path: &Path, lines: usize, follow: bool) -> io::Result<()> {
    let mut output = io::stdout();
    let mut at = match log_lines(path, lines, &mut output) {
        Ok(at) => at,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !follow => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if !follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Ok(mut file) = File::open(path) else { continue };
        let len = file.metadata()?.len();
        if len < at {
            // Another one was begun.
            at = 0;
        }
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        at += file.read_to_end(&mut text)? as u64;
        if output.write_all(&text).and_then(|()| output.flush()).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").expect("a file");
        let last = |lines| {
            let mut output = Vec::new();
            log_lines(&path, lines, &mut output).expect("read");
            String::from_utf8(output).expect("text")
        };
        assert_eq!(last(0), "");
        assert_eq!(last(1), "three\n");
        assert_eq!(last(2), "two\nthree\n");
        assert_eq!(last(9), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_long_log_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, vec![b'x'; LOG_BYTES_MAX as usize]).expect("a file");
        let mut log = LogFile::open(path.clone()).expect("a log");
        log.write_all(b"one\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("a log"), b"one\n");
        assert_eq!(
            std::fs::metadata(path.with_extension("old")).expect("kept").len(),
            LOG_BYTES_MAX
        );
    }
}
