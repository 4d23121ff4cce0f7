//! What a pools file says of a provider, as types.

use schemars::JsonSchema;
use serde::Deserialize;

/// A provider that is known by name.
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
    /// Anything else that speaks OpenAI's protocol, at its `url`.
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

/// What becomes of a field that a provider cannot take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// It is left out, and the answer's header X-Broker-Dropped names it.
    Drop,
    /// The request is refused, or goes to another target.
    Refuse,
    /// It is sent as it is.
    Pass,
}
