//! The request as a whole: reads the fields of OpenAI's, writes those of Anthropic's.

use super::content::Path;
use super::conversation::Conversation;
use super::names::Names;
use super::settings::RequestSettings;
use super::tools::Tools;
use super::{Envelope, RequestOptions};
use crate::translate::write;
use crate::translate::{
    ChatContext, Content, Drops, OPENAI_ALONE, RequestFields, TranslateError, TranslatedRequest, Unsupported,
    asks_for_nothing, invalid,
};

/// Translates a chat completion request.
///
/// # Errors
/// It is not what OpenAI takes, asks for several answers, or asks for what the vendor cannot take where that is to be refused.
pub fn request(body: &[u8], options: &RequestOptions<'_>) -> Result<TranslatedRequest<ChatContext>, TranslateError> {
    request_of(RequestFields::read(body), options)
}

/// The same of a request whose fields have been read; `None` is a body that has none.
pub(crate) fn request_of(
    fields: Option<RequestFields<'_>>,
    options: &RequestOptions<'_>,
) -> Result<TranslatedRequest<ChatContext>, TranslateError> {
    let fields = RequestFields::of_request(fields.filter(RequestFields::are_checked))?;
    let (body, stream) = (fields.body(), fields.is_stream());
    let mut draft =
        Draft { fields, options, names: Names::default(), drops: Drops::default(), last_position: ("", usize::MAX) };
    draft.refuse_several_answers()?;
    let include_usage = draft.fields.includes_usage();
    let tools = Tools::read(&mut draft)?;
    let conversation = Conversation::read(&mut draft)?;
    let tools = tools.for_conversation(&conversation);
    let settings = RequestSettings::read(&mut draft, &conversation, &tools)?;

    let mut out = Vec::with_capacity(body.len() + body.len() / 8 + 256);
    out.push(b'{');
    draft.write_envelope(&mut out, stream);
    settings.write_limit(&mut out);
    tools.write(&mut out);
    if !conversation.system.is_empty() {
        write::list(&mut out, "system", &conversation.system);
    }
    write::list(&mut out, "messages", &conversation.turns);
    settings.write(&mut out);
    draft.write_others(&mut out);
    out.push(b'}');

    let dropped = draft.drops.into_list(options.unsupported)?;
    let (model, renamed) = (options.model.to_owned(), draft.names.renamed());
    Ok(TranslatedRequest { body: out, dropped, answer: ChatContext { model, stream, include_usage, renamed } })
}

/// A request on its way.
pub(super) struct Draft<'a, 'o> {
    pub(super) fields: RequestFields<'a>,
    pub(super) options: &'o RequestOptions<'o>,
    pub(super) names: Names,
    /// What was left out.
    drops: Drops,
    /// The last field that was looked for among those at the top, and its position.
    last_position: (&'static str, usize),
}

impl Draft<'_, '_> {
    /// Notes that something is left out. `top` is the field at the top that it belongs to.
    pub(super) fn leave_out(&mut self, top: &'static str, path: impl Into<String>) {
        self.drops_of(top).push(path);
    }

    /// Notes that a part of a message is left out, which may be content.
    pub(super) fn leave_out_part(&mut self, path: Path, kind: &str) {
        self.drops_of("messages").push_content(path.to_string(), Content::of_part(kind));
    }

    /// Takes what is left out of this field at the top.
    pub(super) fn drops_of(&mut self, top: &'static str) -> &mut Drops {
        if self.last_position.0 != top {
            self.last_position = (top, self.fields.position(top));
        }
        self.drops.at = self.last_position.1;
        &mut self.drops
    }

    /// Whether unknown things are passed as they are.
    pub(super) fn passes(&self) -> bool {
        self.options.unsupported == Unsupported::Pass
    }

    fn refuse_several_answers(&self) -> Result<(), TranslateError> {
        match self.fields.get("n") {
            None => Ok(()),
            Some(n) if asks_for_nothing("n", n) => Ok(()),
            Some(_) => Err(invalid("n", "the model gives one answer for each request; leave `n` out or set it to 1")),
        }
    }

    fn write_envelope(&self, out: &mut Vec<u8>, stream: bool) {
        match self.options.envelope.version_in_body() {
            Some(version) => write::text(out, "anthropic_version", version),
            None => write::text(out, "model", self.options.model),
        }
        if stream && self.options.envelope != Envelope::Bedrock {
            write::json(out, "stream", b"true");
        }
    }

    /// The fields that no other part reads: passed, or left out and noted.
    fn write_others(&mut self, out: &mut Vec<u8>) {
        for (position, (name, value)) in self.fields.list().iter().enumerate() {
            if is_translated(name) || asks_for_nothing(name, *value) {
                continue;
            }
            if self.passes() && !OPENAI_ALONE.contains(&&**name) && !is_ours(name) {
                write::clients_field(out, name, *value);
            } else {
                self.drops.at = position;
                self.drops.push_field(name);
            }
        }
    }
}

/// The fields that the other parts read.
fn is_translated(name: &str) -> bool {
    matches!(
        name,
        "model"
            | "messages"
            | "tools"
            | "tool_choice"
            | "parallel_tool_calls"
            | "n"
            | "stream"
            | "stream_options"
            | "stop"
            | "temperature"
            | "top_p"
            | "top_k"
            | "max_tokens"
            | "max_completion_tokens"
            | "response_format"
            | "user"
            | "safety_identifier"
            | "reasoning_effort"
            | "thinking"
            | "cache_control"
    )
}

/// Fields that this translation writes itself and no client may add a second time.
fn is_ours(name: &str) -> bool {
    matches!(name, "system" | "stop_sequences" | "output_config" | "anthropic_version" | "metadata")
}
