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

impl Operation {
    /// The operation of a path, with or without a query; the path's beginning does not matter.
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let mut names = path.rsplit('/');
        match (names.next().unwrap_or_default(), names.next(), names.next()) {
            ("completions", Some("chat"), _) => Self::Chat,
            ("completions", ..) => Self::Completions,
            ("embeddings", ..) => Self::Embeddings,
            ("responses", ..) => Self::Responses,
            // The Assistants API has messages below a thread.
            ("messages", _, Some("threads")) => Self::Other,
            ("messages", ..) => Self::Messages,
            ("models", ..) => Self::Models,
            _ => Self::Other,
        }
    }
}

/// What stays as it is in a part of a path; `@` because Vertex' models have it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// A name as one part of a path; `None` of one that would be no part. (Trap 20: `../`, `%2F`.)
pub(super) fn part(name: &str) -> Option<Cow<'_, str>> {
    (!matches!(name, "" | "." | "..")).then(|| utf8_percent_encode(name, ENCODED).into())
}

/// A client's path behind the base of an address, without its query; `None` of one that leads elsewhere.
pub(super) fn behind_base(path: &str) -> Option<&str> {
    let path = path.split(['?', '#']).next()?.trim_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path);
    let is_good = |name: &str| {
        let plain = name.replace("%2e", ".").replace("%2E", ".");
        !matches!(plain.as_str(), "" | "." | "..") && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    path.split('/').all(is_good).then_some(path)
}
