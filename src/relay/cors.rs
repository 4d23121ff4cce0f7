//! Cross-origin requests: pages of the origins in the settings may call the relay from a browser and read its answers. Off by
//! default: no page that a browser on the network shows can send JSON to it, or read what it answers.
//!
//! That does not keep a page from sending: browsers send without a question what a form could send too (`text/plain`, multipart),
//! and it is served and billed, though the page does not see the answer. To refuse by `Origin` would refuse what is not meant: apps
//! and extensions have origins of their own (`null`, `app://…`, `chrome-extension://…`), and behind a proxy that serves page and
//! relay, `Host` is not the page's.
//!
//! The relay answers preflights itself, and no target has a say, with the setting or without: their `Access-Control-…` headers stay
//! here.

use std::str::FromStr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode, Uri};

use super::headers;
use super::local_reply::ALLOW;
use super::proxy_body::ProxyBody;

/// What all headers of this matter begin with.
const PREFIX: &str = "access-control-";
/// A browser may keep the answer to a preflight for this many seconds.
const MAX_AGE_SECONDS: u16 = 600;

/// Origins whose pages may call the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All.
    Any,
    /// These: scheme, host and port as browsers write them, in lower case.
    These(Vec<String>),
}

/// Why a text is no list of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginFault {
    /// An element has another form.
    #[error("must be origins without a path, such as https://chat.example.com, separated by commas, or *")]
    Form,
    /// No page has such an origin.
    #[error(
        "has a * within an origin, which matches no page: list each origin, such as https://a.example.com, or give * alone"
    )]
    Wildcard,
}

impl FromStr for AllowedOrigins {
    type Err = OriginFault;

    fn from_str(text: &str) -> Result<Self, OriginFault> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        text.split(',').map(|origin| origin_of(origin.trim())).collect::<Result<_, _>>().map(Self::These)
    }
}

/// An origin as browsers write it: without the port that its scheme has by default.
fn origin_of(text: &str) -> Result<String, OriginFault> {
    if text.contains('*') {
        return Err(OriginFault::Wildcard);
    }
    let uri: Uri = text.parse().map_err(|_| OriginFault::Form)?;
    let scheme = uri.scheme_str().ok_or(OriginFault::Form)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(OriginFault::Form)?;
    let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
    if origin != text.to_ascii_lowercase() {
        return Err(OriginFault::Form);
    }
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Ok(origin),
    };
    Ok(origin.strip_suffix(default_port).map_or(origin.clone(), str::to_owned))
}

/// Whether a request is a browser's question whether another may be sent.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight. One of an origin that is not in the settings is not granted anything.
pub(super) fn preflight(origins: Option<&AllowedOrigins>, request: &HeaderMap) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if origins.is_some_and(|origins| origins.granted(request).is_some()) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOW));
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS.into());
        if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    response
}

/// Takes out what a target says of this matter.
pub(super) fn strip(response: &mut HeaderMap) {
    headers::remove_where(response, |name| name.as_str().starts_with(PREFIX));
}

impl AllowedOrigins {
    /// Says in an answer whether the page that asked may read it.
    pub(super) fn mark(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if let Self::These(_) = self {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.granted(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        }
    }

    /// What is granted to the origin of a request.
    fn granted(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                let known = origins.iter().any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
                known.then(|| origin.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_lists_of_origins() {
        assert_eq!(" * ".parse(), Ok(AllowedOrigins::Any));
        let these = AllowedOrigins::These(vec!["https://a.example".to_owned(), "http://localhost:3000".to_owned()]);
        assert_eq!("https://A.example, http://localhost:3000".parse(), Ok(these));
        for (written, origin) in [
            ("https://a.example:443", "https://a.example"),
            ("HTTP://a.example:80", "http://a.example"),
            ("https://[2001:db8::443]", "https://[2001:db8::443]"),
            ("https://[2001:db8::443]:443", "https://[2001:db8::443]"),
            ("https://a.example:80", "https://a.example:80"),
            ("http://a.example:8080", "http://a.example:8080"),
            ("capacitor://localhost:443", "capacitor://localhost:443"),
        ] {
            assert_eq!(written.parse(), Ok(AllowedOrigins::These(vec![origin.to_owned()])), "{written}");
        }
        for bad in
            ["", "a.example", "https://a.example/", "https://a.example/x", "https://u@a.example", "null", "https://a,"]
        {
            assert_eq!(bad.parse::<AllowedOrigins>(), Err(OriginFault::Form), "{bad}");
        }
        for bad in ["*, https://a", "https://*.example.com", "https://a.example.com, https://*", "http://localhost:*"] {
            assert_eq!(bad.parse::<AllowedOrigins>(), Err(OriginFault::Wildcard), "{bad}");
        }
    }

    #[test]
    fn a_preflight_is_answered_also_where_nobody_may_ask() {
        let asked = [
            (ORIGIN, HeaderValue::from_static("https://a.example")),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST")),
        ];
        let answer = preflight(None, &asked.into_iter().collect());
        assert_eq!((answer.status(), answer.headers().len()), (StatusCode::NO_CONTENT, 0));
    }

    #[test]
    fn s2_only_listed_origins_may_read() {
        let origins: AllowedOrigins = "https://a.example".parse().unwrap();
        let marked = |origins: &AllowedOrigins, origin: Option<&str>| {
            let asked = origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap()));
            let mut response = HeaderMap::new();
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://of-the-target"));
            response.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("DELETE"));
            strip(&mut response);
            assert!(response.is_empty(), "{response:?}");
            origins.mark(&asked.into_iter().collect(), &mut response);
            response.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(marked(&origins, Some("https://a.example")).as_deref(), Some("https://a.example"));
        for other in [None, Some("https://a.example.evil"), Some("http://a.example"), Some("null"), Some("")] {
            assert_eq!(marked(&origins, other), None, "{other:?}");
        }
        assert_eq!(marked(&AllowedOrigins::Any, Some("null")).as_deref(), Some("*"));
    }
}
