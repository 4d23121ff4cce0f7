//! Checks AWS's Signature Version 4. Source: "Create a signed AWS API request" in the IAM user guide.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use super::{AWS_KEY_ID, Call};

/// How far the time of a request may be from now.
const WINDOW: Duration = Duration::from_secs(300);
/// A path is encoded once more as it is signed, but for its slashes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What is wrong with a signature made with `secret`, in the vendor's words.
pub(super) fn check(call: &Call, secret: &str) -> Result<(), &'static str> {
    const MISSING: &str = "Missing Authentication Token";
    const WRONG: &str = "The request signature we calculated does not match the signature you provided.";
    let parts =
        call.header("authorization").and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 ")).ok_or(MISSING)?;
    let part = |name: &str| parts.split(", ").find_map(|part| part.strip_prefix(name)).ok_or(MISSING);
    let (credential, names, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
    let (id, scope) = credential.split_once('/').ok_or(MISSING)?;
    if id != AWS_KEY_ID {
        return Err("The security token included in the request is invalid.");
    }
    let date = call.header("x-amz-date").ok_or(MISSING)?;
    let time = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).and_then(|time| time.to_datetime());
    let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC)).map_err(|_| MISSING)?.timestamp();
    if Timestamp::now().duration_since(time).unsigned_abs() > WINDOW {
        return Err("Signature expired: the time is more than five minutes from ours.");
    }
    let signed: Vec<_> = names.split(';').collect();
    if !["host", "x-amz-date"].iter().all(|name| signed.contains(name)) || !scope.ends_with("/bedrock/aws4_request") {
        return Err(WRONG);
    }
    if call.header("x-amz-security-token").is_some() && !signed.contains(&"x-amz-security-token") {
        return Err(WRONG);
    }
    let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    let mut canonical = format!("{}\n{}\n{query}\n", call.method, utf8_percent_encode(path, PATH));
    for name in &signed {
        let _ = writeln!(canonical, "{name}:{}", call.header(name).unwrap_or_default());
    }
    let _ = write!(canonical, "\n{names}\n{}", hash(&call.body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    let derived =
        |key: hmac::Key, part: &str| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    let key = scope.split('/').fold(first, derived);
    if hex(hmac::sign(&key, text.as_bytes()).as_ref()) == signature { Ok(()) } else { Err(WRONG) }
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
