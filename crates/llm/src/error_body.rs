//! Finds the error in the body of an answer, whichever vendor wrote it.
//!
//! Known forms: `{"error": {…}}` (OpenAI, Azure, Gemini, OpenRouter), the same in an array (Gemini), `{"type": "error", "error":
//! {…}}` (Anthropic), `{"error": "text"}` (TGI, Ollama), fields at the top (Mistral, vLLM, Bedrock, Cohere), `{"errors": […]}`,
//! `{"response": {"error": {…}}}` (a failed event of the Responses API), Groq's `x_groq.error`, the forms of
//! [`crate::vendor_codes`], and any of them inside a server-sent event. A body that is cut still yields the fields before the cut.

use std::borrow::Cow;

use crate::ErrorClass;
use crate::json::{Cursor, RawJson, SyntaxError};
use crate::sse;
use crate::vendor_codes;

/// Of a body not more than this is read, in bytes.
pub(crate) const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
/// Of a message not more than this is read, in bytes: the sentences that matter come first.
pub(crate) const MAX_MESSAGE_BYTES: usize = 2 << 10;
/// Of answers that are quoted one in the other, as gateways behind gateways do, this many are read.
const MAX_QUOTED: usize = 3;

/// What a body says about an error.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody<'a> {
    /// Machine-readable words from the most specific to the most general: reason in the details, inner code, code, type,
    /// status.
    words: [Option<Cow<'a, str>>; WORDS],
    /// A number in the place of the code or the status.
    code: Option<u64>,
    /// A number in a field of its own for HTTP's status.
    status: Option<u64>,
    /// What a code of one vendor means, where its form shows whose it is.
    pub(crate) by_vendor: Option<ErrorClass>,
    /// It says which part of the content was refused, or why: OpenRouter's `metadata.flagged_input` and `metadata.reasons`.
    pub(crate) is_flagged: bool,
    /// It names the field `model` as the one at fault.
    pub(crate) is_about_model: bool,
    /// The text for people.
    pub(crate) message: Option<Cow<'a, str>>,
    /// Gemini's `RetryInfo.retryDelay`, or a `retry_after` in seconds.
    pub(crate) retry_delay: Option<RawJson<'a>>,
    /// A `retry_after_ms`.
    pub(crate) retry_delay_ms: Option<RawJson<'a>>,
    /// Hugging Face's guess of when a model is loaded, in seconds.
    pub(crate) estimated_time: Option<RawJson<'a>>,
    /// The moment at which OpenRouter's limit is reset, from the headers that it quotes.
    pub(crate) reset: Option<RawJson<'a>>,
    /// The answer of another server that this one quotes as text: OpenRouter's `metadata.raw`, or a message that is JSON and
    /// nothing else. JSON with words before or behind it may be the caller's.
    pub(crate) quoted: Option<Cow<'a, str>>,
}

const DETAIL: usize = 0;
const INNER_CODE: usize = 1;
const CODE: usize = 2;
const TYPE: usize = 3;
const STATUS: usize = 4;
const WORDS: usize = 5;

impl<'a> ErrorBody<'a> {
    /// Reads a body; what is unknown reads as empty.
    pub(crate) fn read(body: &'a [u8]) -> Self {
        let body = body.get(..MAX_ERROR_BODY_BYTES).unwrap_or(body);
        let mut read = Self::default();
        let mut cursor = Cursor::new(body);
        // Fields before a cut count.
        let _ = match cursor.peek() {
            Some(b'{' | b'[') => read.top(&mut cursor),
            Some(_) => match sse::data_lines(body).find(|data| !data.is_empty()) {
                Some(data) => read.top(&mut Cursor::new(data)),
                None => Ok(()),
            },
            None => Ok(()),
        };
        read
    }

    /// Reads an error whose value has been found already.
    pub(crate) fn of_error(error: RawJson<'a>) -> Self {
        let mut read = Self::default();
        let _ = read.error(&mut error.cursor());
        read
    }

    /// The words, the most specific first.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().flatten().map(AsRef::as_ref)
    }

    /// The status that it names: by its number, which may also be one of the vendor's own, or in a field for that.
    pub(crate) fn number(&self) -> Option<u64> {
        self.code.filter(|code| *code < 600).or(self.status).or(self.code)
    }

    /// What this finds in the answer that the error quotes, or else in the one that that one quotes.
    pub(crate) fn find_quoted<T>(&self, find: impl Fn(&ErrorBody<'_>) -> Option<T>) -> Option<T> {
        self.find_within(MAX_QUOTED, &find)
    }

    fn find_within<T>(&self, levels: usize, find: &impl Fn(&ErrorBody<'_>) -> Option<T>) -> Option<T> {
        let quoted = ErrorBody::read(self.quoted.as_deref().filter(|_| levels > 0)?.as_bytes());
        find(&quoted).or_else(|| quoted.find_within(levels - 1, find))
    }

    fn top(&mut self, cursor: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        if cursor.peek() == Some(b'[') {
            return first_object(cursor, |element| self.top_object(element));
        }
        self.top_object(cursor)
    }

    fn top_object(&mut self, cursor: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        let (mut baidu, mut has_baidus_message, mut spark, mut is_spark) = (None, false, None, false);
        let read = cursor.fields(|name, value| match name {
            b"error" => {
                self.error(value)?;
                self.by_vendor = self.code.and_then(vendor_codes::zhipu);
                Ok(())
            }
            b"x_groq" | b"response" => {
                value.fields(|name, value| if name == b"error" { self.error(value) } else { Ok(()) })
            }
            b"base_resp" => self.coded(value, "status_code", "status_msg", vendor_codes::minimax),
            b"header" => self.coded(value, "code", "message", vendor_codes::spark),
            b"Response" => self.tencent(value),
            b"sid" => {
                is_spark = true;
                value.skip()
            }
            b"code" | b"error_code" => {
                let number = value.raw()?;
                if name == b"code" {
                    spark = number.unsigned();
                } else {
                    baidu = number.unsigned();
                }
                self.word(CODE, number);
                Ok(())
            }
            b"error_msg" => {
                has_baidus_message = true;
                self.common(name, value)
            }
            b"errors" => first_object(value, |error| self.error(error)),
            _ => self.common(name, value),
        });
        // A code without a form that shows whose it is may be Zhipu's.
        let coded = match (spark, baidu) {
            (Some(code), _) if is_spark => Some(vendor_codes::spark(code)),
            (_, Some(code)) if has_baidus_message => Some(vendor_codes::baidu(code)),
            (Some(code), _) => vendor_codes::zhipu(code),
            _ => None,
        };
        self.by_vendor = self.by_vendor.or(coded);
        read
    }

    /// An object with a number and a text: MiniMax's `base_resp`, Spark's `header`.
    fn coded(
        &mut self,
        object: &mut Cursor<'a>,
        code: &str,
        text: &str,
        class: impl Fn(u64) -> ErrorClass,
    ) -> Result<(), SyntaxError> {
        let object = object.raw()?;
        if let Some(code) = object.field(code).and_then(RawJson::unsigned).filter(|code| *code != 0) {
            self.by_vendor = Some(class(code));
            self.set_message(object.field(text).and_then(RawJson::text));
        }
        Ok(())
    }

    /// `{"Error": {"Code": …, "Message": …}}`
    fn tencent(&mut self, response: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        if let Some(error) = response.raw()?.field("Error") {
            self.by_vendor = error.field("Code").and_then(RawJson::text).map(|code| vendor_codes::tencent(&code));
            self.set_message(error.field("Message").and_then(RawJson::text));
        }
        Ok(())
    }

    /// The error itself: an object, a text, or a list of either.
    fn error(&mut self, cursor: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        match cursor.peek() {
            Some(b'"') => {
                let text = cursor.raw()?.text();
                self.words[STATUS].clone_from(&text);
                self.set_message(text);
                Ok(())
            }
            Some(b'[') => first_object(cursor, |error| self.error(error)),
            _ => cursor.fields(|name, value| match name {
                b"innererror" | b"inner_error" => value.fields(|name, value| {
                    if name == b"code" {
                        self.words[INNER_CODE] = value.raw()?.text();
                    }
                    Ok(())
                }),
                b"details" if value.peek() == Some(b'[') => value.elements(|detail| self.detail(detail)),
                b"details" => self.detail(value),
                b"metadata" => self.metadata(value),
                b"error" => self.error(value),
                _ => self.common(name, value),
            }),
        }
    }

    /// Fields that stand in the error, or at the top where there is none.
    fn common(&mut self, name: &[u8], value: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        match name {
            b"code" | b"Code" | b"error_code" => self.word(CODE, value.raw()?),
            b"type" | b"error_type" | b"__type" => self.word(TYPE, value.raw()?),
            b"status" => self.word(STATUS, value.raw()?),
            b"http_status_code" | b"status_code" | b"statusCode" | b"http_code" => {
                let status = value.raw()?;
                self.status = status.unsigned().or_else(|| status.plain()?.parse().ok());
            }
            b"param" => self.is_about_model = value.raw()?.plain() == Some("model"),
            b"message" | b"Message" | b"msg" | b"detail" | b"error_msg" | b"error_message" | b"errorMessage" => {
                let text = value.raw()?.text();
                self.set_message(text);
            }
            b"retry_after" | b"retryAfter" | b"retry_after_seconds" | b"retryDelay" => {
                self.retry_delay = Some(value.raw()?)
            }
            b"retry_after_ms" => self.retry_delay_ms = Some(value.raw()?),
            b"estimated_time" => self.estimated_time = Some(value.raw()?),
            _ => {}
        }
        Ok(())
    }

    /// A word of its kind, or a number. `"type": "error"` says nothing; AWS writes `namespace#Name`.
    fn word(&mut self, kind: usize, value: RawJson<'a>) {
        if let Some(number) = value.unsigned() {
            self.code = Some(number);
            return;
        }
        let Some(text) = value.text() else { return };
        if let Ok(number) = text.parse() {
            self.code = Some(number);
        } else if text != "error" && !text.is_empty() {
            self.words[kind] = Some(match text.rsplit_once('#') {
                Some((_, name)) => Cow::Owned(name.to_owned()),
                None => text,
            });
        }
    }

    fn set_message(&mut self, text: Option<Cow<'a, str>>) {
        let Some(text) = text else { return };
        let is_json = text.trim_start().starts_with(['{', '[']) && RawJson::parse(text.as_bytes()).is_ok();
        if self.quoted.is_none() {
            self.quoted = if is_json { Some(text.clone()) } else { wrapped_by_litellm(&text).map(Cow::Owned) };
        }
        let end = (0..=text.len().min(MAX_MESSAGE_BYTES)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.message = Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        });
    }

    /// Google's details (`reason`, `retryDelay`), Anthropic's (`error_code`).
    fn detail(&mut self, detail: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        detail.fields(|name, value| {
            match name {
                b"reason" | b"error_code" if self.words[DETAIL].is_none() => self.words[DETAIL] = value.raw()?.text(),
                b"retryDelay" => self.retry_delay = Some(value.raw()?),
                _ => {}
            }
            Ok(())
        })
    }

    /// OpenRouter quotes the headers of its own limits here, and what its upstream answered.
    fn metadata(&mut self, metadata: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        metadata.fields(|name, value| match name {
            b"headers" => value.fields(|name, value| {
                if name.eq_ignore_ascii_case(b"x-ratelimit-reset") {
                    self.reset = Some(value.raw()?);
                }
                Ok(())
            }),
            b"raw" => {
                self.quoted = value.raw()?.text();
                Ok(())
            }
            b"flagged_input" | b"reasons" => {
                self.is_flagged |= !value.raw()?.is_null();
                Ok(())
            }
            _ => Ok(()),
        })
    }
}

/// The answer that LiteLLM's proxy quotes behind words of its own: `litellm.BadRequestError: AnthropicException - {…}`, or as
/// Python writes bytes, `b'{…}'`. Nothing of the caller's stands before it.
fn wrapped_by_litellm(message: &str) -> Option<String> {
    let (kind, wrapped) = message.strip_prefix("litellm.")?.split_once(" - ")?;
    kind.contains("Exception").then_some(())?;
    let json = wrapped.trim_start();
    let json = match json.strip_prefix("b'") {
        Some(bytes) => bytes.replace("\\n", " "),
        None => json.to_owned(),
    };
    let value = Cursor::new(json.as_bytes()).raw().ok().filter(|value| value.is_object())?;
    String::from_utf8(value.bytes().to_vec()).ok()
}

/// Visits the first element of an array; an element behind it that breaks off does no harm.
fn first_object<'a>(
    cursor: &mut Cursor<'a>,
    mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), SyntaxError>,
) -> Result<(), SyntaxError> {
    let mut visited = false;
    cursor.elements(|element| {
        if visited {
            return Ok(());
        }
        visited = true;
        visit(element)
    })
}
