//! Configuration text, and the same bytes as `GIT_CONFIG_PARAMETERS`: every setting that is read
//! can be asked for by its name and read as everything.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use bstr::ByteSlice as _;
use gitconfig::{Config, IncludeContext, Limits, Scope};

fn ask(config: &Config) {
    for entry in config.entries() {
        let Ok(name) = entry.name().to_str() else { continue };
        if !name.contains('.') {
            continue;
        }
        assert!(config.all(name).any(|other| std::ptr::eq(other, entry)), "{name:?}");
        let _whatever = (config.bool(name), config.int(name), config.unsigned(name));
        let _whatever = (config.bool_or_string(name), config.string_required(name));
    }
}

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(config) = Config::parse(bytes, Scope::Local, Path::new("config")) {
        ask(&config);
    }
    let variable =
        |name: &str| (name == "GIT_CONFIG_PARAMETERS").then(|| OsString::from_vec(bytes.to_vec()));
    let limits = Limits { include_depth_max: 0, ..Limits::default() };
    let context = IncludeContext { limits, ..IncludeContext::default() };
    if let Ok(config) = Config::from_environment(&variable, &context) {
        ask(&config);
    }
}
