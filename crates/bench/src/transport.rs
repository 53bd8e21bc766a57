//! Two roads to a server: the standard streams of a program, and HTTP/1.1.
//!
//! Just enough of HTTP for a smart-protocol session on one kept-alive connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout};

use crate::Outcome;

const READ_BUFFER_BYTES: usize = 128 * 1024;

/// Requests go one way, each answer is read before the next request.
pub(crate) trait Road: Read {
    /// Asks for the capability advertisement.
    fn open(&mut self) -> io::Result<()>;
    /// Sends one request.
    fn send(&mut self, request: &[u8]) -> io::Result<()>;
    /// Takes leave.
    fn close(&mut self) -> io::Result<()>;
}

/// The standard streams of `upload-pack`.
#[derive(Debug)]
pub(crate) struct Streams {
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Streams {
    pub(crate) fn of(child: &mut Child) -> Outcome<Self> {
        let output = child.stdout.take().ok_or("standard output is not piped")?;
        let output = BufReader::with_capacity(READ_BUFFER_BYTES, output);
        Ok(Streams { input: child.stdin.take(), output })
    }
}

impl Read for Streams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }
}

impl Road for Streams {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(request)?;
        input.flush()
    }

    fn close(&mut self) -> io::Result<()> {
        self.send(b"0000")?;
        self.input = None;
        Ok(())
    }
}

/// One HTTP/1.1 connection to one repository.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    authority: String,
    path: String,
    body: Body,
}

/// What is left of the body of an answer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    /// In chunks; so much is left of the present one.
    Chunks(u64),
}

impl Http {
    /// Connects to `HOST:PORT`; `path` is the repository's, with a slash in front.
    pub(crate) fn connect(authority: &str, path: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        Ok(Http {
            stream: BufReader::with_capacity(READ_BUFFER_BYTES, stream),
            authority: authority.to_owned(),
            path: path.to_owned(),
            body: Body::Length(0),
        })
    }

    fn request(&mut self, line: &str, body: &[u8]) -> io::Result<()> {
        // The rest of the last answer would be taken for the next one.
        io::copy(self, &mut io::sink())?;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        self.stream.get_mut().write_all(&message)?;
        self.read_head()
    }

    fn read_head(&mut self) -> io::Result<()> {
        let status = self.line()?;
        if status.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("the server answers {status}")));
        }
        self.body = Body::Length(0);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => {
                    self.body = Body::Length(value.parse().map_err(io::Error::other)?);
                }
                Some(("transfer-encoding", "chunked")) => self.body = Body::Chunks(0),
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        if self.body == Body::Chunks(0) { self.next_chunk() } else { Ok(()) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let left = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        self.body = Body::Chunks(left);
        if left == 0 {
            // No trailers are expected: an empty line, then the next answer.
            self.line()?;
            self.body = Body::Length(0);
        }
        Ok(())
    }
}

impl Read for Http {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Body::Length(left) | Body::Chunks(left)) = self.body;
        if left == 0 {
            return Ok(0);
        }
        let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.stream.read(&mut buffer[..take])?;
        let left = left - count as u64;
        match self.body {
            Body::Length(_) => self.body = Body::Length(left),
            Body::Chunks(_) => self.body = Body::Chunks(left),
        }
        if self.body == Body::Chunks(0) {
            self.line()?;
            self.next_chunk()?;
        }
        Ok(count)
    }
}

impl Road for Http {
    fn open(&mut self) -> io::Result<()> {
        let line = format!("GET {}/info/refs?service=git-upload-pack", self.path);
        self.request(&line, b"")
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let line = format!("POST {}/git-upload-pack", self.path);
        self.request(&line, request)
    }

    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends one push to a repository; it must be taken.
pub(crate) fn push(authority: &str, name: &str, body: &[u8]) -> Outcome<()> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /{name}/git-receive-pack HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.contains("unpack ok") && answer.contains("ok refs/") {
        true => Ok(()),
        false => Err(format!("the push was refused: {answer}").into()),
    }
}

/// Gets a file and throws it away; how long it was.
pub(crate) fn download(authority: &str, path: &str) -> Outcome<u64> {
    let mut http = Http::connect(authority, "")?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    http.stream.get_mut().write_all(head.as_bytes())?;
    http.read_head()?;
    Ok(io::copy(&mut http, &mut io::sink())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_come_whole_by_length_and_in_chunks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let answers = [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            ];
            for answer in answers {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                }
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut http = Http::connect(&authority, "/a.git").unwrap();
        let mut text = String::new();
        http.open().unwrap();
        http.read_to_string(&mut text).unwrap();
        http.send(b"").unwrap();
        http.read_to_string(&mut text).unwrap();
        assert_eq!(text, "helloabcde");
        assert!(http.send(b"").unwrap_err().to_string().contains("404"));
        server.join().unwrap();
    }
}
