//! Which service, and which version of the protocol, a client asks for.

use bstr::ByteSlice as _;

/// The services a client can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Clone, fetch, ls-remote.
    UploadPack,
    /// Push.
    ReceivePack,
    /// `git archive --remote`.
    UploadArchive,
}

impl Service {
    /// The name in URLs, requests and program names: `git-upload-pack` and its like.
    pub const fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
            Service::UploadArchive => "git-upload-archive",
        }
    }

    /// The inverse of [`Service::name`].
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"git-upload-pack" => Some(Service::UploadPack),
            b"git-receive-pack" => Some(Service::ReceivePack),
            b"git-upload-archive" => Some(Service::UploadArchive),
            _ => None,
        }
    }
}

/// The version of the protocol spoken on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// The original: the server speaks first, with its refs.
    #[default]
    V0,
    /// Version 0 with a `version 1` line in front.
    V1,
    /// Commands; the server speaks first, with its capabilities.
    V2,
}

impl Protocol {
    /// The version to speak for a `GIT_PROTOCOL` variable, a `Git-Protocol` header
    /// or the extra parameters of a git:// request: keys separated by `:`, of which
    /// the highest known `version=N` counts (gitprotocol-v2, "Initial Client Request").
    pub fn from_git_protocol(value: &[u8]) -> Self {
        value.split_str(":").filter_map(Self::from_key).max().unwrap_or_default()
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        match key {
            b"version=0" => Some(Protocol::V0),
            b"version=1" => Some(Protocol::V1),
            b"version=2" => Some(Protocol::V2),
            _ => None,
        }
    }

    /// The version a service really speaks: there is no v2 of push, and git
    /// answers such a request with v0. Archives have no versions.
    pub fn of_service(self, service: Service) -> Self {
        match (service, self) {
            (Service::ReceivePack, Protocol::V2) | (Service::UploadArchive, _) => Protocol::V0,
            (_, version) => version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_known_version_counts() {
        for (value, version) in [
            ("", Protocol::V0),
            ("version=0", Protocol::V0),
            ("version=1", Protocol::V1),
            ("version=2", Protocol::V2),
            ("version=2:version=1", Protocol::V2),
            ("side=left:version=1:x", Protocol::V1),
            ("version=3", Protocol::V0),
            ("version=3:version=2", Protocol::V2),
            ("version= 2", Protocol::V0),
            ("xversion=2", Protocol::V0),
        ] {
            assert_eq!(Protocol::from_git_protocol(value.as_bytes()), version, "{value}");
        }
    }

    #[test]
    fn push_has_no_v2() {
        assert_eq!(Protocol::V2.of_service(Service::ReceivePack), Protocol::V0);
        assert_eq!(Protocol::V1.of_service(Service::ReceivePack), Protocol::V1);
        assert_eq!(Protocol::V2.of_service(Service::UploadPack), Protocol::V2);
    }
}
