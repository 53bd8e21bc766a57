//! One program for all fuzz targets: each is a parser, named by its module.
//!
//! `PACKHORSE_FUZZ_TARGET` says which one runs. One program is built once, where a program for
//! each target would link everything as often as there are targets.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

macro_rules! targets {
    ($($name:ident,)*) => {
        $(mod $name;)*

        fn target(name: &str) -> Option<fn(&[u8])> {
            match name {
                $(stringify!($name) => Some($name::run),)*
                _ => None,
            }
        }
    };
}

targets! {
    gitconfig_parse,
    object_commit,
    object_fsck,
    object_tag,
    object_tree,
    pack_bitmap,
    pack_delta,
    pack_entry,
    pack_graph,
    pack_idx,
    pack_midx,
    packed_refs,
    refname,
    wire_pktline,
    wire_push,
    wire_v0_fetch,
    wire_v2_command,
}

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PACKHORSE_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("PACKHORSE_FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
