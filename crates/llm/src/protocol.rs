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
    /// OpenAI's images, made or edited.
    Images,
    /// OpenAI's moderations, and Mistral's.
    Moderations,
    /// The order of documents by a question: Cohere's, and those of all that copy it, in whatever form.
    Rerank,
    /// What is said in a recording, as JSON.
    Transcription,
    /// Sound that is made of a text, as bytes.
    Speech,
    /// Anything else: files, lists, and unknown paths.
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
            Operation::Other => Self::of_method(path).or_else(|| Self::of_name(path)).unwrap_or_default(),
        }
    }

    /// Whether JSON that answers a request of this path is an array that grows, as Google streams where it is not asked for events.
    pub fn is_growing_array(path: &str) -> bool {
        google_method(path) == "streamGenerateContent"
    }

    /// By Google's method behind the name of a model.
    fn of_method(path: &str) -> Option<Self> {
        Some(match google_method(path) {
            "generateContent" | "streamGenerateContent" => Self::Gemini,
            "rawPredict" | "streamRawPredict" => Self::Anthropic,
            _ => return None,
        })
    }

    /// By the end of a path that is no operation of the providers: nothing is translated for it.
    fn of_name(path: &str) -> Option<Self> {
        let mut parts = without_query(path).trim_end_matches('/').rsplit('/');
        let (last, before) = (parts.next()?, parts.next().unwrap_or_default());
        Some(match (before, last) {
            ("images", "generations" | "edits" | "variations") => Self::Images,
            ("audio", "transcriptions" | "translations") => Self::Transcription,
            ("audio", "speech") => Self::Speech,
            ("usage", _) => return None,
            (_, "moderations") => Self::Moderations,
            (_, "rerank") => Self::Rerank,
            _ => return None,
        })
    }

    /// Whether a request decides how its answer is judged; see [`RequestView::judged_as`](crate::request_view::RequestView::judged_as).
    pub const fn is_chosen_by_request(self) -> bool {
        matches!(self, Self::Embeddings | Self::Images | Self::Moderations | Self::Rerank | Self::Transcription)
    }

    /// Whether a request may be answered with a redirect, to the file that it asks for: some servers of images and sound do so.
    pub const fn may_redirect(self) -> bool {
        matches!(self, Self::Images | Self::Speech | Self::Generic)
    }

    /// Whether a request asks for JSON, or for events of it.
    pub(crate) const fn is_json(self) -> bool {
        !matches!(self, Self::Speech | Self::Generic)
    }

    /// Whether the length of a request and of its answer tell how many tokens it used: not those of images and sound.
    pub(crate) const fn is_counted_by_length(self) -> bool {
        !matches!(self, Self::Images | Self::Transcription | Self::Speech | Self::Generic)
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
            ("/v1/images/generations", Protocol::Images),
            ("/openai/deployments/x/images/edits?api-version=1", Protocol::Images),
            ("/v1/images", Protocol::Generic),
            ("/v1/moderations/", Protocol::Moderations),
            ("/v1/chat/moderations", Protocol::Moderations),
            ("/v1/organization/usage/moderations", Protocol::Generic),
            ("/v2/rerank", Protocol::Rerank),
            ("rerank", Protocol::Rerank),
            ("/v1/audio/transcriptions", Protocol::Transcription),
            ("/v1/audio/translations", Protocol::Transcription),
            ("/v1/audio/speech", Protocol::Speech),
            ("/v1/translations", Protocol::Generic),
            ("", Protocol::Generic),
        ] {
            assert_eq!(Protocol::of_path(path), protocol, "{path}");
        }
    }
}
