//! What the repository's own configuration says about pushes (`receive.*`, `transfer.*`).

use std::path::PathBuf;

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::{Config, ConfigError};
use object::FsckOptions;

use crate::HiddenRefs;
use crate::hooks::HookLimits;

use super::proc_receive::ProcReceiveRefs;

/// Commits of one push that are looked through unless the configuration says otherwise.
const PROTECTED_COMMITS_MAX: usize = 50_000;

/// What happens to a push that touches a checked-out branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DenyAction {
    /// Not configured: refused, with an explanation.
    #[default]
    Unconfigured,
    /// Let through.
    Ignore,
    /// Let through with a warning.
    Warn,
    /// Refused.
    Refuse,
    /// Let through, and the work tree is brought up to date.
    UpdateInstead,
}

/// The settings of one repository for pushes. Field names follow git-config's.
#[derive(Debug, Clone)]
pub struct ReceiveSettings {
    /// `receive.denyDeletes`: no branch may be deleted.
    pub deny_deletes: bool,
    /// `receive.denyNonFastForwards`: branches only move forward.
    pub deny_non_fast_forwards: bool,
    /// `receive.denyCurrentBranch`.
    pub deny_current_branch: DenyAction,
    /// `receive.denyDeleteCurrent`.
    pub deny_delete_current: DenyAction,
    /// What received objects are checked for; `None` unless `receive.fsckObjects` or
    /// `transfer.fsckObjects` is set.
    pub fsck: Option<FsckOptions>,
    /// Why objects cannot be checked as configured; no pack is taken then.
    pub fsck_fault: Option<String>,
    /// `receive.fsck.skipList`: a file of ids that are not checked, below the git directory
    /// unless it is absolute.
    pub fsck_skip_list: Option<PathBuf>,
    /// Packs with fewer objects are unpacked; only when `receive.unpackLimit` or
    /// `transfer.unpackLimit` is set, otherwise every pack is kept.
    pub unpack_limit: Option<u32>,
    /// `receive.maxInputSize`, in bytes; `None` for no limit.
    pub max_input_size: Option<u64>,
    /// `receive.advertiseAtomic`.
    pub advertise_atomic: bool,
    /// `receive.advertisePushOptions`.
    pub advertise_push_options: bool,
    /// `transfer.advertiseSID`.
    pub advertise_session_id: bool,
    /// `repack.useDeltaBaseOffset`: whether `ofs-delta` is offered.
    pub ofs_delta: bool,
    /// `receive.updateServerInfo`.
    pub update_server_info: bool,
    /// `receive.shallowUpdate`: a push may make this repository shallow.
    pub shallow_update: bool,
    /// `receive.certNonceSeed`: signed pushes are accepted, against nonces made from it.
    pub cert_nonce_seed: Option<BString>,
    /// `receive.certNonceSlop`, in seconds.
    pub cert_nonce_slop_seconds: u64,
    /// `receive.hideRefs` and `transfer.hideRefs`.
    pub hidden_refs: HiddenRefs,
    /// `receive.procReceiveRefs`.
    pub proc_receive_refs: ProcReceiveRefs,
    /// `packhorse.protectedCommitsMax`: the most commits of one push to a protected ref that are
    /// looked through for files that may not be there.
    pub protected_commits_max: usize,
    /// How long hooks may take; `receive.keepAlive`.
    pub hook_limits: HookLimits,
    /// Settings that were not understood and had no effect, for the operator to read.
    pub warnings: Vec<String>,
}

impl ReceiveSettings {
    /// Reads the settings.
    ///
    /// # Errors
    /// When a value cannot be understood; the error names the setting.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let flag = |key: &str, default: bool| Ok(config.bool(key)?.unwrap_or(default));
        let mut warnings = Vec::new();
        let mut fsck_fault = None;
        let mut hook_limits = HookLimits::default();
        if let Some(seconds) = config.int("receive.keepAlive")? {
            hook_limits.keepalive_seconds = u64::try_from(seconds).unwrap_or(0);
        }
        Ok(ReceiveSettings {
            deny_deletes: flag("receive.denyDeletes", false)?,
            deny_non_fast_forwards: flag("receive.denyNonFastForwards", false)?,
            deny_current_branch: deny_action(config, "receive.denyCurrentBranch")?,
            deny_delete_current: deny_action(config, "receive.denyDeleteCurrent")?,
            fsck: fsck_options(config, &mut warnings, &mut fsck_fault)?,
            fsck_fault,
            fsck_skip_list: config.path("receive.fsck.skipList")?,
            unpack_limit: unpack_limit(config)?,
            max_input_size: positive(config.int("receive.maxInputSize")?),
            advertise_atomic: flag("receive.advertiseAtomic", true)?,
            advertise_push_options: flag("receive.advertisePushOptions", false)?,
            advertise_session_id: flag("transfer.advertiseSID", false)?,
            ofs_delta: flag("repack.useDeltaBaseOffset", true)?,
            update_server_info: flag("receive.updateServerInfo", false)?,
            shallow_update: flag("receive.shallowUpdate", false)?,
            cert_nonce_seed: config.string("receive.certNonceSeed").map(BStr::to_owned),
            cert_nonce_slop_seconds: positive(config.int("receive.certNonceSlop")?).unwrap_or(0),
            hidden_refs: HiddenRefs::from_config(config, "receive"),
            protected_commits_max: positive(config.int("packhorse.protectedCommitsMax")?)
                .map_or(PROTECTED_COMMITS_MAX, |most| most as usize),
            proc_receive_refs: ProcReceiveRefs::new(config.strings("receive.procReceiveRefs")),
            hook_limits,
            warnings,
        })
    }
}

fn positive(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0)
}

fn unpack_limit(config: &Config) -> Result<Option<u32>, ConfigError> {
    let own = config.int("receive.unpackLimit")?.filter(|limit| *limit >= 0);
    let limit = match own {
        Some(limit) => Some(limit),
        None => config.int("transfer.unpackLimit")?.filter(|limit| *limit >= 0),
    };
    Ok(limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)))
}

fn deny_action(config: &Config, key: &str) -> Result<DenyAction, ConfigError> {
    let word = config.string(key).map(|value| value.to_ascii_lowercase());
    match word.as_deref() {
        Some(b"ignore") => return Ok(DenyAction::Ignore),
        Some(b"warn") => return Ok(DenyAction::Warn),
        Some(b"refuse") => return Ok(DenyAction::Refuse),
        Some(b"updateinstead") => return Ok(DenyAction::UpdateInstead),
        _ => {}
    }
    Ok(match config.bool(key)? {
        None => DenyAction::Unconfigured,
        Some(true) => DenyAction::Refuse,
        Some(false) => DenyAction::Ignore,
    })
}

/// `receive.fsckObjects` and `receive.fsck.<id>`.
fn fsck_options(
    config: &Config,
    warnings: &mut Vec<String>,
    fault: &mut Option<String>,
) -> Result<Option<FsckOptions>, ConfigError> {
    let wanted = match config.bool("receive.fsckObjects")? {
        Some(own) => Some(own),
        None => config.bool("transfer.fsckObjects")?,
    };
    if wanted != Some(true) {
        return Ok(None);
    }
    // What git calls --strict: every warning counts as an error.
    let mut options = FsckOptions::strict();
    let fsck: &BStr = b"fsck".as_bstr();
    for (key, value) in config.section_entries("receive", Some(fsck)) {
        let Some(value) = value.filter(|_| key != "skiplist") else { continue };
        match options.set(key.as_bytes(), value) {
            Err(words) if words.starts_with("Cannot demote") => *fault = Some(words),
            Err(_) => warnings.push(format!("skipping unknown msg id '{key}'")),
            Ok(()) => {}
        }
    }
    Ok(Some(options))
}
