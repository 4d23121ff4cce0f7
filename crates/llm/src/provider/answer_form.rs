//! What becomes of a target's answer on its way to the client: nothing, or a translation of streams, whole answers and errors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error;
use crate::event_stream;
use crate::json::RawJson;
use crate::translate::anthropic::{self, AnswerContext};
use crate::translate::{BrokenAnswer, StreamTranslator, converse};

/// The largest whole answer that is translated, in bytes; the longest texts of models have half a megabyte.
const MAX_WHOLE_BYTES: usize = 16 << 20;

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerForm {
    /// OpenAI's, and it passes; errors may be wrapped.
    OpenAi,
    /// Anthropic's, and the client speaks that too.
    Messages,
    /// Anthropic's events in AWS's frames, for a client that speaks Anthropic's protocol.
    FramedMessages,
    /// Anthropic's, for a client that speaks OpenAI's protocol.
    Anthropic {
        /// What is known of the request.
        context: AnswerContext,
        /// Streams come in AWS's frames.
        is_framed: bool,
    },
    /// Converse's, for a client that speaks OpenAI's protocol.
    Converse(converse::AnswerContext),
}

/// How an answer is known to its client, where its vendor gives it no id.
#[derive(Debug, Clone)]
pub struct AnswerId {
    /// Such as `chatcmpl-…`.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
}

impl AnswerForm {
    /// Whether answers with a good status pass as they are.
    pub const fn is_unchanged(&self) -> bool {
        matches!(self, Self::OpenAi | Self::Messages)
    }

    /// What translates a stream; `None` where it passes as it is.
    pub fn stream(&self, id: &AnswerId) -> Option<Box<dyn StreamTranslator>> {
        Some(match self {
            Self::OpenAi | Self::Messages => return None,
            Self::FramedMessages => Box::new(Framed::new(Inner::Events)),
            Self::Anthropic { context, is_framed } => {
                let stream = anthropic::Stream::new(context.clone(), id.created);
                if *is_framed { Box::new(Framed::new(Inner::Chunks(Box::new(stream)))) } else { Box::new(stream) }
            }
            Self::Converse(context) => {
                let identity = converse::AnswerIdentity { id: &id.id, created: id.created };
                Box::new(converse::ConverseStream::new(context.clone(), identity))
            }
        })
    }

    /// What translates a whole answer; `None` where it passes as it is.
    pub fn whole(&self, id: &AnswerId) -> Option<Box<dyn StreamTranslator>> {
        match self {
            Self::OpenAi | Self::Messages | Self::FramedMessages => None,
            Self::Anthropic { .. } | Self::Converse(_) => {
                Some(Box::new(Whole { form: self.clone(), id: id.clone(), body: Vec::new() }))
            }
        }
    }

    /// The body of an answer with an error status; `None` where it passes as it is. `amazon_type` is its `x-amzn-errortype`.
    pub fn error(&self, status: u16, amazon_type: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::OpenAi => error::unwrap(body).map(<[u8]>::to_vec),
            Self::Messages | Self::FramedMessages => None,
            Self::Anthropic { is_framed: false, .. } => Some(anthropic::error(status, body)),
            // The errors of Bedrock's own, whatever the model speaks.
            Self::Anthropic { is_framed: true, .. } | Self::Converse(_) => {
                Some(converse::error(status, amazon_type, body))
            }
        }
    }
}

/// A whole answer, translated when all of it is here.
#[derive(Debug)]
struct Whole {
    form: AnswerForm,
    id: AnswerId,
    body: Vec<u8>,
}

impl StreamTranslator for Whole {
    fn push(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if self.body.len() + bytes.len() > MAX_WHOLE_BYTES {
            return Err(BrokenAnswer("it is larger than 16 MB"));
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let body = std::mem::take(&mut self.body);
        *out = match &self.form {
            AnswerForm::Anthropic { context, .. } => anthropic::answer(&body, context, self.id.created)?,
            AnswerForm::Converse(context) => converse::answer(
                &body,
                context,
                converse::AnswerIdentity { id: &self.id.id, created: self.id.created },
            )?,
            AnswerForm::OpenAi | AnswerForm::Messages | AnswerForm::FramedMessages => body,
        };
        Ok(())
    }
}

/// Anthropic's events in AWS's frames, as Bedrock's InvokeModelWithResponseStream has them: each in a frame of the type `chunk`,
/// in base64 in the field `bytes`. Source: the service model of bedrock-runtime.
#[derive(Debug)]
struct Framed {
    parser: event_stream::Parser,
    inner: Inner,
    failed: bool,
}

/// What is made of the events.
#[derive(Debug)]
enum Inner {
    /// Server-sent events in Anthropic's protocol.
    Events,
    /// OpenAI's chunks.
    Chunks(Box<anthropic::Stream>),
}

impl Framed {
    fn new(inner: Inner) -> Self {
        Self { parser: event_stream::Parser::default(), inner, failed: false }
    }
}

impl StreamTranslator for Framed {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let (inner, failed, mut result) = (&mut self.inner, &mut self.failed, Ok(()));
        let read = self.parser.push(bytes, |frame| {
            if result.is_ok() && !*failed {
                result = inner.take(frame, out, failed);
            }
        });
        result.and(read.map_err(|_| BrokenAnswer("its frames cannot be read")))
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if self.failed {
            return Ok(());
        }
        std::mem::take(&mut self.parser).finish().map_err(|_| BrokenAnswer("it ended within a frame"))?;
        match &mut self.inner {
            Inner::Events => Ok(()),
            Inner::Chunks(stream) => stream.finish(out),
        }
    }
}

impl Inner {
    fn take(
        &mut self,
        frame: event_stream::Frame<'_>,
        out: &mut Vec<u8>,
        failed: &mut bool,
    ) -> Result<(), BrokenAnswer> {
        let payload = std::str::from_utf8(frame.payload).ok().and_then(|text| RawJson::parse(text.as_bytes()).ok());
        if frame.text(":message-type") != Some("event") {
            *failed = true;
            let kind = frame.text(":exception-type").or(frame.text(":error-code")).unwrap_or("api_error");
            let message = payload.and_then(|payload| payload.field("message")?.text());
            let message = message.as_deref().or(frame.text(":error-message")).unwrap_or("the stream broke off");
            let event =
                serde_json::json!({"type": "error", "error": {"type": anthropic_type(kind), "message": message}});
            return self.event(event.to_string().as_bytes(), out);
        }
        let Some(bytes) = payload.and_then(|payload| payload.field("bytes")?.text()) else {
            return if payload.is_some() { Ok(()) } else { Err(BrokenAnswer("a frame holds no JSON")) };
        };
        let event = STANDARD.decode(bytes.as_bytes()).map_err(|_| BrokenAnswer("a frame holds no base64"))?;
        self.event(&event, out)
    }

    fn event(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        match self {
            Self::Chunks(stream) => stream.push_event(data, out),
            Self::Events => {
                let kind = RawJson::parse(data).ok().and_then(|event| event.field("type")?.text());
                let kind = kind.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
                let Some(kind) = kind else { return Err(BrokenAnswer("an event has no type")) };
                // JSON may have line ends between its parts; those of a text are escaped.
                let line: Vec<u8> = data.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
                out.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
                out.extend_from_slice(&line);
                out.extend_from_slice(b"\n\n");
                Ok(())
            }
        }
    }
}

/// Anthropic's word for an exception of Bedrock's.
fn anthropic_type(exception: &str) -> &'static str {
    let known = [
        ("throttlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("modelTimeoutException", "timeout_error"),
        ("validationException", "invalid_request_error"),
    ];
    known.iter().find(|(name, _)| name.eq_ignore_ascii_case(exception)).map_or("api_error", |(_, kind)| kind)
}
