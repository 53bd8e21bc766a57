//! One attempt to deliver.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use access::Date;
use bytes::Bytes;
use client::{Error, Http, Options, Posted};

use crate::{Attempt, Event, EventKind, Hook, Outcome, Settings, sign};

/// What came of an attempt.
pub(crate) struct Answer {
    /// Whether it was taken, is to be tried again, or not.
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub took: Duration,
    pub why: Option<String>,
    pub answer: Option<String>,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Sends a body to a receiver, signed now.
pub(crate) async fn send(hook: &Hook, id: &str, body: String, settings: &Settings) -> Answer {
    let headers = sign::headers(&hook.secret, id, now_seconds(), body.as_bytes());
    let options = Options {
        connect_timeout: settings.timeout,
        http: Http { authorities: hook.authorities.clone(), ..Http::default() },
        ..Options::default()
    };
    let began = Instant::now();
    let body = Bytes::from(body);
    let posted =
        client::post(&hook.url, &headers, body, settings.answer_bytes_max.max(1), &options);
    let posted = tokio::time::timeout(settings.timeout, posted).await;
    let posted = posted.unwrap_or(Err(Error::Silent(settings.timeout)));
    let took = began.elapsed();
    match posted {
        Ok(Posted { status, retry_after, answer }) => {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let answer = Some(answer).filter(|answer| !answer.is_empty());
            let (outcome, why) = judge(status);
            let why = why.map(str::to_owned);
            Answer { outcome, status: Some(status), took, why, answer, retry_after }
        }
        Err(error) => Answer {
            outcome: Outcome::Failed,
            status: None,
            took,
            why: Some(error.to_string()),
            answer: None,
            retry_after: None,
        },
    }
}

/// What a status means: who says that he will never take it is not asked again.
fn judge(status: u16) -> (Outcome, Option<&'static str>) {
    match status {
        200..=299 => (Outcome::Delivered, None),
        300..=399 => {
            (Outcome::GivenUp, Some("the receiver sends elsewhere, which is not followed"))
        }
        408 | 425 | 429 | 500.. => (Outcome::Failed, Some("the receiver cannot take it now")),
        _ => (Outcome::GivenUp, Some("the receiver does not take it")),
    }
}

/// Sends a receiver a word that nothing happened, once, and says what came of it.
pub async fn ping(hook: &Hook, settings: &Settings) -> Attempt {
    let (time, id) = (Date(now_seconds()), format!("ping-{}", now_seconds()));
    let event = Event {
        event: EventKind::Ping,
        id: id.clone(),
        time,
        repository: None,
        pusher: None,
        road: None,
        changes: Vec::new(),
        cursor: None,
    };
    let body = serde_json::to_string(&event).unwrap_or_default();
    let answer = send(hook, &id, body, settings).await;
    attempt(hook, (&id, None, 1), answer, None)
}

/// An attempt, as the log has it.
pub(crate) fn attempt(
    hook: &Hook,
    (id, repository, attempt): (&str, Option<&str>, u32),
    answer: Answer,
    retry: Option<Duration>,
) -> Attempt {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Attempt {
        time: Date(now_seconds()),
        hook: hook.name.clone(),
        id: id.to_owned(),
        repository: repository.map(str::to_owned),
        attempt,
        outcome: answer.outcome,
        status: answer.status,
        ms: ms(answer.took),
        why: answer.why,
        answer: answer.answer,
        retry_ms: retry.map(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_no_is_not_asked_again() {
        for (status, outcome) in [
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (301, Outcome::GivenUp),
            (400, Outcome::GivenUp),
            (404, Outcome::GivenUp),
            (410, Outcome::GivenUp),
            (408, Outcome::Failed),
            (429, Outcome::Failed),
            (500, Outcome::Failed),
            (503, Outcome::Failed),
            (999, Outcome::Failed),
        ] {
            assert_eq!(judge(status).0, outcome, "{status}");
        }
    }
}
