//! What becomes of a target's answer on its way to the client: nothing, or a translation of streams, whole answers and errors.

use super::error;
use crate::json::RawJson;
use crate::translate::anthropic;
use crate::translate::bedrock_invoke::InvokeStream;
use crate::translate::functions::AsFunctions;
use crate::translate::{AnswerId, BrokenAnswer, ChatContext, StreamTranslator, converse, embeddings};
use crate::usage::TokenCounts;

/// The largest whole answer that is translated, in bytes; the longest texts of models have half a megabyte.
const MAX_WHOLE_BYTES: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerForm {
    /// OpenAI's, and it passes; errors may be wrapped.
    OpenAi,
    /// OpenAI's, and it passes; errors come out of the array in which Google writes them, in streams too.
    OpenAiUnwrapped,
    /// Anthropic's, and the client speaks that too.
    Messages,
    /// Anthropic's events in AWS's frames, for a client that speaks Anthropic's protocol.
    FramedMessages,
    /// Anthropic's, for a client that speaks OpenAI's protocol.
    Anthropic {
        /// What is known of the request.
        context: ChatContext,
        /// Streams come in AWS's frames.
        is_framed: bool,
    },
    /// Converse's, for a client that speaks OpenAI's protocol.
    Converse(ChatContext),
    /// Embeddings of Bedrock's InvokeModel, for a client that speaks OpenAI's protocol.
    Embeddings(embeddings::EmbeddingsContext),
    /// Anthropic's or Converse's, for a client that knows functions and no tools.
    Functions(Box<Self>),
}

impl AnswerForm {
    /// Whether answers with a good status pass as they are, errors within them aside.
    pub const fn is_unchanged(&self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenAiUnwrapped | Self::Messages)
    }

    /// Has the translation of a stream say the usage at its end. True if the client did not ask for that.
    pub fn ask_for_usage(&mut self) -> bool {
        let asked = match self {
            Self::OpenAi | Self::OpenAiUnwrapped | Self::Messages | Self::FramedMessages | Self::Embeddings(_) => {
                return false;
            }
            Self::Anthropic { context, .. } => &mut context.include_usage,
            Self::Converse(context) => &mut context.include_usage,
            Self::Functions(form) => return form.ask_for_usage(),
        };
        !std::mem::replace(asked, true)
    }

    /// What translates a stream; `None` where it passes as it is.
    pub fn stream(&self, id: &AnswerId) -> Option<Box<dyn StreamTranslator>> {
        Some(match self {
            // Embeddings have no streams.
            Self::OpenAi | Self::Messages | Self::Embeddings(_) => return None,
            Self::OpenAiUnwrapped => Box::new(error::UnwrapErrors::default()),
            Self::FramedMessages => Box::new(Framed::new(None)),
            Self::Anthropic { context, is_framed } => {
                let stream = anthropic::Stream::new(context.clone(), id.created);
                if *is_framed { Box::new(Framed::new(Some(stream))) } else { Box::new(stream) }
            }
            Self::Converse(context) => Box::new(converse::ConverseStream::new(context.clone(), id)),
            Self::Functions(form) => Box::new(AsFunctions::new(form.stream(id)?, true)),
        })
    }

    /// What translates a whole answer; `None` where it passes as it is. `counted` is its `x-amzn-bedrock-input-token-count`.
    pub fn whole(&self, id: &AnswerId, counted: Option<u64>) -> Option<Box<dyn StreamTranslator>> {
        match self {
            Self::OpenAi | Self::OpenAiUnwrapped | Self::Messages | Self::FramedMessages => None,
            Self::Functions(form) => Some(Box::new(AsFunctions::new(form.whole(id, counted)?, false))),
            Self::Anthropic { .. } | Self::Converse(_) | Self::Embeddings(_) => Some(Box::new(BufferedAnswer {
                form: self.clone(),
                id: id.clone(),
                counted,
                body: Vec::new(),
                counts: TokenCounts::default(),
            })),
        }
    }

    /// The body of an answer with an error status; `None` where it passes as it is. `amazon_type` is its `x-amzn-errortype`.
    pub fn error(&self, status: u16, amazon_type: Option<&str>, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            // Bedrock's own errors, where the model speaks OpenAI's protocol.
            Self::OpenAi if amazon_type.is_some() => Some(converse::error(status, amazon_type, body)),
            Self::OpenAi | Self::OpenAiUnwrapped => error::unwrap(body).map(<[u8]>::to_vec),
            Self::Messages | Self::FramedMessages => anthropic::own_error(status, body),
            Self::Functions(form) => form.error(status, amazon_type, body),
            Self::Anthropic { is_framed: false, .. } => Some(anthropic::error(status, body)),
            // The errors of Bedrock's own, whatever the model speaks.
            Self::Anthropic { is_framed: true, .. } | Self::Converse(_) | Self::Embeddings(_) => {
                Some(converse::error(status, amazon_type, body))
            }
        }
    }
}

/// An answer that is buffered and translated when it is complete.
#[derive(Debug)]
struct BufferedAnswer {
    form: AnswerForm,
    id: AnswerId,
    counted: Option<u64>,
    body: Vec<u8>,
    /// What the vendor says of tokens, once all of the answer is here.
    counts: TokenCounts,
}

impl StreamTranslator for BufferedAnswer {
    fn push(&mut self, bytes: &[u8], _: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        if self.body.len() + bytes.len() > MAX_WHOLE_BYTES {
            return Err(BrokenAnswer("it is larger than 16 MB"));
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let body = std::mem::take(&mut self.body);
        self.counts = TokenCounts::of_answer(&body);
        // An error with a good status is one of its own kind, and judged as such.
        if let Some(error) = self.form.error(200, None, &body).filter(|_| is_error(&body)) {
            *out = error;
            return Ok(());
        }
        *out = match &self.form {
            AnswerForm::Anthropic { context, .. } => anthropic::answer(&body, context, self.id.created)?,
            AnswerForm::Converse(context) => converse::answer(&body, context, &self.id)?,
            AnswerForm::Embeddings(context) => embeddings::answer(&body, context, self.counted)?,
            // None of these is buffered.
            AnswerForm::OpenAi
            | AnswerForm::OpenAiUnwrapped
            | AnswerForm::Messages
            | AnswerForm::FramedMessages
            | AnswerForm::Functions(_) => body,
        };
        Ok(())
    }

    fn counts(&self) -> TokenCounts {
        self.counts
    }
}

/// Whether a whole answer is an error of Anthropic's (`type`) or of Amazon's (`__type`).
fn is_error(body: &[u8]) -> bool {
    let body = RawJson::parse(body).ok();
    let field = |name: &str| body.and_then(|body| body.field(name));
    field("type").is_some_and(|kind| kind.is_text("error")) || field("__type").is_some()
}

/// Anthropic's events in AWS's frames, as events for a client of Anthropic's protocol, or as chunks of OpenAI's.
#[derive(Debug)]
struct Framed {
    frames: InvokeStream,
    chunks: Option<anthropic::Stream>,
}

impl Framed {
    fn new(chunks: Option<anthropic::Stream>) -> Self {
        Self { frames: InvokeStream::default(), chunks }
    }
}

impl StreamTranslator for Framed {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let Some(chunks) = &mut self.chunks else { return self.frames.push(bytes, out) };
        let mut events = Vec::new();
        let read = self.frames.push(bytes, &mut events);
        chunks.push(&events, out).and(read)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        self.frames.finish()?;
        self.chunks.as_mut().map_or(Ok(()), |chunks| chunks.finish(out))
    }

    fn counts(&self) -> TokenCounts {
        self.chunks.as_ref().map(StreamTranslator::counts).unwrap_or_default()
    }
}
