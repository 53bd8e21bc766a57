//! What receivers are told, as JSON.

use access::Date;
use serde::{Deserialize, Serialize};

/// What a delivery carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What happened.
    pub event: EventKind,
    /// The delivery, which has the same name each time it is tried.
    pub id: String,
    /// When it was noted.
    pub time: Date,
    /// The repository, by its name in rules; of a ping, none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The user who pushed, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pusher: Option<String>,
    /// How the push came, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub road: Option<&'static str>,
    /// What became of refs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How all refs are after it, where that is known, as a number: whoever subscribes with it goes on from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Refs moved.
    Refs,
    /// Refs moved, and which is not known any more: whoever wants to know has to list them.
    Relist,
    /// Somebody tries whether the receiver listens.
    Ping,
}

/// What became of one ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its full name. Bytes that are no UTF-8 are replaced, as JSON has no others.
    #[serde(rename = "ref")]
    pub name: String,
    /// What it was: an id, or `ref: NAME`; null when it was not there.
    pub old: Option<String>,
    /// What it is; null when it is gone.
    pub new: Option<String>,
}
