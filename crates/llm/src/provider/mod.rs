//! The providers of models: one table from which addresses, keys, headers, fields and protocols follow.
//!
//! A target names its provider, and [`endpoint::endpoint`] says where a request goes and in which protocol. Secrets are no part
//! of it: [`KeyHeader`] says how a key is sent. What the vendors' documents say has its source beside it in `table.rs`; none of
//! it was tried against the vendors themselves.

mod answer_form;
pub mod endpoint;
pub mod error;
pub mod fields;
mod google;
mod google_fields;
mod path;
mod prepare;
mod table;

pub use answer_form::AnswerForm;
pub use endpoint::{BodyModel, Endpoint, EndpointError, EndpointRequest, TargetSettings, endpoint};
pub use path::{Operation, without_query};
pub use prepare::{ClientRequest, ModelFacts, PrepareError, Prepared, TargetModel, prepare};

pub use crate::translate::AnswerId;
use crate::translate::anthropic::Envelope;
use crate::translate::embeddings::EmbeddingModel;

types::named_enum! {
    /// Who answers for a target.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Provider {
        /// OpenAI.
        OpenAi = "openai",
        /// Azure OpenAI, in both of its forms: `/openai/v1/`, and deployments with an `api-version`.
        Azure = "azure",
        Anthropic = "anthropic",
        /// Google's Gemini API, through its OpenAI-shaped endpoint.
        Gemini = "gemini",
        /// Google's Vertex AI: Gemini through its OpenAI-shaped endpoint, Claude through `rawPredict`.
        Vertex = "vertex",
        /// Amazon Bedrock.
        Bedrock = "bedrock",
        Ollama = "ollama",
        /// Anything that speaks OpenAI's protocol at an address of its own: vLLM, Groq, Mistral, DeepSeek, OpenRouter …
        OpenAiCompatible = "openai_compatible",
    }
}

impl Provider {
    /// The protocols that a target's `api` can name.
    pub const fn apis(self) -> &'static [Api] {
        self.row().apis
    }

    /// The settings without which there is no address, beside those that are there.
    pub(crate) fn missing_settings(self, settings: &TargetSettings) -> Vec<&'static str> {
        if settings.base.is_some() && !self.row().placeholders_in_paths {
            return Vec::new();
        }
        let needed = self.row().needs.iter();
        needed.filter(|setting| settings.get(setting).is_none()).map(|setting| setting.name()).collect()
    }
}

/// How a key is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHeader {
    /// `Authorization: Bearer …`.
    Bearer,
    /// The key alone in a header of this name.
    Plain(&'static str),
    /// Anthropic: `x-api-key`, and tokens that begin with `sk-ant-oat` as a bearer (source: agentgateway's provider).
    Anthropic,
    /// A Bedrock API key as a bearer, or else a signature ([`crate::sigv4`]).
    BearerOrSignature,
}

impl KeyHeader {
    /// The header's name in lower case and its value.
    pub fn header(self, key: &str) -> (&'static str, String) {
        let bearer = || ("authorization", format!("Bearer {key}"));
        match self {
            Self::Bearer | Self::BearerOrSignature => bearer(),
            Self::Anthropic if key.starts_with("sk-ant-oat") => bearer(),
            Self::Anthropic => ("x-api-key", key.to_owned()),
            Self::Plain(name) => (name, key.to_owned()),
        }
    }
}

types::named_enum! {
    /// The protocol of a model, by its name or by the target's `api`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Api {
        /// OpenAI's.
        OpenAi = "openai",
        /// Anthropic's Messages.
        Messages = "messages",
        /// Bedrock's Converse.
        Converse = "converse",
    }
}

/// What a target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetProtocol {
    /// OpenAI's, so that the client's bytes pass.
    OpenAi,
    /// Anthropic's Messages.
    Messages(Envelope),
    /// Bedrock's Converse, its streams in AWS's frames.
    Converse,
    /// Bedrock's InvokeModel for models that make embeddings.
    Embeddings(EmbeddingModel),
}
