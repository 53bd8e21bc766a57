//! The log of deliveries: a line of JSON for each attempt.

use access::Date;
use serde::{Deserialize, Serialize};

/// Its name in the folder.
pub const LOG_FILE: &str = "deliveries.log";

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it had ended.
    pub time: Date,
    /// The webhook.
    pub hook: String,
    /// The delivery.
    pub id: String,
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Which attempt it was, since the server was started.
    pub attempt: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// The status of HTTP, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds it took.
    #[serde(default)]
    pub ms: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How the answer began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Milliseconds until it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The receiver has taken it.
    Delivered,
    /// It is tried again.
    Failed,
    /// It is not tried again; it is kept for a while.
    GivenUp,
    /// It was never noted: too many wait, or the disk is full.
    Dropped,
}
