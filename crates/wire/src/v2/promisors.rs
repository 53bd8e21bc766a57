//! Other remotes that have what this one leaves out (gitprotocol-v2, "promisor-remote").

use bstr::{BString, ByteSlice as _};

/// A remote a client may fetch left-out objects from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PromisorRemote {
    /// Its name here.
    pub name: BString,
    /// Its URL.
    pub url: BString,
    /// More about it: `partialCloneFilter`, `token`.
    pub fields: Vec<(&'static str, BString)>,
}

/// What is advertised: fields with commas between them, remotes with semicolons.
pub(super) fn line(remotes: &[PromisorRemote]) -> BString {
    let mut line = BString::default();
    for (at, remote) in remotes.iter().enumerate() {
        line.extend_from_slice(if at == 0 { b"" } else { b";" });
        line.extend_from_slice(b"name=");
        encode(&mut line, &remote.name);
        line.extend_from_slice(b",url=");
        encode(&mut line, &remote.url);
        for (name, value) in &remote.fields {
            line.extend_from_slice(format!(",{name}=").as_bytes());
            encode(&mut line, value);
        }
    }
    line
}

/// The names a client answers with.
pub(super) fn names(value: &[u8]) -> Vec<BString> {
    let names = value.split_str(";").filter(|name| !name.is_empty());
    names.map(decode).collect()
}

fn encode(line: &mut BString, value: &[u8]) {
    for &byte in value {
        match byte {
            b',' | b';' | b'%' | 0..=b' ' | 0x7f.. => {
                line.extend_from_slice(format!("%{byte:02x}").as_bytes());
            }
            plain => line.push(plain),
        }
    }
}

/// What is no encoding stays as it is.
fn decode(name: &[u8]) -> BString {
    let mut decoded = BString::default();
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| byte == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match value {
            Some(value) => {
                decoded.push(value);
                rest = &behind[2..];
            }
            None => {
                decoded.push(byte);
                rest = behind;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_written_and_names_are_read() {
        let one = PromisorRemote {
            name: "a;b".into(),
            url: "https://x/y z%".into(),
            fields: vec![("token", "t,".into())],
        };
        let other = PromisorRemote { name: "c".into(), url: "u".into(), fields: Vec::new() };
        let expected = "name=a%3bb,url=https://x/y%20z%25,token=t%2c;name=c,url=u";
        assert_eq!(line(&[one, other]), expected);
        assert_eq!(names(b"a%3bb;c;;%zz%4"), ["a;b", "c", "%zz%4"]);
        assert!(names(b"").is_empty());
    }
}
