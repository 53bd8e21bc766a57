//! What a repository's configuration says about fetching from it.

use std::time::Duration;

use gitconfig::Config;
use object::HashKind;
use wire::Unborn;
use wire::v2::PromisorRemote;
use wire::{FilterRules, UploadPackOffer};

use crate::{Error, HiddenRefs, ServerInfo};

/// Which objects a client may ask for beside the tips it is shown (v0 and v1; in v2 any
/// object may be asked for by its id, as git's protocol documentation says).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wantable {
    /// Tips that are shown.
    Shown,
    /// Hidden tips too (`uploadpack.allowTipSHA1InWant`).
    Tips,
    /// All that shown tips reach (`uploadpack.allowReachableSHA1InWant`).
    Reachable,
    /// Hidden tips and all that shown tips reach.
    TipsAndReachable,
    /// Anything (`uploadpack.allowAnySHA1InWant`).
    Any,
}

impl Wantable {
    pub fn hidden_tips(self) -> bool {
        matches!(self, Wantable::Tips | Wantable::TipsAndReachable | Wantable::Any)
    }

    pub fn reachable(self) -> bool {
        matches!(self, Wantable::Reachable | Wantable::TipsAndReachable | Wantable::Any)
    }
}

/// The settings of one upload-pack.
#[derive(Debug, Clone)]
pub(super) struct UploadSettings {
    pub offer: UploadPackOffer,
    pub wantable: Wantable,
    pub hidden: HiddenRefs,
    /// Silence after which a sign of life is sent (`uploadpack.keepAlive`); `None`: never.
    pub keep_alive: Option<Duration>,
    /// The repository is a partial clone: it may lack objects it knows of.
    pub partial: bool,
}

impl UploadSettings {
    pub fn read(config: &Config, hash: HashKind, server: &ServerInfo) -> Result<Self, Error> {
        let flag = |key: &str| -> Result<bool, Error> { Ok(config.bool(key)?.unwrap_or(false)) };
        let tips = flag("uploadpack.allowTipSHA1InWant")?;
        let reachable = flag("uploadpack.allowReachableSHA1InWant")?;
        let wantable = match (flag("uploadpack.allowAnySHA1InWant")?, tips, reachable) {
            (true, ..) => Wantable::Any,
            (_, true, true) => Wantable::TipsAndReachable,
            (_, true, false) => Wantable::Tips,
            (_, false, true) => Wantable::Reachable,
            (_, false, false) => Wantable::Shown,
        };
        let mut offer = UploadPackOffer::new(hash, server.agent.clone());
        offer.allow_tip_sha1_in_want = wantable.hidden_tips();
        offer.allow_reachable_sha1_in_want = wantable.reachable();
        // Read in any case, so that a mistake in them is not found out later.
        let rules = filter_rules(config)?;
        offer.filter = flag("uploadpack.allowFilter")?.then_some(rules);
        offer.ref_in_want = flag("uploadpack.allowRefInWant")?;
        offer.sideband_all = flag("uploadpack.allowSidebandAll")? || server.sideband_all;
        offer.object_info = flag("transfer.advertiseObjectInfo")?;
        if flag("promisor.advertise")? {
            offer.promisor_remotes = promisor_remotes(config)?;
        }
        offer.bundle_uri = flag("uploadpack.advertiseBundleURIs")?;
        offer.unborn = match config.string("lsrefs.unborn") {
            None => Unborn::Advertise,
            Some(value) => match value.to_vec().as_slice() {
                b"advertise" => Unborn::Advertise,
                b"allow" => Unborn::Allow,
                b"ignore" => Unborn::Ignore,
                _ => {
                    return Err(Error::Refused(format!(
                        "invalid value for 'lsrefs.unborn': '{value}'"
                    )));
                }
            },
        };
        if flag("transfer.advertiseSID")? {
            offer.session_id = Some(server.session_id.clone());
        }
        let keep_alive = match config.int("uploadpack.keepAlive")? {
            None => Some(Duration::from_secs(5)),
            Some(seconds) => {
                u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
            }
        };
        Ok(UploadSettings {
            offer,
            wantable,
            hidden: HiddenRefs::from_config(config, "uploadpack"),
            keep_alive,
            partial: is_partial(config)?,
        })
    }
}

fn is_partial(config: &Config) -> Result<bool, Error> {
    if config.string("extensions.partialClone").is_some() {
        return Ok(true);
    }
    for remote in config.subsections("remote") {
        if config.bool(&format!("remote.{remote}.promisor"))?.unwrap_or(false) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The remotes that promised what is not here, and how to get to them.
fn promisor_remotes(config: &Config) -> Result<Vec<PromisorRemote>, Error> {
    let of_clone = config.string("extensions.partialClone").map(|name| name.to_owned());
    let wanted = config.string("promisor.sendFields").map(|fields| fields.to_owned());
    let wanted = wanted.unwrap_or_default();
    let wanted: Vec<&[u8]> = wanted.split(|byte| b", ".contains(byte)).collect();
    let mut remotes = Vec::new();
    for name in config.subsections("remote") {
        let key = |key: &str| format!("remote.{name}.{key}");
        let promises = config.bool(&key("promisor"))?.unwrap_or(false);
        if !promises && of_clone.as_ref() != Some(&name.to_owned()) {
            continue;
        }
        let Some(url) = config.string(&key("url")).filter(|url| !url.is_empty()) else { continue };
        let mut fields = Vec::new();
        for field in ["partialCloneFilter", "token"] {
            if let Some(value) = config.string(&key(field)).filter(|value| !value.is_empty())
                && wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(field.as_bytes()))
            {
                fields.push((field, value.to_owned()));
            }
        }
        remotes.push(PromisorRemote { name: name.to_owned(), url: url.to_owned(), fields });
    }
    Ok(remotes)
}

fn filter_rules(config: &Config) -> Result<FilterRules, Error> {
    let mut rules = FilterRules::default();
    if let Some(allowed) = config.bool("uploadpackfilter.allow")? {
        rules.allow_unnamed = allowed;
    }
    for name in config.subsections("uploadpackfilter") {
        if let Some(allowed) = config.bool(&format!("uploadpackfilter.{name}.allow"))? {
            rules.named.push((name.clone(), allowed));
        }
    }
    const TREE_DEPTH: &str = "uploadpackfilter.tree.maxdepth";
    if config.entries().any(|entry| entry.name() == TREE_DEPTH && entry.value().is_none()) {
        return Err(Error::Refused(format!("unable to parse '{TREE_DEPTH}': missing value")));
    }
    if let Some(depth) = config.int(TREE_DEPTH)? {
        // Naming a depth allows the filter, as in git.
        if !rules.named.iter().any(|(name, _)| name == "tree") {
            rules.named.push(("tree".into(), true));
        }
        rules.tree_depth_max = u64::try_from(depth).unwrap_or(u64::MAX);
    }
    Ok(rules)
}
