//! OpenAI's chat completions as Anthropic's Messages, and back: requests, whole answers, errors and streams.
//!
//! | part | what it does |
//! |---|---|
//! | [`request()`] | a request in OpenAI's form becomes one in Anthropic's |
//! | [`answer()`] | a whole answer becomes a chat completion |
//! | [`error()`] | an error answer becomes one in OpenAI's form |
//! | `own_error` | an error answer of a cloud becomes one in Anthropic's form |
//! | [`Stream`] | a streamed answer becomes chunks |
//!
//! Sources of the rules: the types and comments of the vendor's SDK (`anthropic` 2.14.0, PyPI), platform.claude.com/docs, and
//! the open issues of other gateways that `docs/providers.md` names. What is an assumption says so.

mod answer;
mod calls;
mod content;
mod conversation;
mod error;
mod names;
mod request;
mod schema;
mod settings;
mod stream;
mod tools;
mod usage;

pub use answer::answer;
pub use error::error;
pub(crate) use error::own_error;
pub use request::request;
pub(crate) use request::request_of;
pub use stream::Stream;

use super::Unsupported;

/// What a target takes, for the translation of requests to it.
#[derive(Debug, Clone)]
pub struct RequestOptions<'a> {
    /// The version in the header `anthropic-version`. Of [`Envelope::Api`] only; the clouds have a version of their own.
    pub api_version: ApiVersion,
    /// Where the request goes.
    pub envelope: Envelope,
    /// The target's name of the model.
    pub model: &'a str,
    /// The limit of output tokens where the client sets none; the vendor demands one.
    pub default_max_tokens: u64,
    /// Whether the model takes `temperature`, `top_p` and `top_k`.
    pub sampling: bool,
    /// Whether the model takes schemas: `output_config.format`, and `strict` of tools.
    pub schemas: bool,
    /// How the model is asked to think.
    pub thinking: Thinking,
    /// What becomes of what cannot be translated.
    pub unsupported: Unsupported,
}

/// A version of Anthropic's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApiVersion {
    /// `2023-06-01`, which takes more.
    #[default]
    V2023_06_01,
    /// `2026-10-21`.
    V2026_10_21,
}

/// Who takes the Messages request, and so what stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Envelope {
    /// Anthropic's own API, and others that have `/v1/messages`: the model and `stream` are in the body, the version in a header.
    #[default]
    Api,
    /// Bedrock's InvokeModel: the version is in the body, the model and whether it streams in the path; streams in AWS's frames.
    Bedrock,
    /// Vertex' rawPredict: the version and `stream` are in the body, the model is in the path.
    Vertex,
}

/// How a model is asked to think (`reasoning_effort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// It does not think.
    #[default]
    None,
    /// By a number of tokens: models up to 4.5.
    Budget,
    /// By an effort: models from 4.6 on.
    Adaptive,
}

impl Thinking {
    /// How a model of this name thinks. Before 3.7 none did; from 4.6 on it is asked for an effort. Names have the version
    /// before the family (`claude-3-7-sonnet`) or behind it (`claude-opus-4-6`); a date behind that is no version.
    /// assumed: a name without a version, or a later one, means a model of today.
    pub(crate) fn of_model(model: &str) -> Self {
        let Some((_, name)) = model.rsplit_once("claude-") else { return Self::None };
        let mut numbers = name.split(['-', '.', '@', ':', 'v']).filter_map(|part| match part.len() {
            1 | 2 => part.parse::<u32>().ok(),
            _ => None,
        });
        match (numbers.next(), numbers.next()) {
            (Some(major), minor) if (major, minor.unwrap_or(0)) < (3, 7) => Self::None,
            (Some(major), minor) if (major, minor.unwrap_or(0)) < (4, 6) => Self::Budget,
            _ => Self::Adaptive,
        }
    }
}

/// What a version of the API refuses with 400. Source: the vendor's migration guide of 2026-10-21.
#[derive(Debug, Clone, Copy)]
struct VersionRules {
    /// `temperature`, `top_p` and `top_k` are taken.
    sampling: bool,
    /// Documents may stand in the assistant's turns.
    assistant_documents: bool,
    /// `citations` may stand at texts of the user's.
    user_citations: bool,
}

const RULES: [(ApiVersion, &str, VersionRules); 2] = [
    (
        ApiVersion::V2023_06_01,
        "2023-06-01",
        VersionRules { sampling: true, assistant_documents: true, user_citations: true },
    ),
    (
        ApiVersion::V2026_10_21,
        "2026-10-21",
        VersionRules { sampling: false, assistant_documents: false, user_citations: false },
    ),
];

impl ApiVersion {
    /// The value of the header `anthropic-version`.
    pub fn as_str(self) -> &'static str {
        RULES.iter().find(|(version, ..)| *version == self).map_or("2023-06-01", |(_, text, _)| text)
    }

    /// The version of that name; `None` of one that is not known.
    pub fn parse(text: &str) -> Option<Self> {
        RULES.iter().find(|(_, known, _)| *known == text).map(|(version, ..)| *version)
    }
}

impl RequestOptions<'_> {
    fn rules(&self) -> VersionRules {
        // assumed: the versions of the clouds' envelopes, which are older, take what 2023-06-01 takes.
        let version = if self.envelope == Envelope::Api { self.api_version } else { ApiVersion::V2023_06_01 };
        RULES.iter().find(|(known, ..)| *known == version).map_or(RULES[0].2, |(.., rules)| *rules)
    }
}

impl Envelope {
    /// The `anthropic_version` in the body. Source: the vendor's SDK, `lib/bedrock` and `lib/vertex`.
    const fn version_in_body(self) -> Option<&'static str> {
        match self {
            Self::Api => None,
            Self::Bedrock => Some("bedrock-2023-05-31"),
            Self::Vertex => Some("vertex-2023-10-16"),
        }
    }

    /// Whether images and documents may be addresses that the vendor fetches.
    /// assumed: the clouds take bytes only, as their documentation of Claude shows no addresses.
    const fn takes_addresses(self) -> bool {
        matches!(self, Self::Api)
    }
}
