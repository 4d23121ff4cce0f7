//! Targets with a `provider`: the settings that the table of `llm::provider` leaves open.

use hyper::header::HeaderValue;

use super::health;
use super::reader::{Item, Reader};
use super::variables::Variables;
use crate::provider_auth::{AwsKey, AwsSource, KeySource, ServiceAccount, Source};
use crate::relay::{Base, ProviderTarget, TargetKey};
use llm::provider::{Api, Provider, TargetModel, TargetSettings};
use llm::translate::Unsupported;
use llm::translate::anthropic::ApiVersion;

/// The keys that need `provider`.
pub(super) const KEYS: [&str; 15] = [
    "provider",
    "model",
    "api_key",
    "api",
    "api_version",
    "resource",
    "region",
    "project",
    "location",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "service_account",
    "unsupported",
    "max_tokens",
];

/// Reads the provider of a target. `text` replaces variables; `own_key`: a header or the client brings the key.
pub(super) fn read(
    reader: &mut Reader<'_>,
    target: &Item<'_>,
    variables: &Variables,
    mut text: impl FnMut(&mut Reader<'_>, &Item<'_>) -> Option<String>,
    brings_key: bool,
) -> Option<(Base, ProviderTarget)> {
    let named = target.get("provider")?;
    let choices = Provider::ALL.map(|provider| (provider.name(), provider));
    let provider = reader.one_of(&named, &choices);
    let mut good = true;
    let mut field = |reader: &mut Reader<'_>, name: &str| {
        let item = target.get(name)?;
        let value = text(reader, &item);
        good &= value.is_some();
        value
    };
    let mut settings = TargetSettings {
        base: field(reader, "url"),
        resource: field(reader, "resource"),
        region: field(reader, "region"),
        project: field(reader, "project"),
        location: field(reader, "location"),
        api_version: field(reader, "api_version"),
        api: None,
    };
    let (api_key, account) = (field(reader, "api_key"), field(reader, "service_account"));
    let (id, secret) = (field(reader, "access_key_id"), field(reader, "secret_access_key"));
    let session_token = field(reader, "session_token");
    let options = Options::read(reader, target);
    let (provider, options) = (provider?, options?);
    if !good {
        return None;
    }
    settings.api = options.api;
    let version = check_version(reader, target, provider, settings.api_version.as_deref());
    check_api(reader, target, provider, options.api).and(version)?;
    let keys = Keys { target, provider, region: settings.region.as_deref(), variables, brings_key };
    let key = keys.read(reader, api_key, (id, secret, session_token), account)?;
    if let TargetKey::Expiring(source) = &key
        && settings.project.is_none()
    {
        settings.project = source.project().map(str::to_owned);
    }
    let model = TargetModel { provider, settings, unsupported: options.unsupported };
    let made = ProviderTarget { model, max_tokens: options.max_tokens, key };
    let address = made.address().map_err(|problem| reader.fault(&named, problem)).ok()?;
    Some((address, made))
}

/// Anthropic's version, if one is given, is one whose rules are known.
fn check_version(reader: &mut Reader<'_>, target: &Item<'_>, provider: Provider, version: Option<&str>) -> Option<()> {
    if provider == Provider::Anthropic
        && let Some(item) = target.get("api_version")
        && ApiVersion::parse(version.unwrap_or_default()).is_none()
    {
        reader.choice_fault(&item, "must be 2023-06-01 or 2026-10-21");
        return None;
    }
    Some(())
}

/// The protocol, if one is given, is one that the provider speaks.
fn check_api(reader: &mut Reader<'_>, target: &Item<'_>, provider: Provider, api: Option<Api>) -> Option<()> {
    if let Some(item) = target.get("api")
        && api.is_some_and(|api| !provider.apis().contains(&api))
    {
        let names: Vec<_> = provider.apis().iter().map(|api| format!("\"{}\"", api.name())).collect();
        reader.choice_fault(&item, format!("must be {} for the provider {}", names.join(" or "), provider.name()));
        return None;
    }
    Some(())
}

/// How requests are written for the provider.
struct Options {
    api: Option<Api>,
    unsupported: Unsupported,
    max_tokens: Option<u64>,
}

impl Options {
    /// Reads all of them before it returns, so that each fault is found.
    fn read(reader: &mut Reader<'_>, target: &Item<'_>) -> Option<Self> {
        let apis = Api::ALL.map(|api| (api.name(), api));
        let api = target.get("api").map(|item| reader.one_of(&item, &apis));
        let ways = [("drop", Unsupported::Drop), ("refuse", Unsupported::Refuse), ("pass", Unsupported::Pass)];
        let unsupported = target.get("unsupported").map_or(Some(Unsupported::Drop), |item| reader.one_of(&item, &ways));
        let max_tokens = target.get("max_tokens").map(|item| health::count(reader, &item).map(u64::from));
        if api == Some(None) || max_tokens == Some(None) {
            return None;
        }
        Some(Self { api: api.flatten(), unsupported: unsupported?, max_tokens: max_tokens.flatten() })
    }
}

/// Where the key of a target comes from.
struct Keys<'r, 'p> {
    target: &'r Item<'p>,
    provider: Provider,
    region: Option<&'r str>,
    variables: &'r Variables,
    brings_key: bool,
}

impl Keys<'_, '_> {
    fn read(
        &self,
        reader: &mut Reader<'_>,
        api_key: Option<String>,
        aws: (Option<String>, Option<String>, Option<String>),
        account: Option<String>,
    ) -> Option<TargetKey> {
        let is_of = |names: &[&str], provider: Provider| {
            self.provider == provider || names.iter().all(|name| self.target.get(name).is_none())
        };
        let aws_names = ["access_key_id", "secret_access_key", "session_token"];
        for (names, provider) in [(&aws_names[..], Provider::Bedrock), (&["service_account"][..], Provider::Vertex)] {
            if !is_of(names, provider) {
                let wrong = names.iter().find_map(|name| self.target.get(name))?;
                reader.key_fault(&wrong, format!("belongs to the provider {}", provider.name()));
                return None;
            }
        }
        match (api_key, aws, account) {
            (Some(key), ..) if HeaderValue::from_str(&key).is_err() || key.is_empty() => {
                let item = self.target.get("api_key")?;
                reader.missing(&item, "has a value that is not valid in a header");
                None
            }
            (Some(key), ..) => Some(TargetKey::Text(key)),
            (None, (Some(id), Some(secret), session_token), _) => {
                Some(TargetKey::Aws(AwsKey { id, secret, session_token }))
            }
            (None, (Some(_), None, _) | (None, Some(_), _), _) => {
                reader.missing(self.target, "needs both \"access_key_id\" and \"secret_access_key\"");
                None
            }
            (None, _, Some(account)) => self.account(reader, &account),
            (None, ..) => self.environment_key(reader),
        }
    }

    fn account(&self, reader: &mut Reader<'_>, text: &str) -> Option<TargetKey> {
        let item = self.target.get("service_account")?;
        let fault = |fault| reader.missing(&item, format!("{fault}: write \"${{file:/path/to/account.json}}\""));
        let account = ServiceAccount::parse(text).map_err(fault).ok()?;
        Some(TargetKey::Expiring(KeySource::shared(Source::Google(account))))
    }

    /// The variables that the vendors' own libraries use.
    fn environment_key(&self, reader: &mut Reader<'_>) -> Option<TargetKey> {
        // An empty variable is an unset one.
        let get = |name: &str| self.variables.get(name).filter(|value| !value.is_empty());
        if self.brings_key || matches!(self.provider, Provider::Ollama | Provider::OpenAiCompatible) {
            return Some(TargetKey::None);
        }
        if self.provider == Provider::Bedrock {
            if let Some(key) = get("AWS_BEARER_TOKEN_BEDROCK") {
                return Some(TargetKey::Text(key.to_owned()));
            }
            if let (Some(id), Some(secret)) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
                let session_token = get("AWS_SESSION_TOKEN").map(str::to_owned);
                return Some(TargetKey::Aws(AwsKey { id: id.to_owned(), secret: secret.to_owned(), session_token }));
            }
            let source = AwsSource::from_environment(self.region.unwrap_or_default(), get);
            if let Some(source) = source.map_err(|fault| reader.missing(self.target, fault.to_string())).ok()? {
                return Some(TargetKey::Expiring(KeySource::shared(Source::Aws(source))));
            }
        }
        let needs = match self.provider {
            Provider::Bedrock => {
                "\"api_key\", \"access_key_id\" and \"secret_access_key\", or AWS's variables in the environment"
            }
            Provider::Vertex => {
                "\"service_account\": \"${file:/path/to/account.json}\", or \"api_key\" with an access token"
            }
            _ => "\"api_key\": \"${…}\", a header that carries one, or \"forward_credentials\": true",
        };
        reader.missing(self.target, format!("needs a key: {needs}"));
        None
    }
}
