//! A target that is called without the gateway: its address, and what is said to it besides what the client says.
//!
//! Its headers and its query can be secret and are never shown.

use std::fmt;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use llm::prices::names::provider_of_host;

use super::credentials::{is_credential, selects_account};
use super::headers;
use super::provider_target::ProviderTarget;
use super::query::OwnQuery;
use super::target::{Base, ForwardedRequest};

/// A target of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct DirectUpstream {
    base: Base,
    /// Instead of the rest of the client's path.
    endpoint: Option<String>,
    query: OwnQuery,
    headers: HeaderMap,
    removed: Vec<HeaderName>,
    /// The client's own credentials go there.
    forwards: bool,
    /// Whose it is, if its provider is known by name.
    provider: Option<Arc<ProviderTarget>>,
    /// Whose host it is.
    host_provider: Option<&'static str>,
}

/// Why a header cannot be sent; reads after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not the name of a header.
    #[error("is not the name of a header")]
    Name,
    /// It belongs to the connection.
    #[error("is set by the relay itself")]
    Ours,
    /// A line end or the like.
    #[error("has a value that is not valid in a header")]
    Value,
}

impl DirectUpstream {
    /// At this address. `forwards`: the client's own credentials go there.
    pub fn new(base: Base, endpoint: Option<String>, forwards: bool) -> Self {
        let endpoint = endpoint.map(|endpoint| endpoint.trim_start_matches('/').to_owned());
        let host_provider = provider_of_host(base.host());
        Self {
            base,
            endpoint,
            query: OwnQuery::default(),
            headers: HeaderMap::new(),
            removed: Vec::new(),
            forwards,
            provider: None,
            host_provider,
        }
    }

    /// A target of a provider that is known by name. `forwards`: the client's own credentials go there.
    pub fn of_provider(base: Base, provider: ProviderTarget, forwards: bool) -> Self {
        Self { provider: Some(Arc::new(provider)), ..Self::new(base, None, forwards) }
    }

    /// Whose it is, if its provider is known by name.
    pub(super) fn provider(&self) -> Option<&ProviderTarget> {
        self.provider.as_deref()
    }

    /// Keeps the key that the target before it has fetched, if both have it from the same place.
    pub(super) fn keep_key_of(&mut self, before: &Self) {
        if let (Some(provider), Some(before)) = (&mut self.provider, &before.provider)
            && provider.key == before.key
        {
            Arc::make_mut(provider).key.clone_from(&before.key);
        }
    }

    /// What the settings say in the query.
    pub(super) const fn query(&self) -> &OwnQuery {
        &self.query
    }

    /// Says this in the query, instead of what the client says under this name, however the client spells it.
    pub fn set_query(&mut self, name: &str, value: &str) {
        self.query.set(name, value);
    }

    /// Sends this header, instead of the client's.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), HeaderFault> {
        let name = header(name)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| HeaderFault::Value)?;
        value.set_sensitive(true);
        self.headers.append(name, value);
        Ok(())
    }

    /// Does not send this header of the client's.
    ///
    /// # Errors
    /// It is none.
    pub fn remove_header(&mut self, name: &str) -> Result<(), HeaderFault> {
        self.removed.push(header(name)?);
        Ok(())
    }

    /// The provider of its target, by the pools file or by the host.
    pub fn provider_name(&self) -> Option<&'static str> {
        self.provider().map(|target| target.model.provider.name()).or(self.host_provider)
    }

    /// The provider that serves at its host, by whose prices its calls are paid.
    pub const fn host_provider(&self) -> Option<&'static str> {
        self.host_provider
    }

    /// Whether it is called with a key of its own.
    pub(super) fn has_own_key(&self) -> bool {
        let in_headers = || self.headers.keys().any(|name| is_credential(name.as_str()));
        !self.forwards || in_headers() || self.query.has_credential()
    }

    /// Whether a client's choice among the accounts of its own key goes there together with a key of the settings.
    pub(super) fn takes_account_of(&self, client: &HeaderMap) -> bool {
        let is_taken = |name: &&HeaderName| {
            selects_account(name.as_str()) && !self.removed.contains(name) && !self.headers.contains_key(*name)
        };
        self.forwards && self.has_own_key() && client.keys().any(|name| is_taken(&name))
    }

    /// The path and the query below its address.
    pub(super) fn path_and_query(&self, onward: ForwardedRequest<'_>) -> (String, Option<String>) {
        let path = format!("/{}", self.endpoint.as_deref().unwrap_or(onward.subpath));
        (path, self.query.merged(onward.query, self.forwards))
    }

    /// The headers of a client's request as they go there.
    pub(super) fn apply_headers(&self, mut headers: HeaderMap) -> HeaderMap {
        let is_of_client = |name: &str| is_credential(name) || selects_account(name);
        headers::remove_where(&mut headers, |name| {
            headers::is_forwarding_header(name, self.forwards) || (!self.forwards && is_of_client(name.as_str()))
        });
        headers.remove(headers::SESSION);
        self.removed.iter().for_each(|name| drop(headers.remove(name)));
        self.set_own_headers(&mut headers);
        headers
    }

    /// Takes out of an answer what is not for the client.
    pub(super) fn strip_answer(&self, headers: &mut HeaderMap) {
        headers::strip_origin(headers, self.forwards);
    }

    /// Sets the headers of the settings.
    pub(super) fn set_own_headers(&self, headers: &mut HeaderMap) {
        for name in self.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
    }

    /// Where it is.
    pub(super) const fn base(&self) -> &Base {
        &self.base
    }
}

/// Where it is, and nothing else.
impl fmt::Debug for DirectUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.base).finish_non_exhaustive()
    }
}

fn header(name: &str) -> Result<HeaderName, HeaderFault> {
    let name: HeaderName = name.parse().map_err(|_| HeaderFault::Name)?;
    if headers::is_ours(&name) { Err(HeaderFault::Ours) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use llm::provider::{Provider, TargetModel, TargetSettings};
    use llm::translate::Unsupported;

    use super::super::provider_target::TargetKey;
    use super::*;
    use crate::provider_auth::{AwsSource, KeySource, Source};

    fn direct(url: &str, endpoint: Option<&str>, forwards: bool) -> DirectUpstream {
        DirectUpstream::new(url.parse().unwrap(), endpoint.map(str::to_owned), forwards)
    }

    #[test]
    fn a_key_of_the_settings_may_stand_in_a_header_or_in_the_query() {
        for (header, query, forwards, own) in [
            (None, None, false, true),
            (None, None, true, false),
            (Some("api-key"), None, true, true),
            (Some("x-tier"), Some("api-version"), true, false),
            (None, Some("key"), true, true),
            (None, Some("subscription-key"), true, true),
        ] {
            let mut target = direct("https://h/", None, forwards);
            header.into_iter().for_each(|name| target.set_header(name, "x").unwrap());
            query.into_iter().for_each(|name| target.set_query(name, "x"));
            assert_eq!(target.has_own_key(), own, "{header:?} {query:?} {forwards}");
        }
    }

    #[test]
    fn a_path_and_a_query_of_its_own() {
        let headers = HeaderMap::new();
        let below = |direct: &DirectUpstream, subpath, query| {
            direct.path_and_query(ForwardedRequest { subpath, query, headers: &headers })
        };
        let mut azure = direct("https://x.openai.azure.com/openai/deployments/gpt4/", None, false);
        azure.set_query("api-version", "2024-02-01");
        let (path, query) = below(&azure, "chat/completions", Some("a=1&api-version=old&b"));
        assert_eq!((path.as_str(), query.as_deref()), ("/chat/completions", Some("a=1&b&api-version=2024-02-01")));
        let fixed = direct("https://h/", Some("/v1/chat"), false);
        assert_eq!(below(&fixed, "anything", None), ("/v1/chat".to_owned(), None));
        let (_, query) = below(&azure, "", Some("api%2Dversion=old&api_key=client"));
        assert_eq!(query.as_deref(), Some("api-version=2024-02-01"));
    }

    #[test]
    fn a_key_is_kept_while_it_comes_from_the_same_place() {
        let of = |path: &str| {
            let get = |name: &str| (name == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").then_some(path);
            let source = AwsSource::from_environment("eu-central-1", get).unwrap().unwrap();
            let settings = TargetSettings { region: Some("eu-central-1".to_owned()), ..TargetSettings::default() };
            let provider = ProviderTarget {
                model: TargetModel { provider: Provider::Bedrock, settings, unsupported: Unsupported::Drop },
                max_tokens: None,
                key: TargetKey::Expiring(KeySource::shared(Source::Aws(source))),
            };
            DirectUpstream::of_provider(provider.address().unwrap(), provider, false)
        };
        let key = |upstream: &DirectUpstream| match &upstream.provider().unwrap().key {
            TargetKey::Expiring(source) => Arc::clone(source),
            key => panic!("{key:?}"),
        };
        let before = of("/one");
        let [mut same, mut other] = ["/one", "/other"].map(of);
        same.set_header("x-new", "1").unwrap();
        for target in [&mut same, &mut other] {
            target.keep_key_of(&before);
        }
        assert!(Arc::ptr_eq(&key(&same), &key(&before)));
        assert!(key(&other) != key(&before));
        other.keep_key_of(&direct("http://h/", None, false));
    }

    #[test]
    fn a_clients_credentials_stay_here_unless_asked_for() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "api-key",
            "x-api-key",
            "cookie",
            "x-kept",
            "session-id",
            "x-gone",
            "x-auth-token",
            "api_key",
            "x-amz-security-token",
            "ocp-apim-subscription-key",
            "x-goog-api-key",
            "subscription-key",
            "openai-organization",
            "openai-project",
            "x-goog-user-project",
            "origin",
            "x-forwarded-for",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("client"));
        }
        let mut own = direct("https://h/", None, false);
        own.set_header("Authorization", "Bearer own").unwrap();
        own.set_header("X-Two", "1").unwrap();
        own.set_header("X-Two", "2").unwrap();
        own.remove_header("X-Gone").unwrap();
        let dressed = own.apply_headers(headers.clone());
        let mut names: Vec<_> = dressed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        names.sort_unstable();
        assert_eq!(names, [("authorization", "Bearer own"), ("x-kept", "client"), ("x-two", "1"), ("x-two", "2")]);
        let mut forwards = direct("https://h/", None, true);
        let forwarded = forwards.apply_headers(headers.clone());
        for name in ["authorization", "openai-organization", "openai-project", "x-goog-user-project"] {
            assert_eq!(forwarded.get(name), Some(&HeaderValue::from_static("client")), "{name}");
        }
        for name in ["session-id", "origin", "x-forwarded-for"] {
            assert!(!forwarded.contains_key(name), "{name}");
        }
        assert!(!own.takes_account_of(&headers) && !forwards.takes_account_of(&headers), "its account or its key");
        forwards.set_header("Authorization", "Bearer own").unwrap();
        assert!(forwards.takes_account_of(&headers), "its account, and our key");
        for name in ["OpenAI-Organization", "OpenAI-Project", "X-Goog-User-Project"] {
            forwards.set_header(name, "own").unwrap();
        }
        assert!(!forwards.takes_account_of(&headers));
    }

    #[test]
    fn secrets_are_not_shown_and_odd_headers_not_taken() {
        let mut own = direct("https://h/v1", None, false);
        own.set_header("Api-Key", "very-secret").unwrap();
        own.set_query("key", "very-secret");
        assert_eq!(format!("{own:?}"), "Direct(https://h/v1, ..)");
        assert_eq!(own.set_header("Api Key", "a"), Err(HeaderFault::Name));
        assert_eq!(own.set_header("X", "a\nb"), Err(HeaderFault::Value));
        for name in ["Host", "content-length", "Connection", "Transfer-Encoding"] {
            assert_eq!(own.set_header(name, "a"), Err(HeaderFault::Ours), "{name}");
        }
    }
}
