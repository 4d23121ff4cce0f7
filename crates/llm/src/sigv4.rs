//! Signs requests to AWS: Signature Version 4 in the `Authorization` header, for services other than S3.
//!
//! What is signed: the method, the path, the query, the headers given and the host, and the body's SHA-256. The path is signed
//! as it is sent, its percent signs encoded once more; S3 alone does not do that. A signature is valid for five minutes around
//! its time, so each attempt needs its own.
//!
//! Source: "Create a signed AWS API request" in the IAM user guide, and `botocore.auth.SigV4Auth`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use ring::{digest, hmac};

/// The service that Bedrock's requests are signed for.
pub const BEDROCK: &str = "bedrock";

/// All but the characters that AWS leaves as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// What a request is signed with.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The id of the key, which is no secret.
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    /// What temporary credentials have beside their key.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A request that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// In upper case.
    pub method: &'a str,
    /// Scheme, host, path and query as they are sent: percent-encoded.
    pub url: &'a str,
    /// The headers that are signed beside the host, the date and the token; names in any case. A proxy must not change them.
    pub headers: &'a [(&'a str, &'a str)],
    /// [`sha256_hex`] of the body.
    pub body_sha256: &'a str,
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// Such as [`BEDROCK`].
    pub service: &'a str,
    /// Now.
    pub time: Timestamp,
}

/// The headers that a signed request has beside those that were signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    pub authorization: String,
    /// `X-Amz-Date`.
    pub date: String,
    /// `X-Amz-Security-Token`, where the credentials have one.
    pub security_token: Option<String>,
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("date", &self.date).finish_non_exhaustive()
    }
}

/// The address cannot be signed: it has no `https://` or `http://`, or no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address begins with neither `https://` nor `http://`, or has no host")]
pub struct InvalidUrl;

/// The SHA-256 of bytes in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Signs a request.
///
/// # Errors
/// See [`InvalidUrl`].
pub fn sign(request: &Request<'_>, credentials: &Credentials<'_>) -> Result<Signature, InvalidUrl> {
    let url = Url::parse(request.url)?;
    let date = request.time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = date.get(..8).unwrap_or_default();
    let mut headers: Vec<(String, Cow<'_, str>)> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), trimmed(value))).collect();
    headers.push(("host".to_owned(), Cow::Borrowed(url.host)));
    headers.push(("x-amz-date".to_owned(), Cow::Borrowed(&date)));
    if let Some(token) = credentials.session_token {
        headers.push(("x-amz-security-token".to_owned(), trimmed(token)));
    }
    let (headers, names) = canonical_headers(headers);
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        url.canonical_path(),
        url.canonical_query(),
        request.body_sha256
    );
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", credentials.secret_access_key).as_bytes());
    for part in [day, request.region, request.service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let id = credentials.access_key_id;
    Ok(Signature {
        authorization: format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
        date,
        security_token: credentials.session_token.map(str::to_owned),
    })
}

/// White space at the ends goes, and within it becomes one space.
fn trimmed(value: &str) -> Cow<'_, str> {
    let is_plain = !value.contains("  ") && !value.contains(['\t', '\n', '\r']) && value.trim() == value;
    if is_plain { Cow::Borrowed(value) } else { Cow::Owned(value.split_whitespace().collect::<Vec<_>>().join(" ")) }
}

/// The lines of the headers and their names, sorted; values of one name are joined in their order.
fn canonical_headers(mut headers: Vec<(String, Cow<'_, str>)>) -> (String, String) {
    headers.sort_by(|(left, _), (right, _)| left.cmp(right));
    let (mut lines, mut names) = (String::new(), String::new());
    let mut last = None;
    for (name, value) in &headers {
        if last == Some(name) {
            lines.pop();
            let _ = writeln!(lines, ",{value}");
        } else {
            let _ = writeln!(lines, "{name}:{value}");
            names += if names.is_empty() { "" } else { ";" };
            names += name;
        }
        last = Some(name);
    }
    (lines, names)
}

#[derive(Debug)]
struct Url<'a> {
    /// With a port, where one is written that the scheme does not mean anyway.
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Result<Self, InvalidUrl> {
        let (rest, port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, ":443"),
            (_, Some(rest)) => (rest, ":80"),
            _ => return Err(InvalidUrl),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = before.find('/').map_or((before, "/"), |slash| before.split_at(slash));
        let host = host.strip_suffix(port).unwrap_or(host);
        if host.is_empty() { Err(InvalidUrl) } else { Ok(Self { host, path, query }) }
    }

    /// Dots and empty names resolved, and encoded once more.
    fn canonical_path(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for name in self.path.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        let mut path = format!("/{}", names.join("/"));
        if self.path.ends_with('/') && !names.is_empty() {
            path.push('/');
        }
        percent_encode(path.as_bytes(), ENCODED_IN_PATH).to_string()
    }

    /// Pairs in the order of their names and values, which are encoded already.
    fn canonical_query(&self) -> String {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        pairs.sort_unstable();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}
