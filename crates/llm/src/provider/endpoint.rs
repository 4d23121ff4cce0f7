//! Where a request of an operation and a model goes.

use super::fields::FieldRules;
use super::path::{self, Operation};
use super::table::Setting;
use super::{Api, KeyHeader, Provider, TargetProtocol};
use crate::translate::anthropic::Envelope;
use crate::translate::embeddings::EmbeddingModel;

/// What the pools file says of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetSettings {
    /// `url`: replaces the provider's own address, up to where the operation's path begins (for Azure and Bedrock: the host).
    pub base: Option<String>,
    /// Azure's name of the resource.
    pub resource: Option<String>,
    /// AWS's region.
    pub region: Option<String>,
    /// Google's project.
    pub project: Option<String>,
    /// Google's location.
    pub location: Option<String>,
    /// Azure's `api-version`, which asks for the form with deployments; Anthropic's `anthropic-version`.
    pub api_version: Option<String>,
    /// The protocol, where the model's name does not say it.
    pub api: Option<Api>,
}

impl TargetSettings {
    pub(super) fn get(&self, setting: &Setting) -> Option<&str> {
        let value = match setting {
            Setting::Base => &self.base,
            Setting::Resource => &self.resource,
            Setting::Region => &self.region,
            Setting::Project => &self.project,
            Setting::Location => &self.location,
        };
        value.as_deref()
    }
}

/// Where a request goes, and what it must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The whole address.
    pub url: String,
    /// Headers beside the key's and the content's. A client's own `anthropic-version` goes before ours on `/v1/messages`.
    pub headers: Vec<(&'static str, String)>,
    /// What the target speaks.
    pub protocol: TargetProtocol,
    /// What becomes of `model` in the body.
    pub model: BodyModel,
    /// How the key is sent.
    pub key: KeyHeader,
    /// The fields that pass, where the target speaks OpenAI's protocol.
    pub fields: FieldRules,
}

/// What becomes of `model` in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyModel {
    /// It is this.
    Is(String),
    /// It is in the address, and must not stand in the body.
    Absent,
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The target lacks settings.
    #[error("provider {provider} needs {}", names(.settings))]
    Missing {
        /// The provider's name.
        provider: &'static str,
        /// The settings' names.
        settings: Vec<&'static str>,
    },
    /// A setting has characters that an address cannot have there.
    #[error("{setting} must have letters, digits, '-', '.' and '_' only")]
    InvalidSetting {
        /// The setting's name.
        setting: &'static str,
    },
    /// The model's name can be no part of an address.
    #[error("the model's name must not be empty, \".\" or \"..\"")]
    InvalidModel,
    /// The client's path leads elsewhere.
    #[error("the path must have neither empty names nor dots")]
    InvalidPath,
    /// The provider, or the model's protocol there, does not have this.
    #[error("provider {provider} has no {} for this model", .operation.words())]
    Unsupported {
        /// The provider's name.
        provider: &'static str,
        /// What was asked for.
        operation: Operation,
    },
}

fn names(settings: &[&str]) -> String {
    settings.iter().map(|setting| format!("`{setting}`")).collect::<Vec<_>>().join(" and ")
}

/// One request, as far as its address depends on it.
#[derive(Debug, Clone, Copy)]
pub struct EndpointRequest<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The target's name of the model; empty where there is none, as in a list of models.
    pub model: &'a str,
    /// The answer shall be a stream.
    pub stream: bool,
    /// The client's path behind the pool's, for operations that we do not know.
    pub path: &'a str,
}

/// Says where a request goes.
///
/// # Errors
/// See [`EndpointError`]: the settings' fault, or the client's.
pub fn endpoint(
    provider: Provider,
    settings: &TargetSettings,
    call: &EndpointRequest<'_>,
) -> Result<Endpoint, EndpointError> {
    let missing = provider.missing_settings(settings);
    if !missing.is_empty() {
        return Err(EndpointError::Missing { provider: provider.name(), settings: missing });
    }
    let place = EndpointContext { provider, settings, call, base: base(provider, settings)? };
    if provider == Provider::Bedrock && call.operation == Operation::Embeddings {
        return place.bedrock_embeddings();
    }
    match (provider, place.api()) {
        (Provider::Bedrock, Api::Converse) => place.bedrock("converse", "converse-stream", TargetProtocol::Converse),
        (Provider::Bedrock, Api::Messages) => {
            let protocol = TargetProtocol::Messages(Envelope::Bedrock);
            place.bedrock("invoke", "invoke-with-response-stream", protocol)
        }
        (Provider::Vertex, Api::Messages) => place.vertex_claude(),
        (Provider::Azure, _) => place.azure(),
        (_, Api::Messages) => place.messages(),
        (_, Api::OpenAi | Api::Converse) => place.openai(),
    }
}

/// The address before the paths.
fn base(provider: Provider, settings: &TargetSettings) -> Result<String, EndpointError> {
    for setting in [Setting::Resource, Setting::Region, Setting::Project, Setting::Location] {
        // Google's old projects have a colon (`example.com:project`).
        let has_colons = setting == Setting::Project;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || (has_colons && byte == b':');
        if settings.get(&setting).is_some_and(|value| value.is_empty() || !value.bytes().all(good)) {
            return Err(EndpointError::InvalidSetting { setting: setting.name() });
        }
    }
    if let Some(base) = &settings.base {
        return Ok(base.trim_end_matches('/').to_owned());
    }
    // Source: Vertex' documentation of locations.
    if provider == Provider::Vertex && settings.location.as_deref() == Some("global") {
        return Ok("https://aiplatform.googleapis.com/v1".to_owned());
    }
    Ok(filled(provider.row().base, settings))
}

/// A text with the settings in the places of their names.
fn filled(template: &str, settings: &TargetSettings) -> String {
    if !template.contains('{') {
        return template.to_owned();
    }
    let all = [Setting::Resource, Setting::Region, Setting::Project, Setting::Location];
    all.iter().fold(template.to_owned(), |text, setting| {
        text.replace(&format!("{{{}}}", setting.name()), settings.get(setting).unwrap_or_default())
    })
}

#[derive(Debug)]
struct EndpointContext<'a> {
    provider: Provider,
    settings: &'a TargetSettings,
    call: &'a EndpointRequest<'a>,
    base: String,
}

impl EndpointContext<'_> {
    /// The protocol of the model.
    fn api(&self) -> Api {
        if let Some(api) = self.settings.api {
            return api;
        }
        match self.provider {
            Provider::Anthropic => Api::Messages,
            Provider::Bedrock => match bedrock_vendor(self.call.model) {
                Some("anthropic") => Api::Messages,
                Some("openai") => Api::OpenAi,
                _ => Api::Converse,
            },
            Provider::Vertex if self.call.model.starts_with("claude") => Api::Messages,
            Provider::OpenAiCompatible if self.call.operation == Operation::Messages => Api::Messages,
            _ => Api::OpenAi,
        }
    }

    fn unsupported(&self) -> EndpointError {
        // What a model has there depends on its name.
        let by_name = match self.provider {
            Provider::Bedrock => matches!(self.call.operation, Operation::Messages | Operation::Embeddings),
            Provider::Vertex => self.call.operation == Operation::Messages,
            _ => false,
        };
        if by_name && self.call.model.is_empty() {
            return EndpointError::InvalidModel;
        }
        EndpointError::Unsupported { provider: self.provider.name(), operation: self.call.operation }
    }

    fn at(&self, path: &str, protocol: TargetProtocol, model: BodyModel) -> Endpoint {
        let row = self.provider.row();
        let fields = match self.call.operation {
            _ if protocol != TargetProtocol::OpenAi => FieldRules::ALL,
            Operation::Chat => row.chat,
            Operation::Embeddings => row.embeddings,
            Operation::Completions => row.completions,
            _ => FieldRules::ALL,
        };
        let url = format!("{}/{path}", self.base);
        Endpoint { url, headers: Vec::new(), protocol, model, key: row.key, fields }
    }

    fn model_part(&self) -> Result<std::borrow::Cow<'_, str>, EndpointError> {
        path::part(self.call.model).ok_or(EndpointError::InvalidModel)
    }

    fn openai(&self) -> Result<Endpoint, EndpointError> {
        let row = self.provider.row();
        let known = row.openai.iter().find(|(operation, _)| *operation == self.call.operation);
        let path = match known {
            Some((_, path)) => filled(path, self.settings),
            None if self.call.operation == Operation::Other && row.other_paths => {
                path::behind_base(self.call.path).ok_or(EndpointError::InvalidPath)?.to_owned()
            }
            None => return Err(self.unsupported()),
        };
        // Vertex' names of Google's models have their publisher before them.
        let is_bare = self.provider == Provider::Vertex && !self.call.model.contains('/');
        if is_bare && self.call.model.is_empty() {
            return Err(EndpointError::InvalidModel);
        }
        let model = if is_bare { format!("google/{}", self.call.model) } else { self.call.model.to_owned() };
        Ok(self.at(&path, TargetProtocol::OpenAi, BodyModel::Is(model)))
    }

    /// Anthropic's own API, and others that have it.
    fn messages(&self) -> Result<Endpoint, EndpointError> {
        let path = match self.call.operation {
            // A translation writes the name.
            Operation::Chat if self.call.model.is_empty() => return Err(EndpointError::InvalidModel),
            Operation::Chat | Operation::Messages => "messages",
            Operation::Models => "models",
            // What is called there is translated; to read or delete it, there is nothing.
            Operation::Other if self.provider.row().other_paths && !path::is_openais_alone(self.call.path) => {
                path::behind_base(self.call.path).ok_or(EndpointError::InvalidPath)?
            }
            _ => return Err(self.unsupported()),
        };
        let protocol = TargetProtocol::Messages(Envelope::Api);
        let mut endpoint = self.at(path, protocol, BodyModel::Is(self.call.model.to_owned()));
        let version = self.settings.api_version.as_deref().unwrap_or("2023-06-01");
        endpoint.headers.push(("anthropic-version", version.to_owned()));
        Ok(endpoint)
    }

    fn bedrock(&self, whole: &str, stream: &str, protocol: TargetProtocol) -> Result<Endpoint, EndpointError> {
        let is_messages = protocol != TargetProtocol::Converse;
        match self.call.operation {
            Operation::Chat => {}
            Operation::Messages if is_messages => {}
            _ => return Err(self.unsupported()),
        }
        let (action, accept) =
            if self.call.stream { (stream, "application/vnd.amazon.eventstream") } else { (whole, "application/json") };
        self.bedrock_model(action, accept, protocol)
    }

    /// Whatever protocol the settings name for chats. Embeddings have no streams.
    fn bedrock_embeddings(&self) -> Result<Endpoint, EndpointError> {
        let family = EmbeddingModel::from_name(self.call.model).ok_or_else(|| self.unsupported())?;
        self.bedrock_model("invoke", "application/json", TargetProtocol::Embeddings(family))
    }

    fn bedrock_model(&self, action: &str, accept: &str, protocol: TargetProtocol) -> Result<Endpoint, EndpointError> {
        let path = format!("model/{}/{action}", self.model_part()?);
        let mut endpoint = self.at(&path, protocol, BodyModel::Absent);
        endpoint.headers.push(("accept", accept.to_owned()));
        Ok(endpoint)
    }

    fn vertex_claude(&self) -> Result<Endpoint, EndpointError> {
        if !matches!(self.call.operation, Operation::Chat | Operation::Messages) {
            return Err(self.unsupported());
        }
        let action = if self.call.stream { "streamRawPredict" } else { "rawPredict" };
        let before = filled("projects/{project}/locations/{location}/publishers/anthropic/models", self.settings);
        let path = format!("{before}/{}:{action}", self.model_part()?);
        Ok(self.at(&path, TargetProtocol::Messages(Envelope::Vertex), BodyModel::Absent))
    }

    /// `/openai/v1/`, or, with an `api-version`, a deployment.
    fn azure(&self) -> Result<Endpoint, EndpointError> {
        let known = self.provider.row().openai.iter().find(|(operation, _)| *operation == self.call.operation);
        let operation = match (known, self.call.operation) {
            (Some((_, path)), _) => path,
            (None, Operation::Other) => path::behind_base(self.call.path).ok_or(EndpointError::InvalidPath)?,
            (None, _) => return Err(self.unsupported()),
        };
        let path = match &self.settings.api_version {
            None => format!("openai/v1/{operation}"),
            Some(version) => {
                let version = path::part(version).ok_or(EndpointError::InvalidSetting { setting: "api_version" })?;
                let deployment = if has_deployment(operation) {
                    format!("deployments/{}/", self.model_part()?)
                } else {
                    String::new()
                };
                format!("openai/{deployment}{operation}?api-version={version}")
            }
        };
        let mut endpoint = self.at(&path, TargetProtocol::OpenAi, BodyModel::Is(self.call.model.to_owned()));
        // Addresses are copied from the portal with and without their path.
        let host = self.base.trim_end_matches("/v1").trim_end_matches("/openai");
        endpoint.url = format!("{host}/{path}");
        Ok(endpoint)
    }
}

/// Whether Azure has this below a deployment. Source: the data plane's inference specification.
fn has_deployment(operation: &str) -> bool {
    ["chat/completions", "completions", "embeddings"].contains(&operation)
        || operation.starts_with("audio/")
        || operation.starts_with("images/")
}

/// Who made a model of Bedrock's that is not called through Converse: by its id, with or without the region before it
/// (`eu.anthropic.…`), or by the end of its ARN, which of an application's inference profile says nothing.
fn bedrock_vendor(model: &str) -> Option<&str> {
    let id = model.rsplit('/').next().unwrap_or_default();
    id.split('.').take(2).find(|name| matches!(*name, "anthropic" | "openai"))
}
