//! Where an attempt goes: a router of the gateway, or a target of its own. Of the client's request only the rest of the path, the
//! query, headers and body go on; the address is always that of the settings.

use std::fmt;
use std::str::FromStr;

use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::{HeaderMap, Uri};

use super::direct::DirectUpstream;
use super::headers;
use types::outcome::SetBy;
use types::router::RouterPath;

/// The beginning of a URL, which cannot be wrong: `http` or `https`, a host, a path.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    path: String,
}

/// Why a text is no [`Base`]; reads after the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseFault {
    /// Not a URL with scheme and host.
    #[error("must be a URL such as https://api.openai.com/v1/")]
    NoUrl,
    /// Neither http nor https.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A user or password before an @.
    #[error("must not carry a user or password: put them into a header")]
    User,
    #[error("must not carry a query")]
    Query,
}

impl FromStr for Base {
    type Err = BaseFault;

    fn from_str(text: &str) -> Result<Self, BaseFault> {
        let parts = text.trim().parse::<Uri>().map_err(|_| BaseFault::NoUrl)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(BaseFault::NoUrl) };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(BaseFault::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(BaseFault::User);
        }
        if authority.host().is_empty()
            || (authority.as_str().len() > authority.host().len() && authority.port_u16().is_none())
        {
            return Err(BaseFault::NoUrl);
        }
        let path = parts.path_and_query.ok_or(BaseFault::NoUrl)?;
        if path.query().is_some() {
            return Err(BaseFault::Query);
        }
        Ok(Self { scheme, authority, path: path.path().trim_end_matches('/').to_owned() })
    }
}

impl Default for Base {
    /// A gateway on this machine.
    fn default() -> Self {
        let authority = Authority::from_static("localhost:5380");
        Self { scheme: Scheme::HTTP, authority, path: String::new() }
    }
}

impl Base {
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The same host at another port, with no path.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Self {
        let authority = format!("{}:{port}", self.authority.host()).parse();
        let authority = authority.unwrap_or_else(|_| self.authority.clone());
        Self { scheme: self.scheme.clone(), authority, path: String::new() }
    }

    /// The address of this path below it, which begins with a slash. It shares nothing with other calls: the client copies it a
    /// dozen times, and calls on all processors would count the references of one host.
    fn at(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        let (before, query) = query.map_or(("", ""), |query| ("?", query));
        let (scheme, authority) = (self.scheme.as_str(), self.authority.as_str());
        [scheme, "://", authority, &self.path, path, before, query].concat().try_into().ok()
    }
}

/// As it was written, but for a slash at the end.
impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What of a client's request goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForwardedRequest<'a> {
    /// What follows the ingress in the path.
    pub(super) subpath: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
}

/// Where an attempt goes.
#[derive(Debug, Clone)]
pub(super) enum Target<'a> {
    /// Through the gateway.
    Router {
        gateway: &'a Base,
        router: &'a RouterPath,
        /// The session that this attempt belongs to.
        session: String,
    },
    /// Past the gateway.
    Direct(&'a DirectUpstream),
}

impl Target<'_> {
    /// The address.
    pub(super) fn uri(&self, onward: ForwardedRequest<'_>) -> Option<Uri> {
        match self {
            Self::Router { gateway, router, .. } => gateway.at(&format!("{router}{}", onward.subpath), onward.query),
            Self::Direct(direct) => {
                let (path, query) = direct.path_and_query(onward);
                direct.base().at(&path, query.as_deref())
            }
        }
    }

    pub(super) fn headers(&self, onward: ForwardedRequest<'_>) -> HeaderMap {
        let mut headers = headers::forwarded(onward.headers);
        match self {
            Self::Router { session, .. } => {
                // The gateway answers 500 when a client asks for compression and an upstream grants it (docs/gateway-protocol.md 4.8).
                headers.remove(ACCEPT_ENCODING);
                headers.insert(headers::SESSION, headers::value(session));
                headers
            }
            Self::Direct(direct) => {
                // What is compressed says nothing about errors, events and tokens. The target's own headers may ask otherwise.
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                direct.apply_headers(headers)
            }
        }
    }

    /// Whose key it is called with: with one of its own, the client has no part in a refusal. What the gateway adds is unknown.
    pub(super) fn key(&self) -> Option<SetBy> {
        match self {
            Self::Router { .. } => None,
            Self::Direct(direct) if direct.has_own_key() => Some(SetBy::Target),
            Self::Direct(_) => Some(SetBy::Client),
        }
    }

    /// Whether the gateway stands before it, and answers for it.
    pub(super) const fn is_behind_gateway(&self) -> bool {
        match self {
            Self::Router { .. } => true,
            Self::Direct(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::path;

    #[test]
    fn a_base_is_an_address_and_nothing_else() {
        for good in ["http://gecholog:5380", "https://api.openai.com/v1/", "http://[::1]:80/a", "https://h/"] {
            let base: Base = good.parse().unwrap();
            assert_eq!(base.to_string(), good.trim_end_matches('/'));
        }
        for (bad, fault) in [
            ("", BaseFault::NoUrl),
            ("gecholog:5380", BaseFault::NoUrl),
            ("/v1/", BaseFault::NoUrl),
            ("http://", BaseFault::NoUrl),
            ("http://h:99999/", BaseFault::NoUrl),
            ("ftp://h/", BaseFault::Scheme),
            ("file:///etc/passwd", BaseFault::NoUrl),
            ("https://user:secret@h/", BaseFault::User),
            ("https://h/?a=1", BaseFault::Query),
        ] {
            assert_eq!(bad.parse::<Base>(), Err(fault), "{bad}");
        }
    }

    #[test]
    fn an_address_is_made_of_the_settings_and_the_rest_of_the_path() {
        let gateway: Base = "http://gecholog:5380".parse().unwrap();
        let router = path("/azure/gpt4/");
        let target = Target::Router { gateway: &gateway, router: &router, session: String::new() };
        let headers = HeaderMap::new();
        let uri =
            |subpath, query| target.uri(ForwardedRequest { subpath, query, headers: &headers }).unwrap().to_string();
        assert_eq!(uri("", None), "http://gecholog:5380/azure/gpt4/");
        assert_eq!(uri("v1/chat", Some("a=b&c")), "http://gecholog:5380/azure/gpt4/v1/chat?a=b&c");
        assert_eq!(uri("@evil.example/", None), "http://gecholog:5380/azure/gpt4/@evil.example/");
    }
}
