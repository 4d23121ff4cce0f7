//! What a client's path asks for, and names that become a part of an address.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a client asks for, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completions,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// The list of models.
    Models,
    /// Anything else.
    Other,
}

/// Names that bases of APIs are made of, of the vendors and of what copies them.
const BASES: [&str; 7] = ["api", "openai", "anthropic", "inference", "compatible-mode", "v1", "v1beta"];

/// Before the name of a model that a path has before its operation.
const MODEL_KINDS: [&str; 2] = ["deployments", "engines"];

impl Operation {
    /// The operation of a request by its method and by its path behind the pool's, with or without a query.
    ///
    /// The path is that of the operation behind a base that an API may have (`v1`, `openai/v1`, `v1beta/openai` …) and behind the
    /// model, for clients that name it there (`deployments/NAME`, `engines/NAME`). A path that only ends alike, such as
    /// `organization/usage/completions`, is another one, and so is one that is read or deleted instead of called.
    pub fn from_path(method: &str, path: &str) -> Self {
        let operation = Self::of_path(path);
        let reads = matches!(method, "GET" | "HEAD");
        let is_called = if operation == Self::Models { reads } else { method == "POST" };
        if is_called { operation } else { Self::Other }
    }

    /// The operation of a path behind the pool's, whatever the method.
    pub fn of_path(path: &str) -> Self {
        match without_base(path) {
            "chat/completions" => Self::Chat,
            name => Self::of_name(name),
        }
    }

    fn of_name(name: &str) -> Self {
        match name {
            "completions" => Self::Completions,
            "embeddings" => Self::Embeddings,
            "responses" => Self::Responses,
            "messages" => Self::Messages,
            "models" => Self::Models,
            _ => Self::Other,
        }
    }

    /// The operation of a whole path, whose beginning may be anything: a pool's ingress, the base of a target's address. What
    /// only ends like an operation, such as `organization/usage/completions` or `threads/ID/messages`, is none.
    pub fn of_whole_path(path: &str) -> Self {
        let path = without_query(path).trim_matches('/');
        let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
        let operation = Self::of_name(name);
        if operation == Self::Other {
            return operation;
        }
        let (before, last) = before.rsplit_once('/').unwrap_or(("", before));
        let last_but_one = before.rsplit_once('/').map_or(before, |(_, name)| name);
        // OpenAI's usage of its operations and messages of a thread and of a completion, Anthropic's report of its usage.
        let is_resource = matches!(last, "usage" | "usage_report") || matches!(last_but_one, "threads" | "completions");
        // Such a name may be that of a model.
        let is_behind_model = !last.is_empty() && MODEL_KINDS.contains(&last_but_one);
        match operation {
            operation if is_behind_model => operation,
            Self::Completions if last == "chat" => Self::Chat,
            _ if is_resource => Self::Other,
            operation => operation,
        }
    }

    /// What it is called in messages.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Chat => "chat completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Models => "list of models",
            Self::Other => "such path with this method",
        }
    }
}

/// A path without its query and fragment.
pub fn without_query(path: &str) -> &str {
    let end = path.bytes().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    path.get(..end).unwrap_or_default()
}

/// A path without its query, the base of an API and a model before the operation.
fn without_base(path: &str) -> &str {
    let mut rest = without_query(path).trim_matches('/');
    while let Some((_, behind)) = rest.split_once('/').filter(|(first, _)| BASES.contains(first)) {
        rest = behind;
    }
    let behind_model = rest.split_once('/').filter(|(kind, _)| MODEL_KINDS.contains(kind));
    let behind_model = behind_model.and_then(|(_, named)| named.split_once('/')).filter(|(model, _)| !model.is_empty());
    behind_model.map_or(rest, |(_, behind)| behind)
}

/// Whether a path is at or below one of OpenAI's that Anthropic's API does not have.
pub(super) fn is_openais_alone(path: &str) -> bool {
    let path = without_base(path);
    let is_at = |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ["chat/completions", "completions", "embeddings", "responses"].into_iter().any(is_at)
}

/// What stays as it is in a part of a path; `@` because Vertex' models have it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// A name as one part of a path; `None` of one that would be no part. (Trap 20: `../`, `%2F`.)
pub(super) fn part(name: &str) -> Option<Cow<'_, str>> {
    (!matches!(name, "" | "." | "..")).then(|| utf8_percent_encode(name, ENCODED).into())
}

/// A client's path behind the base of an address, without its query; `None` of one that leads elsewhere.
pub(super) fn behind_base(path: &str) -> Option<&str> {
    let path = without_query(path).trim_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path);
    let is_good = |name: &str| {
        let plain = name.replace("%2e", ".").replace("%2E", ".");
        !matches!(plain.as_str(), "" | "." | "..") && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    path.split('/').all(is_good).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_operations_are_whole_paths_behind_a_base() {
        use Operation::{Chat, Completions, Embeddings, Messages, Models, Other, Responses};
        for (path, operation) in [
            ("chat/completions", Chat),
            ("/chat/completions/", Chat),
            ("v1/chat/completions?api-version=1", Chat),
            ("openai/v1/chat/completions", Chat),
            ("v1beta/openai/chat/completions", Chat),
            ("api/v1/chat/completions", Chat),
            ("openai/deployments/gpt4/chat/completions?api-version=2024-06-01", Chat),
            ("deployments/a%2Fb/chat/completions", Chat),
            ("v1/engines/gpt-4/chat/completions", Chat),
            ("completions", Completions),
            ("openai/deployments/v1/completions", Completions),
            ("v1/engines/davinci/completions", Completions),
            ("v1/embeddings", Embeddings),
            ("engines/ada/embeddings", Embeddings),
            ("v1/responses", Responses),
            ("v1/messages?beta=true", Messages),
            ("anthropic/v1/messages", Messages),
            ("models", Models),
            ("openai/models", Models),
            ("organization/usage/completions", Other),
            ("v1/organization/usage/embeddings", Other),
            ("usage/completions", Other),
            ("usage/chat/completions", Other),
            ("chat/completions/chatcmpl-1/messages", Other),
            ("chat/completions/chatcmpl-1", Other),
            ("v1/threads/thread_1/messages", Other),
            ("batches/chat/completions", Other),
            ("v1/responses/resp_1", Other),
            ("v1/messages/batches", Other),
            ("messages/count_tokens", Other),
            ("models/gpt-4", Other),
            ("fine_tuning/models", Other),
            ("x/v1/chat/completions", Other),
            ("deployments//chat/completions", Other),
            ("deployments/chat/completions", Completions),
            ("chat//completions", Other),
            ("v1", Other),
            ("", Other),
        ] {
            assert_eq!(Operation::of_path(path), operation, "{path}");
        }
    }

    #[test]
    fn operations_of_whole_paths() {
        use Operation::{Chat, Completions, Embeddings, Messages, Models, Other, Responses};
        for (path, operation) in [
            ("/llm/v1/chat/completions", Chat),
            ("/llm/eu/openai/deployments/completions/chat/completions?api-version=1", Chat),
            ("/usage/chat/completions", Chat),
            ("/threads/x/v1/messages", Messages),
            ("/llm/completions/", Completions),
            ("/base/of/it/embeddings", Embeddings),
            ("/llm/responses", Responses),
            ("/llm/v1/messages?beta=true", Messages),
            ("/llm/v1/models", Models),
            ("/llm/v1/organization/usage/completions", Other),
            ("/llm/v1/organization/usage/embeddings", Other),
            ("/v1/organizations/usage_report/messages", Other),
            ("/v1/chat/completions/chatcmpl-1/messages", Other),
            ("/v1/threads/thread_1/messages", Other),
            ("/v1/messages/batches", Other),
            ("/azure/openai/deployments/chat/completions", Completions),
            ("/azure/openai/deployments/usage/completions", Completions),
            ("", Other),
        ] {
            assert_eq!(Operation::of_whole_path(path), operation, "{path}");
        }
    }

    #[test]
    fn s2_only_calls_are_operations() {
        for path in ["chat/completions", "completions", "embeddings", "responses", "messages"] {
            assert_ne!(Operation::from_path("POST", path), Operation::Other, "{path}");
            for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                assert_eq!(Operation::from_path(method, path), Operation::Other, "{method} {path}");
            }
        }
        assert_eq!(Operation::from_path("GET", "v1/models"), Operation::Models);
        assert_eq!(Operation::from_path("HEAD", "v1/models"), Operation::Models);
        assert_eq!(Operation::from_path("POST", "v1/models"), Operation::Other);
        assert_eq!(Operation::from_path("DELETE", "v1/models"), Operation::Other);
    }

    #[test]
    fn what_only_openai_has() {
        for path in
            ["chat/completions", "v1/chat/completions/x", "completions", "responses/resp_1", "openai/embeddings"]
        {
            assert!(is_openais_alone(path), "{path}");
        }
        for path in ["messages/batches", "files", "v1/responses_of_x", "x/chat/completions"] {
            assert!(!is_openais_alone(path), "{path}");
        }
    }
}
