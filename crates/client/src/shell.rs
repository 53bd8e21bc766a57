//! A command on a host that ssh reaches, which says something line by line.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::packets::BoxRead;
use crate::road::{BoxWrite, ProgramEnd, ssh_stream};
use crate::{Error, Options, RemoteUrl};

/// Longest line that is read, bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A running command; dropped, it ends.
pub struct Shell {
    read: BufReader<BoxRead>,
    /// Kept open: a command ends when it is closed.
    _write: BoxWrite,
    program: ProgramEnd,
    line: Vec<u8>,
}

impl Shell {
    /// Runs a command, as a shell there reads it.
    ///
    /// # Errors
    /// [`Error::Program`] when ssh cannot be started; [`Error::Unsupported`] for what ssh does not reach.
    pub fn open(url: &RemoteUrl, command: &str, options: &Options) -> Result<Self, Error> {
        let RemoteUrl::Ssh { user, host, port, .. } = url else {
            return Err(Error::Unsupported(format!("ssh does not reach {url}")));
        };
        let to = (user.as_deref(), host.as_str(), *port);
        let (read, write, program) = ssh_stream(to, command, options)?;
        let read = BufReader::with_capacity(1 << 10, read);
        Ok(Shell { read, _write: write, program, line: Vec::new() })
    }

    /// The next line, without its end; `None` when the command has ended well. Whoever stops waiting for it loses
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Program`] when it has not; [`Error::Io`].
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
        (&mut self.read).take(room).read_until(b'\n', &mut self.line).await?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Some(std::mem::take(&mut self.line)));
        }
        if self.line.len() as u64 >= LINE_BYTES_MAX {
            return Err(Error::Unsupported("a line is too long".to_owned()));
        }
        match self.program.why().await {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}
