//! The protocols that clients and vendors speak, and which of them a path belongs to.

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
    /// Anything else: embeddings, images, audio, files, lists, and unknown paths.
    #[default]
    Generic,
}

impl Protocol {
    /// The protocol of a request's path, with or without a query; the path's beginning does not matter.
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let (before, last) = path.rsplit_once('/').unwrap_or(("", path));
        let method = last.rsplit_once(':').map_or("", |(_, method)| method);
        match last {
            "completions" => Self::OpenAiChat,
            "responses" => Self::OpenAiResponses,
            // The Assistants API has messages below a thread.
            "messages" if before.rsplit('/').nth(1) != Some("threads") => Self::Anthropic,
            _ if matches!(method, "generateContent" | "streamGenerateContent") => Self::Gemini,
            _ if matches!(method, "rawPredict" | "streamRawPredict") => Self::Anthropic,
            _ => Self::Generic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("/v1/embeddings", Protocol::Generic),
            ("/v1/responses/resp_1", Protocol::Generic),
            ("", Protocol::Generic),
        ] {
            assert_eq!(Protocol::of_path(path), protocol, "{path}");
        }
    }
}
