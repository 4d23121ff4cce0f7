//! The protocols that clients and vendors speak, and which of them a path belongs to.

use crate::provider::{Operation, without_query};

/// A protocol, by the form of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// OpenAI's chat completions and completions, Azure's, and those of all that copy them.
    OpenAiChat,
    /// OpenAI's Responses API.
    OpenAiResponses,
    /// Anthropic's Messages API.
    Anthropic,
    /// Gemini's and Vertex's `generateContent` and `streamGenerateContent`.
    Gemini,
    /// OpenAI's embeddings, and those of others at the same path, in whatever form.
    Embeddings,
    /// Anything else: images, audio, files, lists, and unknown paths.
    #[default]
    Generic,
}

impl Protocol {
    /// The protocol of a request's path, with or without a query; the path's beginning does not matter.
    pub fn of_path(path: &str) -> Self {
        match Operation::of_whole_path(path) {
            Operation::Chat | Operation::Completions => Self::OpenAiChat,
            Operation::Responses => Self::OpenAiResponses,
            Operation::Messages => Self::Anthropic,
            Operation::Embeddings => Self::Embeddings,
            Operation::Models => Self::Generic,
            Operation::Other => Self::of_method(path),
        }
    }

    /// Whether JSON that answers a request of this path is an array that grows, as Google streams where it is not asked for events.
    pub fn is_growing_array(path: &str) -> bool {
        google_method(path) == "streamGenerateContent"
    }

    /// By Google's method behind the name of a model.
    fn of_method(path: &str) -> Self {
        match google_method(path) {
            "generateContent" | "streamGenerateContent" => Self::Gemini,
            "rawPredict" | "streamRawPredict" => Self::Anthropic,
            _ => Self::Generic,
        }
    }
}

/// What stands behind the name of a model at the end of a path.
pub(crate) fn google_method(path: &str) -> &str {
    let path = without_query(path).trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rsplit_once(':').map_or("", |(_, method)| method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_stream_an_array() {
        assert!(Protocol::is_growing_array("/v1beta/models/gemini-2.5-pro:streamGenerateContent"));
        assert!(!Protocol::is_growing_array("/v1beta/models/gemini-2.5-pro:generateContent"));
        assert!(!Protocol::is_growing_array("/v1/chat/completions"));
    }

    #[test]
    fn protocols_of_paths() {
        for (path, protocol) in [
            ("/v1/chat/completions", Protocol::OpenAiChat),
            ("/openai/deployments/x/chat/completions?api-version=1", Protocol::OpenAiChat),
            ("/llm/completions/", Protocol::OpenAiChat),
            ("/v1/responses", Protocol::OpenAiResponses),
            ("/v1/messages?beta=true", Protocol::Anthropic),
            ("messages", Protocol::Anthropic),
            ("/v1/threads/thread_1/messages", Protocol::Generic),
            ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", Protocol::Gemini),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", Protocol::Anthropic),
            ("/v1/embeddings", Protocol::Embeddings),
            ("/v1/organization/usage/completions?limit=1", Protocol::Generic),
            ("/v1/organizations/usage_report/messages", Protocol::Generic),
            ("/v1/chat/completions/chatcmpl-1/messages", Protocol::Generic),
            ("/v1/responses/resp_1", Protocol::Generic),
            ("", Protocol::Generic),
        ] {
            assert_eq!(Protocol::of_path(path), protocol, "{path}");
        }
    }
}
