//! Signatures, by which receivers know who sends.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Secret;

/// The headers of a delivery: those of Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature over
/// `ID.TIMESTAMP.BODY`), and the one that many programs know from elsewhere, over the body alone.
pub(crate) fn headers(
    secret: &Secret,
    id: &str,
    seconds: u64,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let key = Key::new(HMAC_SHA256, secret.bytes());
    let mut dated = format!("{id}.{seconds}.").into_bytes();
    dated.extend_from_slice(body);
    let dated = STANDARD.encode(sign(&key, &dated));
    let plain = sign(&key, body);
    let plain: String = plain.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", format!("v1,{dated}")),
        ("x-hub-signature-256", format!("sha256={plain}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, whose text is the body here.
    #[test]
    fn signs_as_the_standard_has_it() {
        let secret = Secret(b"Jefe".to_vec());
        let headers = headers(&secret, "a", 7, b"what do ya want for nothing?");
        let find = |name| headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value);
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(find("x-hub-signature-256").map(String::as_str), Some(expected));
        assert!(find("webhook-signature").is_some_and(|value| value.starts_with("v1,")));
    }
}
