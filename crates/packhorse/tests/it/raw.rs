//! A client of HTTP/1.1 that sends exactly what a test wants, and packs made by hand.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A response, as far as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header, which must be there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request on a connection of its own and reads until the server closes it.
pub fn send(authority: &str, head: &str, body: &[u8]) -> Reply {
    let stream = TcpStream::connect(authority).expect("the server listens");
    let mut reader = stream.try_clone().expect("a second handle");
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A server that stops reading is judged by its answer.
            let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body));
        });
        reader.read_to_end(&mut answer)
    })
    .expect("the server answers before it closes the connection");
    parse(&answer)
}

/// An encrypted connection to a server whose certificate is in this file.
fn tls(
    authority: &str,
    certificate: &Path,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    tls_as(authority, certificate, "localhost", &[])
}

/// [`tls`], asking for a name and for protocols.
fn tls_as(
    authority: &str,
    certificate: &Path,
    name: &str,
    protocols: &[&str],
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificate).expect("a file") {
        roots.add(certificate.expect("a certificate")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().expect("a name");
    let client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(authority).expect("the server listens");
    rustls::StreamOwned::new(client, stream)
}

/// Sends bytes over an encrypted connection; what comes back, for as long as it does.
pub fn stream_encrypted(
    authority: &str,
    certificate: &Path,
    bytes: &[u8],
) -> impl std::io::Read + Send + 'static {
    let mut stream = tls(authority, certificate);
    stream.write_all(bytes).expect("the server reads");
    stream
}

/// The protocol that a handshake ends with; `None` when it fails.
pub fn handshake(
    authority: &str,
    certificate: &Path,
    name: &str,
    protocols: &[&str],
) -> Option<Vec<u8>> {
    let mut stream = tls_as(authority, certificate, name, protocols);
    stream.conn.complete_io(&mut stream.sock).ok()?;
    stream.conn.alpn_protocol().map(<[u8]>::to_vec)
}

/// As [`send`], encrypted.
pub fn send_encrypted(authority: &str, certificate: &Path, head: &str, body: &[u8]) -> Reply {
    let mut stream = tls(authority, certificate);
    // A server that stops reading is judged by its answer.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    // Not every server says goodbye.
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

/// As [`send_and_cut`], encrypted.
pub fn send_and_cut_encrypted(authority: &str, certificate: &Path, bytes: &[u8]) {
    let mut stream = tls(authority, certificate);
    stream.write_all(bytes).expect("the server reads");
    stream.sock.shutdown(Shutdown::Write).expect("cut the connection");
    let _ = stream.sock.read_to_end(&mut Vec::new());
}

/// A request line and headers with what every request needs.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head + "\r\n"
}

/// What a client of git:// says first.
pub fn git_head(service: &str, name: &str) -> String {
    let head = format!("git-{service} /{name}\0host=localhost\0");
    format!("{:04x}{head}", head.len() + 4)
}

/// Sends bytes, says that there are no more, and reads until the server closes the connection.
pub fn send_and_end(authority: &str, bytes: &[u8]) -> Vec<u8> {
    let stream = TcpStream::connect(authority).expect("the server listens");
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A server that stops reading is judged by its answer.
            let _ = (&stream).write_all(bytes);
            let _ = stream.shutdown(Shutdown::Write);
        });
        // It may be reset when the server had enough.
        let _ = (&stream).read_to_end(&mut answer);
    });
    answer
}

/// Sends bytes and cuts the connection; returns when the server has closed its side too.
pub fn send_and_cut(authority: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(authority).expect("the server listens");
    stream.write_all(bytes).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("cut the connection");
    let _ = stream.read_to_end(&mut Vec::new());
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head is ASCII");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut reply =
        Reply { status: status.expect("a status line"), head, body: answer[end + 4..].to_vec() };
    if reply.status == 100 {
        return parse(&answer[end + 4..]);
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunk(&reply.body);
    }
    reply
}

fn unchunk(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunked.iter().position(|byte| *byte == b'\r').expect("a chunk's size line");
        let size = std::str::from_utf8(&chunked[..end]).expect("a size in ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunked[end + 2..end + 2 + size]);
        chunked = &chunked[end + 2 + size + 2..];
    }
}

/// One packet.
pub fn packet(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:04x}", data.len() + 4).as_bytes(), data].concat()
}

/// A fetch in v2 of everything below `tip`, with more lines for it.
pub fn fetch_body(tip: &str, lines: &[&str]) -> Vec<u8> {
    let lines: Vec<u8> = lines.iter().flat_map(|line| packet(format!("{line}\n"))).collect();
    let want = packet(format!("want {tip}\n"));
    let (command, done) = (packet("command=fetch"), packet("done\n"));
    [&command, b"0001".as_slice(), &want, &lines, &done, b"0000"].concat()
}

/// A push of one new ref, with the pack that follows it.
pub fn push_body(name: impl AsRef<[u8]>, new: &str, pack: &[u8]) -> Vec<u8> {
    let old = "0".repeat(new.len());
    let line = [
        format!("{old} {new} ").as_bytes(),
        name.as_ref(),
        b"\0report-status side-band-64k agent=test".as_slice(),
    ]
    .concat();
    [packet(line), b"0000".to_vec(), pack.to_vec()].concat()
}

/// Object kinds as packs number them.
pub const BLOB: u8 = 3;
pub const REF_DELTA: u8 = 7;

/// A pack of entries; each is its kind, the size it declares, and what follows its header.
pub struct PackBuilder {
    bytes: Vec<u8>,
}

impl PackBuilder {
    pub fn new(count: u32) -> Self {
        let bytes = [b"PACK".as_slice(), &2_u32.to_be_bytes(), &count.to_be_bytes()].concat();
        PackBuilder { bytes }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// An entry with a header that says anything.
    pub fn entry(mut self, kind: u8, declared_size: u64, rest: &[u8]) -> Self {
        let mut size = declared_size >> 4;
        let mut byte = (kind << 4) | (declared_size & 15) as u8;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(rest);
        self
    }

    pub fn blob(self, content: &[u8]) -> Self {
        self.entry(BLOB, content.len() as u64, &deflate(content))
    }

    /// The pack with the checksum git's `hash-object` way of hashing gives it.
    pub fn finish(self) -> Vec<u8> {
        let mut hasher = object::Checksum::new(object::HashKind::Sha1);
        hasher.update(&self.bytes);
        let sum = hasher.finish();
        [self.bytes.as_slice(), sum.as_bytes()].concat()
    }
}

/// zlib, as git deflates.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// gzip, as git compresses requests.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}
