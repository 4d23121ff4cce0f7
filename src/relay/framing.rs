//! Where a message ends, by its head (RFC 9112, section 6).
//!
//! An answer whose length can be read in two ways is refused: the next hop could read it the other way, and take a part of the
//! body for the answer to another client's request. No length of a target is passed on but the one of an answer to `HEAD`; the
//! relay writes its own, of the body as it was read.

use hyper::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request;
use hyper::http::response::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, StatusCode, Version};

use super::headers::MAX_HEAD_BYTES;
use super::heads::LengthLines;

/// Why the head of an answer is refused; reads after "the answer".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    /// `101 Switching Protocols`: no request of the relay asks for it.
    #[error("switches to another protocol, which was not asked for")]
    Upgrade,
    /// A status that HTTP does not have.
    #[error("has a status that is not between 100 and 599")]
    Status,
    /// Two ways to find its end.
    #[error("has both a Content-Length and a Transfer-Encoding")]
    TwoLengths,
    /// Several lengths, or none that is a number.
    #[error("has a Content-Length that is not one number")]
    Length,
    /// An encoding that the relay does not decode.
    #[error("has a Transfer-Encoding other than chunked")]
    Encoding,
    /// Larger than [`MAX_HEAD_BYTES`].
    #[error("has a head of more than {} KB", MAX_HEAD_BYTES >> 10)]
    TooLarge,
}

/// Checks the head of an answer.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(head: &Parts) -> Result<(), FramingError> {
    let Parts { status, headers, .. } = head;
    if *status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(FramingError::Upgrade);
    }
    // RFC 9110, section 15: such an answer counts as a server error, and no client is to get it.
    if status.as_u16() >= 600 {
        return Err(FramingError::Status);
    }
    if head_bytes(headers) > MAX_HEAD_BYTES {
        return Err(FramingError::TooLarge);
    }
    match (headers.contains_key(CONTENT_LENGTH), headers.contains_key(TRANSFER_ENCODING)) {
        (false, false) => Ok(()),
        (true, true) => Err(FramingError::TwoLengths),
        (true, false) => {
            only(headers, &CONTENT_LENGTH).filter(|value| is_number(value)).map(drop).ok_or(FramingError::Length)
        }
        (false, true) if is_chunked(headers) => Ok(()),
        (false, true) => Err(FramingError::Encoding),
    }
}

/// Whether a request says its length once, by a number or by chunks. hyper has refused lengths that are no number or differ.
pub(super) fn is_request_unambiguous(headers: &HeaderMap, LengthLines(lines): LengthLines) -> bool {
    match headers.contains_key(TRANSFER_ENCODING) {
        true => lines == 0 && is_chunked(headers),
        false => lines <= 1,
    }
}

/// Whether a request asks for another protocol. An offer of HTTP/2 or of TLS is none: some clients make it with every request
/// (Apache's HttpClient offers `TLS/1.2`), and go on with HTTP/1.1 as it is where the server does not accept it.
pub(super) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(UPGRADE).iter();
    let mut protocols = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let is_offer = |protocol: &[u8]| {
        let is_tls = protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"TLS/"));
        is_tls || protocol.eq_ignore_ascii_case(b"h2c")
    };
    protocols.any(|protocol| !protocol.is_empty() && !is_offer(protocol))
}

/// Whether a request names its host as often as it must (RFC 9112, 3.2): once, or with HTTP/1.0 not at all; and as a host, which
/// may have no name, with a port or without. A server before the relay may have gone by the other one, or read it otherwise.
pub(super) fn names_one_host(head: &request::Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => head.version == Version::HTTP_10,
        (Some(host), None) => host.is_empty() || is_host(host.as_bytes()),
        _ => false,
    }
}

fn is_host(value: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(value) else { return false };
    let port = authority.as_str().get(authority.host().len()..).and_then(|rest| rest.strip_prefix(':'));
    !value.contains(&b'@') && port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

/// Whether such an answer has no body, whatever its headers say (RFC 9112, section 6.3). A server that sends one nevertheless
/// must not have it taken for the answer to the next request.
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The value of a header that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// Whether chunks are the only transfer encoding: the relay decodes no other.
fn is_chunked(headers: &HeaderMap) -> bool {
    only(headers, &TRANSFER_ENCODING).is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
}

fn is_number(value: &[u8]) -> bool {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits && std::str::from_utf8(value).is_ok_and(|value| value.parse::<u64>().is_ok())
}

/// The bytes of all header lines as they go on: `name: value` and a line end each.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Response;

    fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_length_or_none() {
        const LENGTH: &str = "content-length";
        const ENCODING: &str = "transfer-encoding";
        for (headers, expected) in [
            (vec![], Ok(())),
            (vec![(LENGTH, "0")], Ok(())),
            (vec![(LENGTH, "18446744073709551615")], Ok(())),
            (vec![(ENCODING, "chunked")], Ok(())),
            (vec![(ENCODING, "Chunked")], Ok(())),
            (vec![(LENGTH, "2"), (ENCODING, "chunked")], Err(FramingError::TwoLengths)),
            (vec![(ENCODING, "identity"), (LENGTH, "2")], Err(FramingError::TwoLengths)),
            (vec![(LENGTH, "7, 7")], Err(FramingError::Length)),
            (vec![(LENGTH, "7"), (LENGTH, "7")], Err(FramingError::Length)),
            (vec![(LENGTH, "7"), (LENGTH, "8")], Err(FramingError::Length)),
            (vec![(LENGTH, "")], Err(FramingError::Length)),
            (vec![(LENGTH, "+7")], Err(FramingError::Length)),
            (vec![(LENGTH, "-1")], Err(FramingError::Length)),
            (vec![(LENGTH, "0x7")], Err(FramingError::Length)),
            (vec![(LENGTH, "7 7")], Err(FramingError::Length)),
            (vec![(LENGTH, "18446744073709551616")], Err(FramingError::Length)),
            (vec![(ENCODING, "gzip")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "gzip, chunked")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "gzip"), (ENCODING, "chunked")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "chunked"), (ENCODING, "chunked")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "chunked, identity")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "xchunked")], Err(FramingError::Encoding)),
            (vec![(ENCODING, "")], Err(FramingError::Encoding)),
        ] {
            for status in [200, 204, 304, 503] {
                assert_eq!(check(&head(status, &headers)), expected, "{status} {headers:?}");
            }
        }
    }

    #[test]
    fn s2_what_asks_for_another_protocol() {
        for (values, asks) in [
            (&["websocket"][..], true),
            (&["WebSocket"], true),
            (&["h2c, websocket"], true),
            (&["h2c", "TLS/1.0"], false),
            (&["TLS/1.2"], false),
            (&["tls/1.3, HTTP/1.1"], true),
            (&["TLS/1.2, websocket"], true),
            (&["TLS"], true),
            (&["\u{e4}"], true),
            (&["h2c"], false),
            (&["H2C"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(UPGRADE, hyper::header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(asks_for_upgrade(&headers), asks, "{values:?}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for (version, hosts, expected) in [
            (Version::HTTP_11, &["h"][..], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &["relay.example:5390"], true),
            (Version::HTTP_11, &["[::1]:80"], true),
            (Version::HTTP_11, &["h:"], true),
            (Version::HTTP_11, &["exa mple"], false),
            (Version::HTTP_11, &["x@y"], false),
            (Version::HTTP_11, &["http://x/"], false),
            (Version::HTTP_11, &["[::1"], false),
            (Version::HTTP_11, &["x:99999"], false),
            (Version::HTTP_11, &["x:a"], false),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["h", "h"], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["h"], true),
            (Version::HTTP_10, &["h", "other"], false),
        ] {
            let request =
                hosts.iter().fold(hyper::Request::builder().version(version), |it, host| it.header(HOST, *host));
            assert_eq!(names_one_host(&request.body(()).unwrap().into_parts().0), expected, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn no_other_protocol_and_no_endless_head() {
        assert_eq!(check(&head(101, &[("upgrade", "websocket")])), Err(FramingError::Upgrade));
        assert_eq!(check(&head(599, &[])), Ok(()));
        for status in [600, 999] {
            assert_eq!(check(&head(status, &[])), Err(FramingError::Status));
        }
        let value = "x".repeat(MAX_HEAD_BYTES - 5);
        assert_eq!(check(&head(200, &[("x", &value)])), Ok(()));
        let value = "x".repeat(MAX_HEAD_BYTES - 4);
        assert_eq!(check(&head(200, &[("x", &value)])), Err(FramingError::TooLarge));
    }
}
