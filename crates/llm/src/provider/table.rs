//! The table of providers.

use super::fields::FieldRules;
use super::{Api, KeyHeader, Operation, Provider};

/// A setting that a provider's address needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// An address of its own.
    Base,
    Resource,
    Region,
    Project,
    Location,
}

impl Setting {
    /// The name in the pools file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Base => "url",
            Self::Resource => "resource",
            Self::Region => "region",
            Self::Project => "project",
            Self::Location => "location",
        }
    }
}

/// One provider.
#[derive(Debug)]
pub(super) struct Row {
    /// The address before all paths, without a slash at its end; a target's `url` replaces it.
    pub(super) base: &'static str,
    pub(super) needs: &'static [Setting],
    /// The paths need settings as well, so a `url` does not do without them.
    pub(super) placeholders_in_paths: bool,
    pub(super) key: KeyHeader,
    /// The protocols that it speaks.
    pub(super) apis: &'static [Api],
    /// The path behind the base of each operation that is served in OpenAI's protocol.
    pub(super) openai: &'static [(Operation, &'static str)],
    /// The fields of chat requests in OpenAI's protocol that pass.
    pub(super) chat: FieldRules,
    pub(super) embeddings: FieldRules,
    pub(super) completions: FieldRules,
    /// Paths that we do not know pass to it.
    pub(super) other_paths: bool,
}

const EVERYTHING: &[(Operation, &str)] = &[
    (Operation::Chat, "chat/completions"),
    (Operation::Completions, "completions"),
    (Operation::Embeddings, "embeddings"),
    (Operation::Responses, "responses"),
    (Operation::Models, "models"),
];

/// Gemini answers a field that it does not know with 400 (trap 8), such as `store` (issues openhanako#394, openclaude#585),
/// `frequency_penalty` and `seed` (page-assist#418, ChatterUI#227) and `parallel_tool_calls` (magentic#382). These are the ones
/// that ai.google.dev/gemini-api/docs/openai shows; that no other is taken is assumed.
const GEMINI_CHAT: &[&str] = &[
    "extra_body",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "reasoning_effort",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
];

/// Of Vertex' page "Using OpenAI libraries with Vertex AI"; that it takes `stream_options` and `extra_body` as Gemini does is
/// assumed.
const VERTEX_CHAT: &[&str] = &[
    "extra_body",
    "frequency_penalty",
    "function_call",
    "functions",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "web_search_options",
];

/// Of docs.ollama.com/api/openai-compatibility. `max_completion_tokens` is not on the list, so it becomes `max_tokens`.
const OLLAMA_CHAT: &[&str] = &[
    "frequency_penalty",
    "logprobs",
    "max_tokens",
    "messages",
    "model",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
];
const OLLAMA_COMPLETIONS: &[&str] = &[
    "frequency_penalty",
    "max_tokens",
    "model",
    "presence_penalty",
    "prompt",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
];
const EMBEDDINGS: &[&str] = &["dimensions", "encoding_format", "input", "model"];

/// What most rows have.
const OPENAI: Row = Row {
    base: "https://api.openai.com/v1",
    needs: &[],
    placeholders_in_paths: false,
    key: KeyHeader::Bearer,
    apis: &[Api::OpenAi],
    openai: EVERYTHING,
    chat: FieldRules::ALL,
    embeddings: FieldRules::ALL,
    completions: FieldRules::ALL,
    other_paths: true,
};

/// Source: learn.microsoft.com/azure/ai-services/openai/reference. The paths begin in `endpoint`, since they have two forms.
const AZURE: Row = Row {
    base: "https://{resource}.openai.azure.com",
    needs: &[Setting::Resource],
    key: KeyHeader::Plain("api-key"),
    ..OPENAI
};

/// Source: platform.claude.com/docs/en/api. Its OpenAI-shaped endpoint is not used: it drops `response_format`, caching and
/// more in silence, and the vendor says that it is no long-term solution.
const ANTHROPIC: Row = Row {
    base: "https://api.anthropic.com/v1",
    key: KeyHeader::Anthropic,
    apis: &[Api::Messages],
    openai: &[(Operation::Models, "models")],
    ..OPENAI
};

/// Source: ai.google.dev/gemini-api/docs/openai.
const GEMINI: Row = Row {
    base: "https://generativelanguage.googleapis.com/v1beta/openai",
    openai: &[
        (Operation::Chat, "chat/completions"),
        (Operation::Embeddings, "embeddings"),
        (Operation::Models, "models"),
    ],
    chat: FieldRules::only(GEMINI_CHAT).at_google(),
    embeddings: FieldRules::only(EMBEDDINGS),
    other_paths: false,
    ..OPENAI
};

/// Source: cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview, and agentgateway's provider for the paths.
/// That there are no embeddings in this form is assumed.
const VERTEX: Row = Row {
    base: "https://{location}-aiplatform.googleapis.com/v1",
    needs: &[Setting::Project, Setting::Location],
    placeholders_in_paths: true,
    apis: &[Api::OpenAi, Api::Messages],
    openai: &[(Operation::Chat, "projects/{project}/locations/{location}/endpoints/openapi/chat/completions")],
    chat: FieldRules::only(VERTEX_CHAT).at_google(),
    other_paths: false,
    ..OPENAI
};

/// Source: botocore's service model, and docs.aws.amazon.com/bedrock "Invoke with the OpenAI Chat Completions API". The models
/// of OpenAI answer `logit_bias` with 400; xAI's answer penalties with 503 (trap 10: the caller's mistake looks like an outage).
/// Both are from LiteLLM's source.
const BEDROCK: Row = Row {
    base: "https://bedrock-runtime.{region}.amazonaws.com",
    needs: &[Setting::Region],
    key: KeyHeader::BearerOrSignature,
    apis: &[Api::OpenAi, Api::Messages, Api::Converse],
    openai: &[(Operation::Chat, "openai/v1/chat/completions")],
    chat: FieldRules::except(&["frequency_penalty", "logit_bias", "presence_penalty"]),
    other_paths: false,
    ..OPENAI
};

/// Source: docs.ollama.com/api/openai-compatibility and docs.ollama.com/api/anthropic-compatibility. A local one ignores keys,
/// ollama.com asks for one.
const OLLAMA: Row = Row {
    base: "http://localhost:11434/v1",
    apis: &[Api::OpenAi, Api::Messages],
    chat: FieldRules::only(OLLAMA_CHAT).renaming("max_completion_tokens", "max_tokens"),
    embeddings: FieldRules::only(EMBEDDINGS),
    completions: FieldRules::only(OLLAMA_COMPLETIONS),
    ..OPENAI
};

const OPENAI_COMPATIBLE: Row = Row { base: "", needs: &[Setting::Base], apis: &[Api::OpenAi, Api::Messages], ..OPENAI };

impl Provider {
    pub(super) const fn row(self) -> &'static Row {
        match self {
            Self::OpenAi => &OPENAI,
            Self::Azure => &AZURE,
            Self::Anthropic => &ANTHROPIC,
            Self::Gemini => &GEMINI,
            Self::Vertex => &VERTEX,
            Self::Bedrock => &BEDROCK,
            Self::Ollama => &OLLAMA,
            Self::OpenAiCompatible => &OPENAI_COMPATIBLE,
        }
    }
}
