//! What a request needs of a model, and whether the model has it as far as a table of prices knows. What the translation to its
//! provider cannot carry, the translation says itself: [`crate::translate::DroppedList::content`].

use std::fmt;

use crate::prices::PriceRow;
use crate::request_view::{RequestView, ResponseFormat};
use crate::translate::Content;
use crate::usage::BYTES_PER_TOKEN;

/// What a request needs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// It has tools.
    pub tools: bool,
    /// It has images.
    pub images: bool,
    /// Its answer is to follow a schema.
    pub schema: bool,
    /// The tokens of its text, estimated; 0 where images, sounds and files take an unknown part of its bytes.
    pub input_tokens: u64,
}

/// What a target lacks that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingCapability {
    Tools,
    Images,
    Schemas,
    /// The request is longer than the model's context window.
    Context,
    /// There is nothing that this could be sent as, whatever the model can do.
    Form(Content),
}

impl MissingCapability {
    /// In words that follow the router of the target.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Tools => "its model takes no tools",
            Self::Images => "its model takes no images",
            Self::Schemas => "its model takes no schemas",
            Self::Context => "its model's context is too small",
            Self::Form(content) => content.words(),
        }
    }
}

impl fmt::Display for MissingCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Needs {
    /// What this request needs.
    pub fn for_request(request: &RequestView<'_>) -> Self {
        let media = request.media;
        let is_text = media.images + media.audio + media.files == 0;
        Self {
            tools: request.tools > 0,
            images: media.images > 0,
            schema: request.response_format == ResponseFormat::JsonSchema,
            input_tokens: if is_text { request.bytes as u64 / BYTES_PER_TOKEN } else { 0 },
        }
    }

    /// What the model of this row lacks of that; nothing where the table does not know.
    pub fn first_missing(self, model: &PriceRow) -> Option<MissingCapability> {
        let abilities = &model.capabilities;
        let lacks = |needed: bool, has: Option<bool>| needed && has == Some(false);
        if lacks(self.tools, abilities.tools) {
            Some(MissingCapability::Tools)
        } else if lacks(self.images, abilities.vision) {
            Some(MissingCapability::Images)
        } else if lacks(self.schema, abilities.response_schema) {
            Some(MissingCapability::Schemas)
        } else if model.limits.context.is_some_and(|context| self.input_tokens > context) {
            Some(MissingCapability::Context)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::PriceTable;

    #[test]
    fn a_model_lacks_only_what_the_table_says_and_the_request_needs() {
        let table = br#"{"models": {
            "openai/small": {"input": 1, "context": 100, "lacks": ["tools", "vision", "response_schema"]},
            "openai/large": {"input": 1, "supports": ["tools", "vision", "response_schema"]},
            "openai/unknown": {"input": 1}}}"#;
        let table = PriceTable::parse("test", table).unwrap();
        let long = "x".repeat(500);
        for (rest, lack) in [
            (r#""messages":[]"#, None),
            (r#""tools":[]"#, None),
            (r#""tools":[{"type":"function"}]"#, Some(MissingCapability::Tools)),
            (r#""functions":[{"name":"f"}]"#, Some(MissingCapability::Tools)),
            (r#""response_format":{"type":"json_object"}"#, None),
            (r#""response_format":{"type":"json_schema","json_schema":{}}"#, Some(MissingCapability::Schemas)),
            (
                r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"https://h/a.png"}}]}]"#,
                Some(MissingCapability::Images),
            ),
            (&format!(r#""messages":[{{"content":"{long}"}}]"#), Some(MissingCapability::Context)),
        ] {
            let body = format!(r#"{{"model":"m",{rest}}}"#);
            let needs = Needs::for_request(&RequestView::read("/v1/chat/completions", None, body.as_bytes()));
            let first_missing = |model| needs.first_missing(table.find(Some("openai"), model).unwrap());
            assert_eq!(
                (first_missing("small"), first_missing("large"), first_missing("unknown")),
                (lack, None, None),
                "{rest}"
            );
        }
    }
}
