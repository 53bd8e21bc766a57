//! One request that has nothing to do with Git: something is told to a server of HTTP.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::body::Body;
use super::http::{connect, error_words};
use crate::{Error, HttpUrl, Options};

/// How long is waited for words behind a status.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// What a server answered to [`post`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The status of HTTP.
    pub status: u16,
    /// How long the server wants to be left alone (`Retry-After` in seconds).
    pub retry_after: Option<Duration>,
    /// How its answer begins.
    pub answer: Vec<u8>,
}

/// Sends a body to an address, on a connection of its own, and reads so much of the answer. No other
/// address is followed. Whoever cannot wait for the whole drops it.
///
/// # Errors
/// When no answer came.
pub async fn post(
    url: &HttpUrl,
    headers: &[(&'static str, String)],
    body: Bytes,
    answer_bytes_max: usize,
    options: &Options,
) -> Result<Posted, Error> {
    let unfit = |what: &dyn std::fmt::Display| Error::Unsupported(format!("{url}: {what}"));
    let path = if url.path.is_empty() { "/" } else { &url.path };
    let path: Uri = path.parse().map_err(|error| unfit(&error))?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, url.authority())
        .header(USER_AGENT, options.agent.as_str());
    if let Some(user) = &url.user {
        let password = url.password.as_deref().unwrap_or_default();
        let login = STANDARD.encode(format!("{user}:{password}"));
        request = request.header(AUTHORIZATION, format!("Basic {login}"));
    }
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::whole(body)).map_err(|error| unfit(&error))?;
    let mut connection = connect(url, options).await?;
    let failed = |error: hyper::Error| std::io::Error::other(error_words(&error));
    let response = connection.sender.send_request(request).await.map_err(failed)?;
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let status = response.status().as_u16();
    let mut answer = Vec::new();
    let mut body = response.into_body();
    // The status has been said: that the rest breaks off, or takes its time, changes nothing.
    let rest = async {
        while answer.len() < answer_bytes_max
            && let Some(Ok(frame)) = body.frame().await
        {
            let data = frame.into_data().unwrap_or_default();
            answer.extend_from_slice(&data[..data.len().min(answer_bytes_max - answer.len())]);
        }
    };
    let _ = tokio::time::timeout(ANSWER_TIME, rest).await;
    Ok(Posted { status, retry_after, answer })
}
