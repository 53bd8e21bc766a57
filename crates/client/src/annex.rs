//! Contents of git-annex, to and from where git-annex-shell is: `p2pstdio` of git-annex-shell(1), which speaks git-annex'
//! P2P protocol (git-annex' `doc/design/p2p_protocol`), here in version 1.
//!
//! One message is a line; behind `DATA n` come n bytes. Whoever stops in the middle has to drop the connection.

use std::fmt;
use std::str::FromStr;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader,
};

use crate::packets::BoxRead;
use crate::road::{BoxWrite, ProgramEnd, program_stream, shell_quoted, ssh_stream};
use crate::{Error, Options, RemoteUrl};

/// The version of the protocol that is asked for: with a word behind contents that says whether they are what they were.
const VERSION: u32 = 1;
/// Longest line, bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes that are passed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// What git-annex knows a content by: `BACKEND[-sSIZE][-mTIME][-SSIZE-CNUMBER]--NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnexKey {
    text: String,
    size: Option<u64>,
}

/// What was to be a key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no key of git-annex")]
pub struct NoAnnexKey;

impl FromStr for AnnexKey {
    type Err = NoAnnexKey;

    fn from_str(text: &str) -> Result<Self, NoAnnexKey> {
        let (fields, name) = text.split_once("--").ok_or(NoAnnexKey)?;
        let mut fields = fields.split('-');
        let backend = fields.next().unwrap_or_default();
        let is_word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_word(backend) || name.is_empty() || name.contains(['\n', '\r', '\0']) {
            return Err(NoAnnexKey);
        }
        let mut size = None;
        for field in fields {
            let number = field.get(1..).and_then(|text| text.parse::<u64>().ok());
            match field.get(..1) {
                Some("s") => size = Some(number.ok_or(NoAnnexKey)?),
                Some("m" | "S" | "C") if number.is_some() => {}
                _ => return Err(NoAnnexKey),
            }
        }
        Ok(AnnexKey { text: text.to_owned(), size })
    }
}

impl fmt::Display for AnnexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AnnexKey {
    /// Bytes of the content, where the key says it.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The way its name was made, and the name: a checksum in hexadecimal for most ways, with an extension behind
    /// it where the way ends in `E`.
    pub fn backend_and_name(&self) -> (&str, &str) {
        let (fields, name) = self.text.split_once("--").unwrap_or_default();
        (fields.split('-').next().unwrap_or_default(), name)
    }
}

/// Whoever stores contents of git-annex.
pub struct AnnexStore {
    read: BufReader<BoxRead>,
    write: BoxWrite,
    program: Option<ProgramEnd>,
    uuid: String,
    version: u32,
}

impl AnnexStore {
    /// Connects to the git-annex-shell of a host that ssh reaches, or of this machine for a folder. `own` is by what
    /// git-annex knows the repository here.
    ///
    /// # Errors
    /// [`Error::Program`] where there is none, or it refuses; [`Error::Unsupported`] for other addresses.
    pub async fn open(url: &RemoteUrl, own: &str, options: &Options) -> Result<Self, Error> {
        let (read, write, program) = match url {
            RemoteUrl::Ssh { user, host, port, path } => {
                let (folder, own) = (shell_quoted(&annex_folder(path)), shell_quoted(own));
                let command = format!("git-annex-shell 'p2pstdio' {folder} {own}");
                ssh_stream((user.as_deref(), host, *port), &command, options)?
            }
            RemoteUrl::Local(path) => {
                let words = ["p2pstdio".as_ref(), path.as_os_str(), own.as_ref()];
                program_stream("git-annex-shell", &words)?
            }
            _ => return Err(Error::Unsupported(format!("{url}: no git-annex-shell is there"))),
        };
        let begun = Self::begin(read, write, Some(program));
        let begun = tokio::time::timeout(options.connect_timeout, begun).await;
        begun.unwrap_or(Err(Error::Silent(options.connect_timeout)))
    }

    /// Over any stream that says who it is first.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unsupported`] for what is not this protocol.
    pub async fn over(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, Error> {
        Self::begin(Box::new(read), Box::new(write), None).await
    }

    async fn begin(
        read: BoxRead,
        write: BoxWrite,
        program: Option<ProgramEnd>,
    ) -> Result<Self, Error> {
        let read = BufReader::with_capacity(PIECE_BYTES, read);
        let mut store = AnnexStore { read, write, program, uuid: String::new(), version: 0 };
        let line = store.line().await?;
        let uuid = line.strip_prefix("AUTH-SUCCESS ").ok_or_else(|| odd(&line))?;
        store.uuid = uuid.to_owned();
        store.say(&format!("VERSION {VERSION}")).await?;
        let line = store.line().await?;
        let version = line.strip_prefix("VERSION ").and_then(|text| text.parse().ok());
        store.version = version.filter(|version| *version <= VERSION).ok_or_else(|| odd(&line))?;
        Ok(store)
    }

    /// By what git-annex knows the repository there.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Whether a content is there.
    ///
    /// # Errors
    /// When nobody knows.
    pub async fn has(&mut self, key: &AnnexKey) -> Result<bool, Error> {
        self.say(&format!("CHECKPRESENT {key}")).await?;
        self.success().await
    }

    /// Puts what is missing of a content behind what a file has of it already. `progress` hears how many bytes are
    /// there; whether they are the right ones is for whoever asked to find out.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is not there, or became another one on its way.
    pub async fn get(
        &mut self,
        key: &AnnexKey,
        name: &str,
        file: &mut tokio::fs::File,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let mut at = file.seek(std::io::SeekFrom::End(0)).await?;
        self.say(&format!("GET {at} {} {key}", token(name))).await?;
        let line = self.line().await?;
        let count = line.strip_prefix("DATA ").and_then(|text| text.parse::<u64>().ok());
        let mut left = count.ok_or_else(|| odd(&line))?;
        let mut buffer = vec![0; PIECE_BYTES];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.read.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Err(self.ended().await);
            }
            file.write_all(&buffer[..read]).await?;
            (left, at) = (left - read as u64, at + read as u64);
            progress(at);
        }
        file.flush().await?;
        let is_valid = match self.version {
            0 => true,
            _ => match self.line().await?.as_str() {
                "VALID" => true,
                "INVALID" => false,
                line => return Err(odd(line)),
            },
        };
        let is_whole = key.size().is_none_or(|size| size == at);
        self.say(if is_valid && is_whole { "SUCCESS" } else { "FAILURE" }).await?;
        match (is_valid, is_whole) {
            (true, true) => Ok(()),
            (false, _) if at == 0 => Err(Error::Unsupported("the content is not there".into())),
            (false, _) => Err(Error::Unsupported("the content changed on its way".into())),
            (true, false) => {
                let words = format!("the content has {at} bytes, and its key says another number");
                Err(Error::Unsupported(words))
            }
        }
    }

    /// Sends a content, as far as it is not there. `progress` hears how many bytes are.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it is not taken.
    pub async fn put(
        &mut self,
        key: &AnnexKey,
        name: &str,
        file: &mut tokio::fs::File,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let size = file.metadata().await?.len();
        self.say(&format!("PUT {} {key}", token(name))).await?;
        let line = self.line().await?;
        if line == "ALREADY-HAVE" || line.starts_with("ALREADY-HAVE-PLUS") {
            progress(size);
            return Ok(());
        }
        let from = line.strip_prefix("PUT-FROM ").and_then(|text| text.parse::<u64>().ok());
        let Some(from) = from.filter(|from| *from <= size) else {
            return Err(if from.is_some() {
                Error::Unsupported("there is more of the content there than here".to_owned())
            } else {
                odd(&line)
            });
        };
        file.seek(std::io::SeekFrom::Start(from)).await?;
        self.say(&format!("DATA {}", size - from)).await?;
        let (mut at, mut buffer) = (from, vec![0; PIECE_BYTES]);
        while at < size {
            let most = buffer.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
            let read = file.read(&mut buffer[..most]).await?;
            if read == 0 {
                return Err(Error::Unsupported("the file became shorter".to_owned()));
            }
            self.write.write_all(&buffer[..read]).await?;
            at += read as u64;
            progress(at);
        }
        self.write.flush().await?;
        if self.version > 0 {
            let now = file.metadata().await?.len();
            self.say(if now == size { "VALID" } else { "INVALID" }).await?;
        }
        match self.success().await? {
            true => Ok(()),
            false => Err(Error::Unsupported("the content is not taken".to_owned())),
        }
    }

    async fn success(&mut self) -> Result<bool, Error> {
        match self.line().await?.as_str() {
            "SUCCESS" => Ok(true),
            line if line.starts_with("SUCCESS-PLUS ") => Ok(true),
            "FAILURE" => Ok(false),
            line if line.starts_with("FAILURE-PLUS ") => Ok(false),
            line => Err(odd(line)),
        }
    }

    async fn say(&mut self, line: &str) -> Result<(), Error> {
        self.write.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.write.flush().await?)
    }

    async fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        (&mut self.read).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Err(self.ended().await);
        }
        String::from_utf8(line).map_err(|_| odd("bytes that are no text"))
    }

    /// Why nothing comes any more.
    async fn ended(&mut self) -> Error {
        let why = match &mut self.program {
            Some(program) => program.why().await,
            None => None,
        };
        why.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
    }
}

/// The path of a repository as git-annex-shell is told: it counts from the root, where somebody's home is `~`.
pub fn annex_folder(path: &str) -> String {
    match path {
        path if path.starts_with('/') => path.to_owned(),
        path if path.starts_with('~') => format!("/{path}"),
        path => format!("/~/{path}"),
    }
}

/// A name as one word of the protocol.
fn token(name: &str) -> String {
    let one = |letter: char| match letter {
        '%' => "%%".to_owned(),
        letter if letter.is_whitespace() => "%".to_owned(),
        letter => letter.to_string(),
    };
    name.chars().filter(|letter| !letter.is_control() || letter.is_whitespace()).map(one).collect()
}

fn odd(line: &str) -> Error {
    let shown: String = line.chars().take(80).collect();
    let words = shown.strip_prefix("ERROR ").unwrap_or(&shown);
    Error::Unsupported(format!("git-annex says: {}", words.escape_debug()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, split};

    use super::*;

    #[test]
    fn keys_are_read() {
        let key: AnnexKey = "SHA256E-s5--abc.tar.gz".parse().expect("a key");
        assert_eq!((key.size(), key.backend_and_name()), (Some(5), ("SHA256E", "abc.tar.gz")));
        let key: AnnexKey = "WORM-s3-m7--a--b".parse().expect("a key");
        assert_eq!((key.size(), key.backend_and_name()), (Some(3), ("WORM", "a--b")));
        assert_eq!("URL--http&c%%x".parse::<AnnexKey>().map(|key| key.size()), Ok(None));
        for bad in ["", "SHA256", "--a", "A-sx--b", "A-s5--", "A-q1--b", "A--b\nPUT", "A B--c"] {
            assert_eq!(bad.parse::<AnnexKey>(), Err(NoAnnexKey), "{bad:?}");
        }
        assert_eq!(token("a b\t%c\u{7}.txt"), "a%b%%%c.txt");
    }

    /// What one side says in turn: lines that are expected behind `>`, what is answered otherwise.
    async fn spoken(script: &[&str], act: &str) -> (Result<bool, Error>, Vec<u8>, Vec<u64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("content");
        std::fs::write(&path, "12").expect("a file");
        let (ours, theirs) = duplex(1000);
        let script: Vec<String> = script.iter().map(|line| (*line).to_owned()).collect();
        let server = tokio::spawn(async move {
            let (read, mut write) = split(theirs);
            let mut read = BufReader::new(read);
            for line in script {
                match line.strip_prefix('>') {
                    Some(expected) => {
                        let mut found = vec![0; expected.len()];
                        read.read_exact(&mut found).await.expect("something is said");
                        assert_eq!(String::from_utf8_lossy(&found), expected);
                    }
                    None => write.write_all(line.as_bytes()).await.expect("it is heard"),
                }
            }
        });
        let key: AnnexKey = "SHA256-s5--x".parse().expect("a key");
        let (read, write) = split(ours);
        let mut said = Vec::new();
        let done = async {
            let mut store = AnnexStore::over(read, write).await?;
            let mut options = tokio::fs::OpenOptions::new();
            let mut file = options.read(true).write(true).open(&path).await?;
            match act {
                "has" => store.has(&key).await,
                "get" => {
                    store.get(&key, "a b", &mut file, &mut |at| said.push(at)).await.map(|()| true)
                }
                _ => store.put(&key, "", &mut file, &mut |at| said.push(at)).await.map(|()| true),
            }
        };
        let done = done.await;
        if done.is_ok() {
            server.await.expect("all was said");
        }
        (done, std::fs::read(&path).expect("a file"), said)
    }

    #[tokio::test]
    async fn contents_come_and_go() {
        let hello = ["AUTH-SUCCESS 1-2\n", ">VERSION 1\n", "VERSION 1\n"];
        let with = |rest: &[&'static str]| [&hello[..], rest].concat();
        let (done, ..) = spoken(&with(&[">CHECKPRESENT SHA256-s5--x\n", "FAILURE\n"]), "has").await;
        assert!(matches!(done, Ok(false)), "{done:?}");
        let get = [">GET 2 a%b SHA256-s5--x\n", "DATA 3\n345VALID\n", ">SUCCESS\n"];
        let (done, content, said) = spoken(&with(&get), "get").await;
        assert!(done.is_ok(), "{done:?}");
        assert_eq!((content.as_slice(), said.last()), (&b"12345"[..], Some(&5)));
        let old = ["AUTH-SUCCESS 1-2\n", ">VERSION 1\n", "VERSION 0\n"];
        let get = [">GET 2 a%b SHA256-s5--x\n", "DATA 3\n345", ">SUCCESS\n"];
        assert!(spoken(&[&old[..], &get].concat(), "get").await.0.is_ok());
        let put = [">PUT  SHA256-s5--x\n", "PUT-FROM 1\n", ">DATA 1\n2VALID\n", "SUCCESS\n"];
        let (done, _, said) = spoken(&with(&put), "put").await;
        assert!(done.is_ok() && said == [2], "{done:?} {said:?}");
        let put = [">PUT  SHA256-s5--x\n", "ALREADY-HAVE\n"];
        assert!(spoken(&with(&put), "put").await.0.is_ok());
        for (rest, act, words) in [
            (
                &[">GET 2 a%b SHA256-s5--x\n", "DATA 0\nINVALID\n", ">FAILURE\n"][..],
                "get",
                "changed on its way",
            ),
            (
                &[">GET 2 a%b SHA256-s5--x\n", "DATA 1\n3VALID\n", ">FAILURE\n"],
                "get",
                "has 3 bytes",
            ),
            (&[">GET 2 a%b SHA256-s5--x\n", "DATA 3\n3"], "get", "end of file"),
            (&[">PUT  SHA256-s5--x\n", "PUT-FROM 3\n"], "put", "more of the content there"),
            (&[">PUT  SHA256-s5--x\n", "ERROR read-only\n"], "put", "git-annex says: read-only"),
        ] {
            let error = spoken(&with(rest), act).await.0.expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = spoken(&["220 mail.example.org\n"], "has").await.0.expect_err("no protocol");
        assert!(error.to_string().contains("git-annex says: 220"), "{error}");
    }
}
