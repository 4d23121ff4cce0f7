//! A target of a provider that is known by name: what a client's request becomes on its way there. The table of providers and the
//! translations are in `llm`; here are the key, the signature and the address.

use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};
use jiff::Timestamp;
use llm::capability::MissingCapability;
use llm::prices::PriceTable;
use llm::provider::{
    ClientRequest, KeyHeader, ModelFacts, Operation, PrepareError, Prepared, TargetModel, TargetProtocol, prepare,
};
use llm::sigv4;
use llm::translate::anthropic::Envelope;

use super::query::OwnQuery;
use super::target::Base;
use crate::provider_auth::{AwsKey, Fetch, Key, KeySource};

/// The header by which a client of Anthropic's protocol says its version.
pub(super) const ANTHROPIC_VERSION: &str = "anthropic-version";
/// The header by which it asks for features that are not in that version.
const ANTHROPIC_BETA: &str = "anthropic-beta";

/// What the pools file says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderTarget {
    /// Its provider, its address, and how requests are written for it.
    pub model: TargetModel,
    /// The limit of output tokens where a client says none and its provider needs one.
    pub max_tokens: Option<u64>,
    /// What it is called with.
    pub key: TargetKey,
}

impl fmt::Debug for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}

/// The key of a target.
#[derive(Clone, PartialEq, Eq)]
pub enum TargetKey {
    /// None of ours: the provider needs none, or the client's goes there, or a header of the settings carries it.
    None,
    /// A text.
    Text(String),
    /// A key of AWS that does not expire.
    Aws(AwsKey),
    /// One that expires.
    Expiring(Arc<KeySource>),
}

/// Why a request is not sent. None is the target's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSentReason {
    /// The request does not fit, or the settings do not.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It lacks what the request needs, and another target may have it.
    #[error("{0}")]
    Incapable(MissingCapability),
    /// There is no key at this moment.
    #[error("there is no key for it at this moment")]
    NoKey,
    /// There is no memory for its body.
    #[error("there is no memory for another body")]
    NoMemory,
    /// The target's own limit of the call's time is over, and another one's is not.
    #[error("its time for this call is over")]
    NoTime,
    /// An address or a header that cannot be sent.
    #[error("no valid address results from its settings and the path")]
    Address,
}

impl NotSentReason {
    /// In words that follow the router that was passed over.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Prepare(_) => "it cannot take the request",
            Self::Incapable(lack) => lack.words(),
            Self::NoKey => "there is no key for it",
            Self::NoMemory => "there is no memory for its body",
            Self::NoTime => "its time for this call is over",
            Self::Address => "no valid address results from its settings and the path",
        }
    }
}

/// The names of the settings, and nothing that may be secret.
impl fmt::Debug for ProviderTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderTarget").field("provider", &self.model.provider).finish_non_exhaustive()
    }
}

impl ProviderTarget {
    /// Where its calls go, for its name in logs.
    ///
    /// # Errors
    /// The settings make no address: what is missing, or wrong.
    pub fn address(&self) -> Result<Base, String> {
        let call = llm::provider::EndpointRequest { operation: Operation::Chat, model: "m", stream: false, path: "" };
        let endpoint = llm::provider::endpoint(self.model.provider, &self.model.settings, &call);
        let url = endpoint.map_err(|error| error.to_string())?.url;
        let url = url.split('?').next().unwrap_or_default();
        url.parse::<Base>().map_err(|fault| fault.to_string())
    }

    /// The request as the provider takes it, without its key. `table` says what its model can do.
    ///
    /// # Errors
    /// It does not go there.
    pub(super) fn prepare<'b>(
        &self,
        operation: Operation,
        path: &'b str,
        headers: &'b HeaderMap,
        body: &'b [u8],
        table: &PriceTable,
    ) -> Result<Prepared<'b>, PrepareError> {
        let request = ClientRequest {
            operation,
            path,
            body,
            anthropic_version: headers.get(ANTHROPIC_VERSION).and_then(|version| version.to_str().ok()),
            anthropic_beta: headers.get_all(ANTHROPIC_BETA).iter().filter_map(|beta| beta.to_str().ok()).collect(),
        };
        prepare(&self.model, &request, |model| self.facts(model, table))
    }

    /// What is known of its model.
    fn facts(&self, model: &str, table: &PriceTable) -> ModelFacts {
        let unknown = ModelFacts { max_output: self.max_tokens, ..ModelFacts::default() };
        table.find(Some(self.model.provider.name()), model).map_or(unknown, |row| ModelFacts {
            max_output: self.max_tokens.or(row.limits.max_output),
            sampling: row.capabilities.sampling_params,
            schemas: row.capabilities.response_schema,
            reasoning: row.capabilities.reasoning,
        })
    }

    /// The address of a prepared request, with what else the client's query says where it speaks the provider's protocol. What the
    /// settings say in the query stands instead of the provider's own.
    pub(super) fn uri(
        &self,
        prepared: &Prepared<'_>,
        client_query: Option<&str>,
        own: &OwnQuery,
    ) -> Result<Uri, NotSentReason> {
        let (path, query) = match prepared.endpoint.url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (prepared.endpoint.url.as_str(), None),
        };
        let mut own = own.clone();
        for (name, value) in query.iter().flat_map(|query| query.split('&')).filter_map(|field| field.split_once('=')) {
            own.add_encoded(name, value);
        }
        let client = client_query.filter(|_| prepared.answer.is_unchanged());
        let query = own.merged(client, self.key == TargetKey::None);
        let url = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        url.parse().map_err(|_| NotSentReason::Address)
    }

    /// Sets what the provider's table says, and the key: `headers` are those of the client as they go to this target.
    ///
    /// # Errors
    /// There is no key.
    pub(super) async fn sign<F: Fetch>(
        &self,
        prepared: &Prepared<'_>,
        uri: &Uri,
        method: &str,
        headers: &mut HeaderMap,
        fetch: &F,
        now: impl Fn() -> Timestamp + Clone + Send + 'static,
    ) -> Result<(), NotSentReason> {
        // To those who are sent a translation they mean nothing, and Bedrock has them in the body.
        let is_in_body = prepared.endpoint.protocol == TargetProtocol::Messages(Envelope::Bedrock);
        if is_in_body || !prepared.answer.is_unchanged() {
            [ANTHROPIC_VERSION, ANTHROPIC_BETA].iter().for_each(|name| drop(headers.remove(*name)));
        }
        for (name, value) in &prepared.endpoint.headers {
            set(headers, name, value)?;
        }
        match &self.key {
            TargetKey::None => Ok(()),
            TargetKey::Text(key) => set_key(headers, prepared.endpoint.key, key),
            TargetKey::Aws(key) => self.sign_for_aws(key, prepared, uri, method, headers, now()),
            TargetKey::Expiring(source) => match source.key(fetch, now.clone()).await.as_deref() {
                None => Err(NotSentReason::NoKey),
                Some(Key::Bearer(token)) => set_key(headers, KeyHeader::Bearer, token),
                Some(Key::Aws(key)) => self.sign_for_aws(key, prepared, uri, method, headers, now()),
            },
        }
    }

    fn sign_for_aws(
        &self,
        key: &AwsKey,
        prepared: &Prepared<'_>,
        uri: &Uri,
        method: &str,
        headers: &mut HeaderMap,
        time: Timestamp,
    ) -> Result<(), NotSentReason> {
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let signed = [("content-type", content_type)];
        let request = sigv4::Request {
            method,
            url: &uri.to_string(),
            headers: if content_type.is_empty() { &[] } else { &signed },
            body_sha256: &sigv4::sha256_hex(&prepared.body),
            region: self.model.settings.region.as_deref().unwrap_or_default(),
            service: sigv4::BEDROCK,
            time,
        };
        let credentials = sigv4::Credentials {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            session_token: key.session_token.as_deref(),
        };
        let signature = sigv4::sign(&request, &credentials).map_err(|_| NotSentReason::Address)?;
        set(headers, "authorization", &signature.authorization)?;
        set(headers, "x-amz-date", &signature.date)?;
        match &signature.security_token {
            Some(token) => set(headers, "x-amz-security-token", token),
            None => Ok(()),
        }
    }
}

fn set_key(headers: &mut HeaderMap, how: KeyHeader, key: &str) -> Result<(), NotSentReason> {
    let (name, value) = how.header(key);
    set(headers, name, &value)
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), NotSentReason> {
    let mut value = HeaderValue::from_str(value).map_err(|_| NotSentReason::Address)?;
    value.set_sensitive(true);
    headers.insert(HeaderName::from_static(name), value);
    Ok(())
}
