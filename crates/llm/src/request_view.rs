//! What a request asks for, read once and without copying its body: conditions, rules, keys, reservations and metrics all look
//! at this view.
//!
//! Of a field that stands twice the last one counts, as in the gateway, and a name is what it means, not how it is spelt
//! (`mod\u0065l` is `model`): no client must be able to show us another request than the vendor sees. A body that is neither
//! JSON nor a form says nothing but its size.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

pub use crate::generation::is_generation;
use crate::json::{Cursor, RawJson, unescaped_name};
use crate::multipart;
use crate::protocol::Protocol;
use crate::provider::without_query;
pub use crate::request_media::Media;

/// The number of fields of a body that are looked at; no API has a tenth of it.
pub const MAX_FIELDS: usize = 1024;

#[derive(Debug, Clone, Default)]
pub struct RequestView<'a> {
    /// The protocol, by the path.
    pub protocol: Protocol,
    /// The model as the body names it, or else as the path does (Azure's deployment, Gemini's and Bedrock's model).
    pub model: Option<Cow<'a, str>>,
    /// The model as the path names it.
    path_model: Option<Cow<'a, str>>,
    /// Whether the answer shall be a stream.
    pub stream: bool,
    /// `stream_options.include_usage`, where it stands.
    pub include_usage: Option<bool>,
    /// The largest limit of tokens of the answer, whatever its name.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for (`n`, `candidateCount`).
    pub choices: Option<u64>,
    /// The number of tools, or of groups of them where a vendor groups them.
    pub tools: usize,
    /// The number of messages or input items.
    pub messages: usize,
    /// Images, sounds and files.
    pub media: Media,
    /// The form that the answer shall have.
    pub response_format: ResponseFormat,
    /// The response that this one continues, which only the target that made it knows.
    pub previous_response_id: Option<Cow<'a, str>>,
    /// The length of the body, in bytes.
    pub bytes: usize,
    fields: Vec<(Cow<'a, str>, Field<'a>)>,
}

/// Whether a request is to be served only while there is capacity to spare, and is refused (429; Groq: 498) where there is none:
/// `service_tier: flex` of OpenAI, Groq and Bedrock.
pub fn asks_for_spare_capacity(request: RawJson<'_>) -> bool {
    ["service_tier", "serviceTier"].iter().any(|name| request.field(name).is_some_and(|tier| tier.is_text("flex")))
}

/// The form that an answer shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResponseFormat {
    /// Text, or nothing said.
    #[default]
    Text,
    /// Any JSON.
    JsonObject,
    /// JSON of a schema that stands in the request.
    JsonSchema,
}

/// A field of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A value of a JSON body.
    Json(RawJson<'a>),
    /// A field of a form, which is always text.
    Text(&'a str),
}

impl<'a> Field<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(value) => value.text(),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    fn is_true(self) -> bool {
        match self {
            Self::Json(value) => value.is_true(),
            Self::Text(text) => text.trim().eq_ignore_ascii_case("true"),
        }
    }

    fn unsigned(self) -> Option<u64> {
        match self {
            Self::Json(value) => value.unsigned(),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

impl<'a> RequestView<'a> {
    /// Reads a request. `path` is that of the request, with or without its query; the content type decides between a form and
    /// JSON, which is tried without any.
    pub fn read(path: &'a str, content_type: Option<&str>, body: &'a [u8]) -> Self {
        let path = without_query(path);
        let mut view = Self { protocol: Protocol::of_path(path), bytes: body.len(), ..Self::default() };
        match content_type.filter(|kind| multipart::is_multipart(kind)) {
            Some(content_type) => view.read_form(path, content_type, body),
            None => view.read_json(body),
        }
        view.summarise();
        view.path_model = named_by_path(path);
        view.model = view.model.take().or_else(|| view.path_model.clone());
        view.stream |= streams_by_path(path) || (streams_by_default(path) && !view.says_no_stream());
        view
    }

    /// The model that is called: servers that find its name in the path do not look for it in the body.
    pub fn called_model(&self) -> Option<&str> {
        self.path_model.as_deref().or(self.model.as_deref())
    }

    fn says_no_stream(&self) -> bool {
        self.json("stream").is_some_and(|value| value.bytes() == b"false")
    }

    /// Whether the body is an object or a form, and not an empty one.
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// A field at the top of the body; the last one of its name.
    pub fn field(&self, name: &str) -> Option<Field<'a>> {
        self.fields.iter().rfind(|(other, _)| other == name).map(|(_, field)| *field)
    }

    /// The same of a JSON body.
    pub(crate) fn json(&self, name: &str) -> Option<RawJson<'a>> {
        match self.field(name)? {
            Field::Json(value) => Some(value),
            Field::Text(_) => None,
        }
    }

    /// The protocol in which an answer to this request is judged, whose path is of this one: of what may be empty, and of transcripts
    /// that are no JSON, none is.
    pub fn judged_as(&self, protocol: Protocol) -> Protocol {
        let is_any = match protocol {
            Protocol::Embeddings | Protocol::Moderations => self.has_none_of("input"),
            Protocol::Images => self.choices == Some(0),
            Protocol::Rerank => self.may_rank_none(),
            Protocol::Transcription => {
                let format = self.field("response_format").and_then(Field::text);
                // whisper.cpp calls a text HTML.
                format.is_some_and(|format| matches!(format.as_ref(), "text" | "srt" | "vtt"))
            }
            _ => false,
        };
        if is_any { Protocol::Generic } else { protocol }
    }

    /// Whether it has a list in this field with nothing in it.
    fn has_none_of(&self, name: &str) -> bool {
        self.json(name).is_some_and(|list| list.is_array() && list.is_blank())
    }

    /// Whether no document may be left of those that it sends: it sends none (Cohere's and Voyage's name of them, Hugging Face's), wants
    /// none back, or none below some score.
    fn may_rank_none(&self) -> bool {
        let has_documents =
            ["documents", "texts"].iter().any(|name| self.field(name).is_some() && !self.has_none_of(name));
        let wants_none = ["top_n", "top_k"].iter().any(|name| self.field(name).and_then(Field::unsigned) == Some(0));
        !has_documents
            || wants_none
            || self.fields.iter().any(|(name, _)| name.contains("threshold") || name == "min_score")
    }

    /// The value at a path of names, for conditions: `["metadata", "tier"]`. Fields of forms are strings.
    pub fn value(&self, names: &[impl AsRef<str>]) -> Option<Value> {
        let (first, behind) = names.split_first()?;
        match self.field(first.as_ref())? {
            Field::Json(value) => behind.iter().try_fold(value, |value, name| value.field(name.as_ref()))?.value(),
            Field::Text(text) => behind.is_empty().then(|| Value::from(text)),
        }
    }

    fn read_json(&mut self, body: &'a [u8]) {
        let fields = &mut self.fields;
        let mut cursor = Cursor::new(body);
        let walked = cursor.fields(|name, value| {
            if fields.len() < MAX_FIELDS {
                fields.push((unescaped_name(name), Field::Json(value.raw()?)));
            }
            Ok(())
        });
        if walked.is_err() || !cursor.is_at_end() {
            // What is no JSON says nothing.
            fields.clear();
        }
    }

    fn read_form(&mut self, path: &str, content_type: &str, body: &'a [u8]) {
        // What is no form says nothing.
        for part in multipart::parts(content_type, body).unwrap_or_default() {
            match part.text() {
                Some(text) if self.fields.len() < MAX_FIELDS => self.fields.push((part.name, Field::Text(text))),
                Some(_) => {}
                None => {
                    let is_image = part.name.starts_with("image") || part.name == "mask";
                    let is_audio = path.contains("/audio/");
                    let known = part.content_type.filter(|kind| !kind.eq_ignore_ascii_case("application/octet-stream"));
                    let guess = if is_image {
                        "image"
                    } else if is_audio {
                        "audio"
                    } else {
                        ""
                    };
                    self.media.add(known.unwrap_or(guess));
                }
            }
        }
    }

    /// Reads what matters of the fields, each the last of its name.
    fn summarise(&mut self) {
        let text = |name| self.field(name).and_then(Field::text);
        let json = |name| self.json(name);
        let nested = |name, inner| json(name).and_then(|value| value.field(inner));
        let model = text("model").filter(|model| !model.is_empty());
        let previous_response_id = text("previous_response_id");
        let stream = self.field("stream").is_some_and(Field::is_true);
        let include_usage = nested("stream_options", "include_usage").map(RawJson::is_true);
        let generation = json("generationConfig").or_else(|| json("generation_config"));
        let in_generation = |names: [&str; 2]| names.into_iter().find_map(|name| generation?.field(name));
        let limits = ["max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample"];
        let limits = limits.into_iter().filter_map(|name| self.field(name)?.unsigned());
        let nested_limits =
            [in_generation(["maxOutputTokens", "max_output_tokens"]), nested("inferenceConfig", "maxTokens")];
        let max_output_tokens = limits.chain(nested_limits.into_iter().flatten().filter_map(RawJson::unsigned)).max();
        let candidates = || in_generation(["candidateCount", "candidate_count"])?.unsigned();
        let choices = self.field("n").and_then(Field::unsigned).or_else(candidates);
        let tools = json("tools").or_else(|| nested("toolConfig", "tools")).or_else(|| json("functions"));
        let tools = tools.map_or(0, |tools| tools.elements().count());
        let messages = ["messages", "input", "contents"].into_iter().find_map(json);
        let response_format = self.format(generation);

        self.response_format = response_format;
        self.model = model;
        self.previous_response_id = previous_response_id;
        self.stream = stream;
        self.include_usage = include_usage;
        self.max_output_tokens = max_output_tokens;
        self.choices = choices;
        self.tools = tools;
        if let Some(messages) = messages {
            self.messages = if messages.is_array() { messages.elements().count() } else { 1 };
            self.media.count(messages);
        }
    }

    fn format(&self, generation: Option<RawJson<'_>>) -> ResponseFormat {
        let json = |name| self.json(name).filter(|value| !value.is_blank());
        let kind = json("response_format").and_then(|format| format.field("type"));
        let kind = kind.or_else(|| json("text")?.field("format")?.field("type"));
        let anthropic = json("output_format").or_else(|| json("output_config")?.field("format"));
        let gemini = || {
            let schemas = ["responseSchema", "responseJsonSchema", "response_schema", "response_json_schema"];
            schemas
                .into_iter()
                .any(|name| generation.and_then(|config| config.field(name)).is_some_and(|schema| !schema.is_blank()))
        };
        let mime = || generation?.field("responseMimeType").or_else(|| generation?.field("response_mime_type"));
        let is = |name| kind.is_some_and(|kind| kind.is_text(name));
        if is("json_schema") || anthropic.is_some_and(|format| !format.is_blank()) || gemini() {
            ResponseFormat::JsonSchema
        } else if is("json_object") || mime().is_some_and(|mime| mime.is_text("application/json")) {
            ResponseFormat::JsonObject
        } else {
            ResponseFormat::Text
        }
    }
}

/// The little of a request that is said of its call. It costs less than a [`RequestView`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestSummary<'a> {
    /// The model that is asked.
    pub model: Option<Cow<'a, str>>,
    /// A stream is asked for.
    pub stream: bool,
    /// The end user that it names: `user`.
    pub user: Option<Cow<'a, str>>,
}

impl<'a> RequestSummary<'a> {
    /// Reads the same of a JSON body as [`RequestView::read`].
    pub fn read(path: &'a str, body: &'a [u8]) -> Self {
        let mut cursor = Cursor::new(body);
        let read = cursor.pick(["model", "stream", "user"]).ok().filter(|_| cursor.is_at_end());
        let [model, stream, user] = read.unwrap_or_default();
        let path = without_query(path);
        let model = model.and_then(RawJson::text).filter(|model| !model.is_empty());
        Self {
            model: model.or_else(|| named_by_path(path)),
            stream: streams_by_path(path)
                || stream.is_some_and(RawJson::is_true)
                || (streams_by_default(path) && stream.is_none_or(|stream| stream.bytes() != b"false")),
            user: user.and_then(RawJson::text),
        }
    }
}

/// The model that a path names, as those of Azure, Bedrock, Gemini and Vertex do; it may have a query.
pub fn model_in_path(path: &str) -> Option<Cow<'_, str>> {
    named_by_path(without_query(path))
}

/// Some APIs name the model in the path.
fn named_by_path(path: &str) -> Option<Cow<'_, str>> {
    let mut model = None;
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let Some(next) = segments.peek() else { break };
        let named = match segment {
            "deployments" | "engines" | "model" => Some(*next),
            "models" => next.rsplit_once(':').map(|(model, _)| model),
            _ => None,
        };
        model = model.or(named.filter(|model| !model.is_empty()));
    }
    model.map(|model| percent_decode_str(model).decode_utf8_lossy())
}

/// Some APIs say in the path whether to stream.
fn streams_by_path(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    ["streamGenerateContent", "streamRawPredict", "converse-stream", "invoke-with-response-stream"].contains(&last)
}

/// Ollama's own API streams unless `"stream": false` stands in the body. Source: its `docs/api.md`.
fn streams_by_default(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    ["/api/chat", "/api/generate"].iter().any(|end| path.ends_with(end)) || matches!(path, "api/chat" | "api/generate")
}
