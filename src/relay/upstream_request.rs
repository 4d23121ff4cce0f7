//! A request as it goes to a target, and what becomes of the answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, Uri};
use llm::Protocol;
use llm::capability::MissingCapability;
use llm::provider::{AnswerForm, AnswerId, Operation};
use llm::stream_usage::add_include_usage;
use llm::translate::DroppedList;

use super::body::BodyMemory;
use super::direct::DirectUpstream;
use super::hold::answer_headers;
use super::key_client::KeyClient;
use super::provider_target::{NotSentReason, ProviderTarget};
use super::stream_usage;
use super::target::{ForwardedRequest, Target};
use super::upstream_body::UpstreamBody;
use crate::shared_broker::SharedBroker;

/// The header in which Amazon names an error.
const AMAZON_ERROR: &str = "x-amzn-errortype";
/// The header in which Bedrock says how many tokens a model read.
const AMAZON_INPUT_TOKENS: &str = "x-amzn-bedrock-input-token-count";
/// The content type of AWS's event streams.
const AMAZON_STREAM: &str = "application/vnd.amazon.eventstream";

/// A request to a target.
#[derive(Debug)]
pub(super) struct UpstreamRequest {
    /// Shared with the call's record.
    pub(super) head: Arc<request::Parts>,
    pub(super) body: Bytes,
    /// What a provider that is known by name makes of it.
    pub(super) translation: Option<Box<AnswerTranslation>>,
    /// It asks for the usage of its stream, which the client does not.
    pub(super) adds_usage: bool,
    /// The usage at the end of a stream is ours alone: the client did not ask for it.
    pub(super) hides_usage: bool,
}

/// What is known of a request to a provider when its answer comes.
#[derive(Debug, Clone)]
pub(super) struct AnswerTranslation {
    form: AnswerForm,
    id: AnswerId,
    /// What was left out of the request.
    dropped: DroppedList,
}

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestDraft<'a> {
    pub(super) method: &'a Method,
    pub(super) onward: ForwardedRequest<'a>,
    /// With the changes of the target's settings.
    pub(super) body: &'a Bytes,
    /// A stream is asked what it used, if the target takes that.
    pub(super) asks_usage: bool,
    /// Nothing of the request's content may be lost on the way: another target may take it.
    pub(super) keeps_content: bool,
}

/// What a request to a provider needs besides itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProviderResources<'a> {
    pub(super) broker: &'a SharedBroker,
    pub(super) memory: &'a BodyMemory,
    pub(super) keys: &'a KeyClient,
    /// How the answer is known where its vendor gives it no id.
    pub(super) session: &'a str,
}

impl UpstreamRequest {
    /// To this target.
    ///
    /// # Errors
    /// It cannot go there, which is not the target's fault.
    pub(super) async fn new(
        target: &Target<'_>,
        draft: RequestDraft<'_>,
        means: ProviderResources<'_>,
    ) -> Result<Self, NotSentReason> {
        if let Target::Direct(direct) = target
            && let Some(provider) = direct.provider()
        {
            // In memory of its own, since it is larger than the rest of a call, which most targets need without it.
            return Box::pin(Self::to_provider(target, direct, provider, draft, means)).await;
        }
        let uri = target.uri(draft.onward).ok_or(NotSentReason::Address)?;
        let is_asked = draft.asks_usage && Protocol::of_path(uri.path()) == Protocol::OpenAiChat;
        let asking = if is_asked { stream_usage::asking(means.memory, draft.body)? } else { None };
        let adds_usage = asking.is_some();
        let body = asking.unwrap_or_else(|| draft.body.clone());
        let head = assemble(draft.method, uri, target.headers(draft.onward), &body);
        Ok(Self { head, body, translation: None, adds_usage, hides_usage: adds_usage })
    }

    async fn to_provider(
        target: &Target<'_>,
        direct: &DirectUpstream,
        provider: &ProviderTarget,
        RequestDraft { method, onward, body, asks_usage, keeps_content }: RequestDraft<'_>,
        ProviderResources { broker, memory, keys, session }: ProviderResources<'_>,
    ) -> Result<Self, NotSentReason> {
        let book = broker.prices().book();
        let operation = Operation::from_path(method.as_str(), onward.subpath);
        let mut prepared = provider.prepare(operation, onward.subpath, onward.headers, body, book.table())?;
        if let Some(lost) = prepared.dropped.content().filter(|_| keeps_content) {
            return Err(NotSentReason::Incapable(MissingCapability::Form(lost)));
        }
        let is_asked = asks_usage && prepared.takes_include_usage(operation);
        let asking = if is_asked { add_include_usage(&prepared.body) } else { None };
        let adds_usage = asking.is_some();
        prepared.body = asking.map_or(prepared.body, Cow::Owned);
        let hides_usage = prepared.answer.ask_for_usage() || adds_usage;
        let uri = provider.uri(&prepared, onward.query, direct.query())?;
        let mut headers = target.headers(onward);
        let clock = broker.clone();
        let now = move || clock.now().timestamp();
        provider.sign(&prepared, &uri, method.as_str(), &mut headers, keys, now.clone()).await?;
        direct.set_own_headers(&mut headers);
        let body = match prepared.body {
            Cow::Borrowed(_) => body.clone(),
            Cow::Owned(made) => memory
                .reserve(made.len())
                .and_then(|counted| counted.keep(made))
                .map_err(|_| NotSentReason::NoMemory)?,
        };
        let head = assemble(method, uri, headers, &body);
        let created = u64::try_from(now().as_second()).unwrap_or_default();
        let id = AnswerId { id: format!("chatcmpl-{session}"), created };
        let translation = AnswerTranslation { form: prepared.answer, id, dropped: prepared.dropped };
        Ok(Self { head, body, translation: Some(Box::new(translation)), adds_usage, hides_usage })
    }
}

fn assemble(method: &Method, uri: Uri, mut headers: HeaderMap, body: &Bytes) -> Arc<request::Parts> {
    // Servers may insist on a length where one is usual (RFC 9110, 8.6), and hyper writes none of an empty body.
    if body.is_empty() && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let (mut head, ()) = Request::new(()).into_parts();
    (head.method, head.uri, head.headers) = (method.clone(), uri, headers);
    Arc::new(head)
}

impl AnswerTranslation {
    /// The body of an answer with this head in the client's protocol; the head is changed to fit. Errors stay as they are, since
    /// they are judged first: see [`AnswerTranslation::error`].
    pub(super) fn body(&self, head: &mut Parts, body: Incoming) -> UpstreamBody {
        // What passes but for its errors passes packed too, where a target packs it although asked not to.
        let is_packed = self.form.is_unchanged() && head.headers.contains_key(CONTENT_ENCODING);
        if !head.status.is_success() || is_packed {
            return UpstreamBody::unchanged(body);
        }
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_stream = answer_headers(&head.headers).is_event_stream() || kind.starts_with(AMAZON_STREAM);
        let (translator, kind) = if is_stream {
            (self.form.stream(&self.id), "text/event-stream")
        } else {
            let counted = head.headers.get(AMAZON_INPUT_TOKENS).and_then(|tokens| tokens.to_str().ok()?.parse().ok());
            (self.form.whole(&self.id, counted), "application/json")
        };
        let Some(translator) = translator else { return UpstreamBody::unchanged(body) };
        if !self.form.is_unchanged() {
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
            head.headers.remove(name);
        }
        UpstreamBody::translated(body, translator)
    }

    /// The body of an error in the client's protocol, if that is another one.
    pub(super) fn error(&self, head: &mut Parts, body: &[u8]) -> Option<Bytes> {
        let amazon = head.headers.get(AMAZON_ERROR).and_then(|kind| kind.to_str().ok());
        let error = self.form.error(head.status.as_u16(), amazon, body)?;
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(error.into())
    }

    /// What was left out of the request, for the client: the first names, and how many others there are. `None` if nothing was.
    pub(super) fn dropped(&self) -> Option<HeaderValue> {
        /// So many are named at most; a header has little room.
        const MAX_NAMES: usize = 40;
        let plain = |text: &str| text.replace(|letter: char| !letter.is_ascii_graphic() && letter != ' ', "?");
        let names = || self.dropped.names(MAX_NAMES, |dropped| plain(dropped.as_str()));
        (!self.dropped.is_empty()).then(|| super::headers::value(&names()))
    }
}
