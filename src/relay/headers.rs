//! Which headers go on, and which belong to one hop or to one hand.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

/// What belongs to one connection and never goes on (RFC 9110, 7.6.1), and what the next hop says anew.
const HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// How what clients and this relay say to each other begins: it concerns nobody else.
const BETWEEN_US: &str = "x-broker-";

/// The session of the gateway.
pub(super) const SESSION: HeaderName = HeaderName::from_static("session-id");

/// Takes out what belongs to one hop, or is between a client and a relay. The operators' token is among it.
pub(super) fn strip(headers: &mut HeaderMap) {
    let ours = headers.keys().filter(|name| name.as_str().starts_with(BETWEEN_US)).cloned();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .chain(ours)
        .collect();
    for name in HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Whether a header is the relay's own to say.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    HOP.contains(name) || *name == header::HOST || *name == header::CONTENT_LENGTH
}

/// The headers of a request without those of this hop. Host and length are said anew.
pub(super) fn onward(headers: &HeaderMap) -> HeaderMap {
    let mut onward = headers.clone();
    strip(&mut onward);
    onward.remove(header::HOST);
    onward.remove(header::CONTENT_LENGTH);
    onward
}

/// A value of our own making, which is always plain ASCII.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_message_goes_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("host", "relay"),
            ("content-length", "5"),
            ("x-broker-explain", "1"),
            ("x-broker-token", "secret"),
            ("x-broker-anything", "1"),
            ("x-kept", "1"),
            ("accept-encoding", "gzip"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let onward = onward(&headers);
        let mut names: Vec<_> = onward.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "x-kept"]);
    }
}
