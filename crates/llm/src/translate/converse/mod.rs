//! OpenAI's chat completions for models behind Bedrock's Converse API, and the answers back.
//!
//! What Converse takes and answers is that of its service model (`bedrock-runtime` in botocore 1.43); rules that it does not
//! state are marked with their source, or as assumed. Nothing is ever fetched: images come within the request or not at all.

mod answer;
mod content;
mod error;
mod fields;
mod messages;
mod request;
mod stream;
mod text;
mod tools;

use std::collections::BTreeMap;

pub use answer::answer;
pub use error::error;
pub use request::request;
pub(crate) use request::request_of;
pub use stream::ConverseStream;

/// What the translation of an answer needs of its request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerContext {
    /// The model's name in the request.
    pub model: String,
    /// The client wants a stream: `converse-stream` is called, and [`ConverseStream`] translates.
    pub stream: bool,
    /// The client wants the usage at the stream's end.
    pub include_usage: bool,
    /// Names of tools that Converse does not take: what was sent, and what the client calls them.
    renamed: BTreeMap<String, String>,
}

impl AnswerContext {
    /// The client's name of a tool.
    fn tool_name<'a>(&'a self, sent: &'a str) -> &'a str {
        self.renamed.get(sent).map_or(sent, |name| name)
    }
}
