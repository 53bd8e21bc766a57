//! `[webhooks]` and `[[webhook]]` of the configuration file.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use access::Pattern;
use serde::Deserialize;
use webhooks::{Hears, Hook, Secret, Settings};

/// The `[webhooks]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Where deliveries wait, and where the log is, as seen from the folder this file lies in.
    pub folder: Option<PathBuf>,
    /// How long one attempt may take, milliseconds.
    pub timeout_ms: Option<NonZeroU64>,
    /// Attempts of one webhook at the same time.
    pub at_once_max: Option<NonZeroUsize>,
    /// The longest first wait after a failure, milliseconds.
    pub retry_first_ms: Option<NonZeroU64>,
    /// The longest wait, milliseconds.
    pub retry_max_ms: Option<NonZeroU64>,
    /// After how long a delivery is given up, milliseconds.
    pub give_up_after_ms: Option<u64>,
    /// Deliveries that wait for one webhook.
    pub pending_max: Option<usize>,
    /// Deliveries of one webhook that were given up and are kept.
    pub failed_max: Option<NonZeroUsize>,
    /// Changed refs in one delivery.
    pub changes_max: Option<NonZeroUsize>,
    /// Bytes of an answer that go into the log.
    pub answer_bytes_max: Option<usize>,
    /// Repositories that are watched for webhooks that hear of all changes.
    pub watched_max: Option<usize>,
    /// How often it is looked for deliveries from other processes, milliseconds.
    pub look_ms: Option<NonZeroU64>,
    /// How often it is looked for new repositories, milliseconds.
    pub search_ms: Option<NonZeroU64>,
}

/// One `[[webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name in the log.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// What deliveries are signed with.
    pub secret: Option<String>,
    /// A file with it, as seen from the folder this file lies in.
    pub secret_file: Option<PathBuf>,
    /// Patterns of names of repositories it is told of; all, where there are none.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Patterns of refs it is told of.
    #[serde(default)]
    pub refs: Vec<String>,
    /// Whose changes it is told of.
    #[serde(default)]
    pub hears: HearsConfig,
    /// Certificates in PEM that its own is signed by.
    pub root: Option<PathBuf>,
}

/// Whose changes are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HearsConfig {
    /// Those of pushes to this server.
    #[default]
    Pushes,
    /// All.
    Changes,
}

/// What is configured, or nothing where there is no webhook.
///
/// # Errors
/// Words for whoever wrote the file.
pub fn plan(
    config: &WebhooksConfig,
    hooks: &[WebhookConfig],
    folder: &Path,
) -> Result<Option<(Settings, Vec<Hook>)>, String> {
    if hooks.is_empty() {
        return Ok(None);
    }
    let Some(own) = &config.folder else {
        return Err("webhooks need a folder where deliveries wait: webhooks.folder".to_owned());
    };
    let default = Settings::in_folder(folder.join(own));
    let ms = |set: Option<NonZeroU64>, default| {
        set.map_or(default, |ms: NonZeroU64| Duration::from_millis(ms.get()))
    };
    let count = |set: Option<NonZeroUsize>, default: usize| set.map_or(default, NonZeroUsize::get);
    let settings = Settings {
        timeout: ms(config.timeout_ms, default.timeout),
        at_once_max: count(config.at_once_max, default.at_once_max),
        retry_first: ms(config.retry_first_ms, default.retry_first),
        retry_max: ms(config.retry_max_ms, default.retry_max),
        give_up_after: config.give_up_after_ms.map_or(default.give_up_after, Duration::from_millis),
        pending_max: config.pending_max.unwrap_or(default.pending_max),
        failed_max: count(config.failed_max, default.failed_max),
        changes_max: count(config.changes_max, default.changes_max),
        answer_bytes_max: config.answer_bytes_max.unwrap_or(default.answer_bytes_max),
        watched_max: config.watched_max.unwrap_or(default.watched_max),
        look: ms(config.look_ms, default.look),
        search: ms(config.search_ms, default.search),
        ..default
    };
    let mut made: Vec<Hook> = Vec::new();
    for hook in hooks {
        if made.iter().any(|other| other.name == hook.name) {
            return Err(format!("there are two webhooks '{}'", hook.name));
        }
        made.push(one(hook, folder)?);
    }
    Ok(Some((settings, made)))
}

fn one(config: &WebhookConfig, folder: &Path) -> Result<Hook, String> {
    let about = |words: &dyn std::fmt::Display| format!("the webhook '{}': {words}", config.name);
    let secret = match (&config.secret, &config.secret_file) {
        (Some(secret), None) => secret.clone(),
        (None, Some(file)) => {
            let file = folder.join(file);
            std::fs::read_to_string(&file).map_err(|error| {
                about(&format_args!("cannot read '{}': {error}", file.display()))
            })?
        }
        _ => return Err(about(&"it needs either secret or secret_file")),
    };
    let secret = Secret::new(&secret).map_err(|error| about(&error))?;
    let mut hook =
        Hook::new(&config.name, &config.url, secret).map_err(|error| error.to_string())?;
    let patterns = |texts: &[String], all: Vec<Pattern>| match texts {
        [] => Ok(all),
        texts => texts.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>(),
    };
    hook.repositories =
        patterns(&config.repositories, hook.repositories).map_err(|error| about(&error))?;
    if let Some(pattern) = hook.repositories.iter().find(|pattern| pattern.text().ends_with(".git"))
    {
        let text = pattern.text();
        return Err(about(&format_args!("'{text}' fits nothing: here, names have no .git")));
    }
    hook.refs = patterns(&config.refs, hook.refs).map_err(|error| about(&error))?;
    hook.hears = match config.hears {
        HearsConfig::Pushes => Hears::Pushes,
        HearsConfig::Changes => Hears::Changes,
    };
    hook.authorities = config.root.as_ref().map(|root| folder.join(root));
    Ok(hook)
}
