//! git-remote-daemon: listens to the remotes of a repository, tells what changes there, and fetches, pulls and pushes
//! by itself.
//!
//! A [`daemon`] belongs to one repository. It has a [`listener`] for each address of each remote, which
//! finds the best way the other side offers: `packhorse-watch`, `git-annex-shell notifychanges`, files, or asking from time
//! to time. What they hear becomes [`note`]s, for a program that started the daemon ([`foreground`]) or for the status and
//! the log of one in the [`background`], and [`needs`], which stock git meets ([`action`]).
//!
//! It is configured by git's configuration alone ([`settings`]; docs/remote-daemon.md).

mod action;
mod all;
mod background;
mod command_line;
mod daemon;
mod direct;
mod folder;
mod foreground;
mod git;
mod journal;
mod known;
mod listener;
mod needs;
mod network;
mod note;
mod place;
mod refspec;
mod settings;
mod status;
mod transfer;
mod words;

pub use command_line::main;
