//! Hooks that are configured instead of lying in the hooks folder:
//! `hook.<name>.command`, `.event` and `.enabled` (git-config, "hook").

use bstr::{BString, ByteSlice as _};
use gitconfig::Config;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// Hooks that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum HookConfigError {
    /// A value cannot be read.
    #[error(transparent)]
    Config(gitconfig::ConfigError),
    /// A hook has an event and no command.
    #[error(
        "'hook.{name}.command' must be configured or 'hook.{name}.event' must be removed; aborting."
    )]
    NoCommand {
        /// The hook's own name.
        name: BString,
    },
}

/// The commands of each event, in the order their events were last configured.
#[derive(Debug, Default)]
pub struct ConfiguredHooks {
    by_event: BTreeMap<BString, Vec<OsString>>,
}

#[derive(Default)]
struct Entry {
    command: Option<OsString>,
    events: Vec<BString>,
    disabled: bool,
}

impl ConfiguredHooks {
    /// Reads every `hook.*` setting.
    ///
    /// # Errors
    /// When an enabled hook has an event but no command.
    pub fn from_config(config: &Config) -> Result<Self, HookConfigError> {
        let mut hooks = ConfiguredHooks::default();
        let mut silenced = Vec::new();
        for name in config.subsections("hook") {
            let entry = Entry::read(config, &name);
            if entry.command.is_none() && entry.events.is_empty() {
                // Not a hook's own name: `hook.<event>.enabled` switches a whole event.
                if entry.disabled {
                    silenced.push(name);
                }
                continue;
            }
            if entry.disabled {
                continue;
            }
            for event in entry.events {
                let Some(command) = &entry.command else {
                    return Err(HookConfigError::NoCommand { name });
                };
                hooks.by_event.entry(event).or_default().push(command.clone());
            }
        }
        hooks.by_event.retain(|event, _| !silenced.contains(event));
        Ok(hooks)
    }

    /// The shell command lines to run for an event.
    pub fn commands(&self, event: &str) -> impl Iterator<Item = &OsStr> {
        let commands = self.by_event.get(event.as_bytes().as_bstr());
        commands.into_iter().flatten().map(OsString::as_os_str)
    }
}

impl Entry {
    fn read(config: &Config, name: &BString) -> Entry {
        let mut entry = Entry::default();
        for (key, value) in config.section_entries("hook", Some(name.as_ref())) {
            let Some(value) = value else { continue };
            match key {
                "command" => entry.command = Some(OsStr::from_bytes(value).to_owned()),
                "event" if value.is_empty() => entry.events.clear(),
                "event" => {
                    entry.events.retain(|known| known != value);
                    entry.events.push(value.to_owned());
                }
                "enabled" => {
                    let enabled = gitconfig::parse_bool(Some(value));
                    entry.disabled = enabled.map_or(entry.disabled, |enabled| !enabled);
                }
                _ => {}
            }
        }
        entry
    }
}
