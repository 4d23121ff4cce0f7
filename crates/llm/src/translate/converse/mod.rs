//! OpenAI's chat completions for models behind Bedrock's Converse API, and the answers back.
//!
//! What Converse takes and answers is that of its service model (`bedrock-runtime` in botocore 1.43); rules that it does not
//! state are marked with their source, or as assumed. Nothing is ever fetched: images come within the request or not at all.

mod answer;
mod content;
mod error;
mod messages;
mod request;
mod stream;
mod text;
mod tools;

pub use answer::answer;
pub use error::error;
pub use request::request;
pub(crate) use request::request_of;
pub use stream::ConverseStream;
