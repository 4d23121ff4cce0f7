//! The LLM vendors' protocols, bytes to values and back, without I/O, clock or randomness.
//!
//! | module | what it answers |
//! |---|---|
//! | [`request_view`] | what a request asks for: model, stream, limits, tools, images |
//! | [`multipart`] | the same for forms (audio, images), and how to change their fields |
//! | [`headers`] | the headers of an answer that matter, read once |
//! | [`error_class`] | what an error answer means, from status, headers and body |
//! | [`retry_after`] | when to come back, and what is left of the rate limits |
//! | [`affinity`] | the ids of what targets keep: in requests, and in answers |
//! | [`answer`] | whether a whole answer with a good status is an answer |
//! | [`sse`] | server-sent events, as the standard has them |
//! | [`event_stream`] | the frames of AWS's event streams |
//! | [`stream`] | whether a streamed answer has begun, failed or ended; the last event of one that breaks off |
//! | [`provider`] | the table of providers: addresses, keys, fields, protocols |
//! | [`translate`] | requests in OpenAI's form for other protocols, and their answers back |
//! | [`usage`] | the tokens that a call used |
//! | [`sigv4`] | the signature of a request to AWS |
//! | [`stream_usage`] | how a stream is made to say its usage, and how a client that did not ask does not see it |
//! | [`usage_tail`] | the same of a long answer that passes by |
//! | [`model`] | the model that an answer names |
//! | [`otel_messages`] | prompt and answer in the form of OpenTelemetry's conventions |
//! | [`prices`] | what they cost; what models can do and take |
//! | [`json`] | finds the few fields that all of these read |
//!
//! Vendors: OpenAI (chat, completions, embeddings, responses), Azure OpenAI, Anthropic, Gemini and Vertex, Bedrock, and the
//! many that speak OpenAI's protocol. Nothing here trusts its input: any bytes may come, and none panic.

pub mod affinity;
pub mod answer;
mod broken_event;
pub mod capability;
mod conversation_events;
mod error_body;
pub mod error_class;
mod error_denial;
mod error_sentences;
mod error_words;
pub mod event_stream;
mod foreign_error;
mod frame_events;
mod generation;
pub mod headers;
pub mod json;
mod json_skip;
mod last_bytes;
mod made_list;
pub mod model;
pub mod multipart;
mod ollama;
pub mod otel_messages;
pub mod prices;
mod protocol;
pub mod provider;
mod request_media;
pub mod request_view;
mod response_events;
pub mod retry_after;
mod shown_ids;
pub mod sigv4;
mod silent_parts;
pub mod sse;
pub mod stream;
mod stream_events;
mod stream_form;
mod stream_progress;
pub mod stream_usage;
pub mod translate;
pub mod usage;
pub mod usage_tail;
mod vendor_codes;
mod vendor_streams;

pub use prices::{Cost, PriceTable};
pub use protocol::Protocol;
pub use types::outcome::{ErrorClass, UnknownErrorClass};
pub use usage::Usage;
