//! The settings of providers in the pools file, as types.

use schemars::JsonSchema;
use serde::Deserialize;

/// A known provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// OpenAI.
    Openai,
    /// Azure OpenAI.
    Azure,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Google's Vertex AI.
    Vertex,
    /// Amazon Bedrock.
    Bedrock,
    /// Ollama.
    Ollama,
    /// Any other provider with OpenAI's protocol, at its `url`.
    OpenaiCompatible,
}

/// A protocol.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// OpenAI's.
    Openai,
    /// Anthropic's Messages.
    Messages,
    /// Bedrock's Converse.
    Converse,
}

/// What happens with a field that a provider does not support.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// It is left out, and named in the answer's header X-Broker-Dropped.
    Drop,
    /// The request is refused, or goes to another target.
    Refuse,
    /// It is sent unchanged.
    Pass,
}
