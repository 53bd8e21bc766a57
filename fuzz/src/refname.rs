//! Ref names: what passes could be a file below the git directory and nowhere else.

use object::{RefName, check_ref_format, check_ref_format_onelevel};

pub(crate) fn run(bytes: &[u8]) {
    let (full, onelevel) = (check_ref_format(bytes), check_ref_format_onelevel(bytes));
    assert!(full.is_err() || onelevel.is_ok());
    if onelevel.is_ok() {
        let mut components = bytes.split(|&byte| byte == b'/');
        assert!(components.all(|name| !name.is_empty() && !name.starts_with(b".")));
        assert!(!bytes.windows(2).any(|pair| pair == b".." || pair == b"@{"));
        assert!(!bytes.iter().any(|byte| byte.is_ascii_control() || b" ~^:?*[\\".contains(byte)));
    }
    if let Ok(name) = RefName::new(bytes) {
        assert_eq!(name.as_bstr(), bytes);
        assert_eq!(name.is_pseudo(), !bytes.starts_with(b"refs/"));
        assert!(name.is_pseudo() || full.is_ok());
    }
}
