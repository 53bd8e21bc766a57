//! What a client of git:// says first (gitprotocol-pack, "Git Transport").

use bstr::ByteSlice as _;

use crate::{Error, Protocol, Service};

/// The most bytes of a first message: a path, a host, and a few parameters.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// What the first message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonRequest {
    /// The service.
    pub service: Service,
    /// The path, as it was sent.
    pub path: Vec<u8>,
    /// The host the client believes it talks to.
    pub host: Option<Vec<u8>>,
    /// The version it would like to speak.
    pub protocol: Protocol,
}

/// Reads the first message: `SERVICE PATH`, a zero byte, `host=NAME`, a zero byte; and behind one more
/// zero byte parameters that end with one each. The line feed old clients send is passed over.
///
/// # Errors
/// [`Error::Malformed`] for what is none, or for a path that does not begin with a `/`; in its words, a
/// service that is not known.
pub fn read_head(message: &[u8]) -> Result<DaemonRequest, Error> {
    let asked = read_any_head(message)?;
    match asked.path.starts_with(b"/") {
        true => Ok(asked),
        false => Err(Error::Malformed("the path does not begin with a '/'".to_owned())),
    }
}

/// [`read_head`], with a path that may begin with anything.
///
/// # Errors
/// [`Error::Malformed`] for what is no first message; in its words, a service that is not known.
pub fn read_any_head(message: &[u8]) -> Result<DaemonRequest, Error> {
    let malformed = |what: &str| Error::Malformed(what.to_owned());
    let (command, rest) = match message.split_once_str("\0") {
        Some((command, rest)) => (command, Some(rest)),
        None => (message, None),
    };
    let command = command.strip_suffix(b"\n").unwrap_or(command);
    let (service, path) =
        command.split_once_str(" ").ok_or_else(|| malformed("the first line names no path"))?;
    let service = Service::from_name(service).ok_or_else(|| {
        let name: String = service.to_str_lossy().chars().take(50).collect();
        malformed(&format!("service not enabled: '{}'", name.escape_debug()))
    })?;
    let mut parts = rest.unwrap_or_default().split(|byte| *byte == 0);
    let host = parts.next().filter(|part| part.len() >= 5);
    let host = host.filter(|part| part[..5].eq_ignore_ascii_case(b"host="));
    let host = host.map(|part| part[5..].to_vec());
    // An empty one stands before the parameters.
    let parameters = bstr::join(":", parts.filter(|part| !part.is_empty()));
    let protocol = Protocol::from_git_protocol(&parameters);
    Ok(DaemonRequest { service, path: path.to_vec(), host, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_messages_as_clients_send_them() {
        let read = |text: &[u8]| {
            let read = read_head(text).expect("a request");
            let host = read.host.map(|host| String::from_utf8_lossy(&host).into_owned());
            let path = String::from_utf8_lossy(&read.path).into_owned();
            (read.service, path, host, read.protocol)
        };
        let host = Some("example:9418".to_owned());
        assert_eq!(
            read(b"git-upload-pack /a/b.git\0host=example:9418\0"),
            (Service::UploadPack, "/a/b.git".into(), host.clone(), Protocol::V0)
        );
        assert_eq!(
            read(b"git-upload-pack /a\0host=example:9418\0\0version=2\0other=1\0"),
            (Service::UploadPack, "/a".into(), host, Protocol::V2)
        );
        assert_eq!(
            read(b"git-receive-pack /a b\n"),
            (Service::ReceivePack, "/a b".into(), None, Protocol::V0)
        );
        for bad in
            [&b""[..], b"git-upload-pack", b"git-upload-pack a", b"sh /a\0", b"\0\0\0", b"\xff /a"]
        {
            read_head(bad).expect_err("no request");
        }
        assert_eq!(read(b"git-upload-archive /a\0").0, Service::UploadArchive);
        let words = read_head(b"git-upload-archives\x1b /a\0").expect_err("unknown").to_string();
        assert!(words.contains("service not enabled: 'git-upload-archives\\u{1b}'"), "{words}");
    }
}
