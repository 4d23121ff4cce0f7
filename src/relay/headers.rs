//! Which headers go on, and which belong to one hop or to one hand.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

/// The largest head of a request or an answer, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most headers of a head: eight bytes each, `x-a: 1` and a line end. hyper sets aside 64 bytes for each of them at every
/// head, which is cheap up to this many.
pub(super) const MAX_HEADERS: usize = MAX_HEAD_BYTES / 8;

/// What belongs to one connection and never goes on (RFC 9110, 7.6.1), and what the next hop says anew.
const HOP_BY_HOP: [HeaderName; 10] = [
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

/// The prefix of headers between clients and this relay: they go no further.
const OWN_PREFIX: &str = "x-broker-";

/// The session of the gateway.
pub(super) const SESSION: HeaderName = HeaderName::from_static("session-id");

/// Takes out what belongs to one hop, or is between a client and a relay. The operators' token is among it.
pub(super) fn strip(headers: &mut HeaderMap) {
    let ours = headers.keys().filter(|name| name.as_str().starts_with(OWN_PREFIX)).cloned();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        // As bytes: one odd letter must not save the names beside it.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .chain(ours)
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Takes out all headers with such a name.
pub(super) fn remove_where(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let meant: Vec<_> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
    meant.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether a header is the relay's own to say.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || *name == header::HOST || *name == header::CONTENT_LENGTH
}

/// What clients say to the hops of their own traces (W3C Trace Context and Baggage): no vendor's business. `baggage` may hold
/// anything about a user.
const TRACE_CONTEXT: [HeaderName; 3] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate"), HeaderName::from_static("baggage")];

/// What a browser says of the page that asks, by the beginning of the name: Anthropic and Ollama refuse requests that have it, and
/// the relay has decided already who may ask ([`super::cors`]).
const BROWSER_PREFIXES: [&str; 2] = ["sec-", "access-control-"];
/// The same, whole names.
const BROWSER_HEADERS: [HeaderName; 2] = [header::ORIGIN, header::REFERER];

/// What the servers before the relay say of a request's way to it, which is not that of a request to a vendor.
const FORWARDING_HEADERS: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("cdn-loop"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-real-ip"),
];
/// The same, by the beginning of the name.
const FORWARDING_PREFIXES: [&str; 2] = ["cf-", "x-forwarded-"];
/// What a client says to Cloudflare's AI gateway, which may be a target, begins like what Cloudflare's edge says.
const AI_GATEWAY_PREFIX: &str = "cf-aig-";

/// What a client proves itself by to Cloudflare's edge before a target, and to Google, whose keys may be for certain pages.
const CLIENT_CREDENTIAL_HEADERS: [&str; 4] =
    ["cf-access-client-id", "cf-access-client-secret", "cf-access-token", "referer"];

/// Whether a header speaks of a client's page or of its way here, and so goes to no target with an address; `forwards`: but for what
/// belongs to the client's own key.
pub(super) fn is_forwarding_header(name: &HeaderName, forwards: bool) -> bool {
    let text = name.as_str();
    if forwards && CLIENT_CREDENTIAL_HEADERS.contains(&text) {
        return false;
    }
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| text.starts_with(beginning));
    // Few headers begin with one of these letters.
    match text.as_bytes().first() {
        Some(b'a' | b'c' | b'f' | b'o' | b'r' | b's' | b't' | b'v' | b'x') => {
            BROWSER_HEADERS.contains(name)
                || FORWARDING_HEADERS.contains(name)
                || begins(&BROWSER_PREFIXES)
                || (begins(&FORWARDING_PREFIXES) && !text.starts_with(AI_GATEWAY_PREFIX))
        }
        _ => false,
    }
}

/// What an answer tells a browser about the origin that it thinks it asked: that of a target, where the relay's is meant.
const TARGET_ORIGIN_HEADERS: [HeaderName; 6] = [
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
];

/// Takes out of an answer of a target with an address what is about that address; `forwards`: but for cookies, which then are the
/// client's own there.
pub(super) fn strip_origin(headers: &mut HeaderMap, forwards: bool) {
    let cookies = Some(&header::SET_COOKIE).filter(|_| !forwards);
    for name in TARGET_ORIGIN_HEADERS.iter().chain(cookies) {
        headers.remove(name);
    }
}

/// The headers of a request without those of this hop. Host and length are said anew.
pub(super) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut onward = headers.clone();
    strip(&mut onward);
    for name in &TRACE_CONTEXT {
        onward.remove(name);
    }
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
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "a=b"),
            ("baggage", "user=someone"),
            ("x-kept", "1"),
            ("accept-encoding", "gzip"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let onward = forwarded(&headers);
        let mut names: Vec<_> = onward.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "x-kept"]);
    }

    #[test]
    fn what_speaks_of_a_clients_page_and_of_its_way_here() {
        for name in [
            "Origin",
            "Referer",
            "Sec-Fetch-Mode",
            "Sec-CH-UA",
            "Access-Control-Request-Method",
            "Access-Control-Request-Headers",
            "CF-Connecting-IP",
            "CF-Ray",
            "CDN-Loop",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Real-IP",
            "X-Client-IP",
            "True-Client-IP",
            "Via",
        ] {
            assert!(is_forwarding_header(&name.parse().unwrap(), false), "{name}");
        }
        for name in ["HTTP-Referer", "cf-aig-metadata", "Accept", "Security", "X-Title", "anthropic-beta", "cf"] {
            assert!(!is_forwarding_header(&name.parse().unwrap(), false), "{name}");
        }
        for name in ["Referer", "CF-Access-Client-Id", "CF-Access-Client-Secret", "cf-access-token"] {
            let kept = [true, false].map(|forwards| !is_forwarding_header(&name.parse().unwrap(), forwards));
            assert_eq!(kept, [true, false], "{name}");
        }
        assert!(is_forwarding_header(&"cf-access-jwt-assertion".parse().unwrap(), true));
    }

    #[test]
    fn what_speaks_of_a_targets_own_origin() {
        for forwards in [false, true] {
            let mut headers = HeaderMap::new();
            for name in [
                "alt-svc",
                "strict-transport-security",
                "nel",
                "report-to",
                "reporting-endpoints",
                "clear-site-data",
                "set-cookie",
                "content-type",
                "x-request-id",
            ] {
                headers.append(name, HeaderValue::from_static("1"));
                headers.append(name, HeaderValue::from_static("2"));
            }
            strip_origin(&mut headers, forwards);
            let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            let expected = ["content-type", "set-cookie", "x-request-id"];
            assert!(names.iter().eq(expected.iter().filter(|name| forwards || **name != "set-cookie")), "{names:?}");
        }
    }

    #[test]
    fn what_connection_names_stays_here_whatever_stands_beside_it() {
        for value in [&b"x-mine, \xff"[..], b"\xc3\xa9,X-Mine\t", b"close , ,x-mine", b"x mine,X-MINE"] {
            let mut headers = HeaderMap::new();
            headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.append(header::CONNECTION, HeaderValue::from_bytes(value).unwrap());
            headers.insert("x-mine", HeaderValue::from_static("1"));
            strip(&mut headers);
            assert!(headers.is_empty(), "{:?}: {headers:?}", String::from_utf8_lossy(value));
        }
    }
}
