//! Where the bytes of a `packed-refs` file are: in memory, or in the file still.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use storage::{Error, Result};

/// The bytes of one version of the file.
#[derive(Debug)]
pub(super) enum Source {
    Held(Vec<u8>),
    /// The file is replaced and never written to: an open one keeps its content.
    File {
        file: File,
        len: u64,
    },
}

impl Source {
    pub fn len(&self) -> u64 {
        match self {
            Source::Held(bytes) => bytes.len() as u64,
            Source::File { len, .. } => *len,
        }
    }

    /// The bytes from `at` on: as many as there are, and from a file not more than `most`.
    pub fn peek<'a>(&'a self, at: u64, most: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        match self {
            Source::Held(bytes) => Ok(bytes.get(at as usize..).unwrap_or_default()),
            Source::File { file, len } => {
                buffer.resize(most.min(len.saturating_sub(at) as usize), 0);
                read_exact(file, buffer, at)?;
                Ok(buffer)
            }
        }
    }
}

pub(super) fn read_exact(file: &File, buffer: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(buffer, at).map_err(|source| {
        let source = match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(source.kind(), "the file became shorter while it was read")
            }
            _ => source,
        };
        Error::io("packed-refs", source)
    })
}
