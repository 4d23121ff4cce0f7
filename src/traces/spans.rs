//! The spans of one finished call: one of the kind SERVER for the call, and below it one of the kind CLIENT for each attempt.
//!
//! Tokens and cost are attributes of the attempt whose answer the client got, and of no other span: backends add them up.

use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::json;

use super::Content;
use crate::calls::content::CallContent;
use crate::calls::{CallAttempt, CallClass, CallRecord, Via, hashed, made_trace};
use crate::telemetry::gen_ai::*;
use llm::{Usage, otel_messages};
use types::time::BrokerTime;

/// The instrumentation scope.
static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
});

/// The placeholder for a prompt and an answer.
const LEFT_OUT: &str = "(left out: too much was waiting to be sent)";

/// The trace of a call: the client's, or else one derived from the gateway's session, so that its log entries and its trace can
/// be matched.
pub(super) fn trace_of(record: &CallRecord) -> TraceId {
    if let Some(parent) = record.context.parent {
        return TraceId::from(parent.trace);
    }
    TraceId::from(made_trace(record.session_or_id()))
}

/// The spans of a call, its own first. Prompt and answer are attributes of the attempt whose answer the client got, or of the
/// call if it got no attempt's answer.
pub(super) fn spans(record: &CallRecord, content: &Content) -> Vec<SpanData> {
    let mut spans = spans_of(record);
    if let Some(span) = spans.get_mut(answered(record).map_or(0, |place| place + 1)) {
        span.attributes.extend(bodies(content));
        if let (Content::Kept(content), Some("chat" | "text_completion")) = (content, record.context.operation) {
            span.attributes.extend(messages(content));
        }
    }
    spans
}

/// Prompt and answer in the form of the conventions, as far as they can be read.
fn messages(content: &CallContent) -> Vec<KeyValue> {
    let asked = content.request.whole().and_then(otel_messages::input);
    let answered = content.answer.whole().and_then(otel_messages::output);
    let (asked, system) = asked.map_or((None, None), |asked| (Some(asked.messages), asked.system));
    [(INPUT_MESSAGES, asked), (SYSTEM_INSTRUCTIONS, system), (OUTPUT_MESSAGES, answered)]
        .into_iter()
        .filter_map(|(name, messages)| Some(KeyValue::new(name, messages?.to_string())))
        .collect()
}

fn bodies(content: &Content) -> Vec<KeyValue> {
    match content {
        Content::None => Vec::new(),
        Content::Kept(content) => {
            let bodies = [(LANGFUSE_INPUT, &content.request), (LANGFUSE_OUTPUT, &content.answer)];
            bodies.into_iter().filter_map(|(name, body)| Some(KeyValue::new(name, body.text()?))).collect()
        }
        Content::LeftOut => [LANGFUSE_INPUT, LANGFUSE_OUTPUT].map(|name| KeyValue::new(name, LEFT_OUT)).to_vec(),
    }
}

/// Without prompt and answer.
fn spans_of(record: &CallRecord) -> Vec<SpanData> {
    let call = Call { record, trace: trace_of(record), common: common(record) };
    let answered = answered(record);
    let attempts = record.numbered_attempts().enumerate();
    let attempts =
        attempts.map(|(place, (number, attempt))| call.attempt(place, number, attempt, answered == Some(place)));
    std::iter::once(call.server()).chain(attempts).collect()
}

/// The place of the attempt whose answer the client got.
fn answered(record: &CallRecord) -> Option<usize> {
    let router = record.router.as_ref()?;
    record.attempts.iter().rposition(|attempt| attempt.router == *router)
}

struct Call<'a> {
    record: &'a CallRecord,
    trace: TraceId,
    /// The attributes of every span.
    common: Vec<KeyValue>,
}

/// A span and the one that it belongs to.
struct SpanIds {
    span: u64,
    parent: SpanId,
}

impl Call<'_> {
    fn server(&self) -> SpanData {
        let record = self.record;
        let parent = record.context.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span));
        let mut attributes = self.common.clone();
        attributes.extend([
            text(HTTP_ROUTE, &record.pool),
            text(CALL_ID, &record.id),
            KeyValue::new(CALL_CLASS, record.class.name()),
            KeyValue::new(VIA, via(record)),
            KeyValue::new(LANGFUSE_TYPE, "span"),
            KeyValue::new(CALL_ATTEMPTS, whole(attempts(record))),
            texts(TRACE_IDS, record.trace_ids.iter().cloned()),
        ]);
        attributes.extend(record.replica.as_deref().map(|replica| text(REPLICA, replica)));
        attributes.extend(record.status.map(|status| KeyValue::new(HTTP_STATUS, i64::from(status))));
        let is_fault = is_failure(record.class) && record.status.is_none_or(|status| status >= 500);
        let status = self.outcome(&mut attributes, record.class, is_fault, "ERROR");
        let ids = SpanIds { span: hashed(2, &record.id), parent };
        self.span(ids, SpanKind::Server, trace_name(record), self.start()..end_of(record), attributes, status)
    }

    /// `number`: the attempt's number among those that were made.
    fn attempt(&self, place: usize, number: Option<u32>, attempt: &CallAttempt, answers: bool) -> SpanData {
        let record = self.record;
        let start = attempt.context.sent.map_or(self.start(), wall);
        let end = start + millis(attempt.ms);
        let mut attributes = self.common.clone();
        attributes.extend([
            text(ROUTER, &attempt.router),
            KeyValue::new(
                LANGFUSE_TYPE,
                if record.context.operation == Some("embeddings") { "embedding" } else { "generation" },
            ),
        ]);
        attributes.extend(number.map(|number| KeyValue::new(ATTEMPT, i64::from(number))));
        self.asked(attempt, &mut attributes);
        decided(attempt, &mut attributes);
        attributes.extend(attempt.status.map(|status| KeyValue::new(HTTP_STATUS, i64::from(status))));
        attributes.extend(attempt.failure.as_ref().map(|failure| text(FAILURE, failure.name())));
        attributes.extend(some(TRANSACTION, &attempt.transaction));
        if attempt.tries > 1 {
            attributes.push(KeyValue::new(HTTP_RESENDS, i64::from(attempt.tries - 1)));
        }
        if record.stream
            && let Some(first) = attempt.first_byte_ms
        {
            attributes.push(KeyValue::new(TIME_TO_FIRST_CHUNK, first as f64 / 1e3));
            let at = attempt.context.sent.map(|sent| sent.after(Duration::from_millis(first)).to_string());
            attributes.extend(at.filter(|_| answers).map(|at| text(LANGFUSE_FIRST_TOKEN, &at)));
        }
        if answers {
            used(record, &mut attributes);
        }
        let level = if record.class == CallClass::Success { "WARNING" } else { "ERROR" };
        let status = self.outcome(&mut attributes, attempt.class, is_failure(attempt.class), level);
        let ids = SpanIds {
            span: hashed(3, &format!("{}/{}", record.id, u64::from(record.attempts_left_out) + place as u64 + 1)),
            parent: SpanId::from(hashed(2, &record.id)),
        };
        let model = record.sent_model.as_deref().or(record.model.as_deref());
        let name = match (record.context.operation, model) {
            (Some(operation), Some(model)) => format!("{operation} {model}"),
            (Some(operation), None) => operation.to_owned(),
            (None, _) => attempt.router.clone(),
        };
        self.span(ids, SpanKind::Client, name, start..end, attributes, status)
    }

    /// The operation and the model, if anything is generated.
    fn asked(&self, attempt: &CallAttempt, attributes: &mut Vec<KeyValue>) {
        let record = self.record;
        let Some(operation) = record.context.operation else { return };
        attributes.push(KeyValue::new(OPERATION, operation));
        attributes.push(KeyValue::new(PROVIDER, attempt.context.provider.unwrap_or(UNKNOWN_PROVIDER)));
        attributes.push(KeyValue::new(REQUEST_STREAM, record.stream));
        let model = record.sent_model.as_deref().or(record.model.as_deref());
        attributes.extend(model.map(|model| text(REQUEST_MODEL, model)));
    }

    /// The result, as attributes and as the span's status.
    fn outcome(&self, attributes: &mut Vec<KeyValue>, class: CallClass, is_fault: bool, level: &'static str) -> Status {
        if class == CallClass::Success {
            return Status::Unset;
        }
        attributes.push(KeyValue::new(ERROR_TYPE, class.name()));
        attributes.push(KeyValue::new(LANGFUSE_LEVEL, if is_failure(class) { level } else { "WARNING" }));
        attributes.push(KeyValue::new(LANGFUSE_STATUS, class.name()));
        if is_fault { Status::error(class.name()) } else { Status::Unset }
    }

    /// When the call was received.
    fn start(&self) -> SystemTime {
        let end = end_of(self.record);
        let by_length = || end.checked_sub(millis(self.record.ms)).unwrap_or(end);
        self.record.context.received_at.map_or_else(by_length, wall)
    }

    fn span(
        &self,
        SpanIds { span, parent }: SpanIds,
        span_kind: SpanKind,
        name: String,
        Range { start: start_time, end: end_time }: Range<SystemTime>,
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let context =
            SpanContext::new(self.trace, SpanId::from(span), TraceFlags::SAMPLED, false, TraceState::default());
        SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: span_kind == SpanKind::Server && parent != SpanId::INVALID,
            span_kind,
            name: name.into(),
            start_time,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: SCOPE.clone(),
        }
    }
}

/// The attributes that Langfuse expects on every span. A trace that the client began has the name and the session of the
/// client's own spans.
fn common(record: &CallRecord) -> Vec<KeyValue> {
    let mut common = vec![texts(LANGFUSE_TAGS, [record.pool.clone(), via(record).to_owned()])];
    if record.context.parent.is_none() {
        common.push(text(LANGFUSE_NAME, &trace_name(record)));
        common.extend(some(LANGFUSE_SESSION, &record.session));
    }
    common.extend(record.context.user.as_deref().and_then(|user| some(LANGFUSE_USER, user)));
    let (router, model) = (record.router.as_deref(), record.model.as_deref());
    for (name, value) in [
        (LANGFUSE_CALL, record.id.as_str()),
        (LANGFUSE_POOL, &record.pool),
        (LANGFUSE_ROUTER, router.unwrap_or_default()),
        (LANGFUSE_ASKED, model.unwrap_or_default()),
        (LANGFUSE_CLASS, record.class.name()),
        (LANGFUSE_TRACE_ID, &record.trace_ids.join(" ")),
    ] {
        common.extend(some(name, value));
    }
    common
}

/// Why this router was chosen.
fn decided(attempt: &CallAttempt, attributes: &mut Vec<KeyValue>) {
    attributes.extend(attempt.decision.as_deref().map(|id| text(DECISION_ID, id)));
    attributes.extend(attempt.p.map(|p| KeyValue::new(DECISION_P, p)));
    attributes.extend(attempt.why.as_deref().map(|why| text(DECISION_WHY, why)));
    if attempt.probe {
        attributes.push(KeyValue::new(DECISION_PROBE, true));
    }
}

/// The usage and the cost of the answer.
fn used(record: &CallRecord, attributes: &mut Vec<KeyValue>) {
    attributes.extend(record.served_model.as_deref().map(|model| text(RESPONSE_MODEL, model)));
    let known = record.models().next();
    attributes.extend(known.map(|model| text(LANGFUSE_MODEL, model)));
    if let Some(usage) = &record.usage {
        for (name, value) in [
            (INPUT_TOKENS, usage.input()),
            (OUTPUT_TOKENS, usage.output),
            (CACHE_READ_TOKENS, usage.cache_read),
            (CACHE_WRITE_TOKENS, usage.cache_write),
            (REASONING_TOKENS, usage.reasoning),
        ] {
            attributes.push(KeyValue::new(name, whole(value)));
        }
        attributes.push(text(LANGFUSE_USAGE, &usage_details(usage)));
        if usage.estimated {
            attributes.push(KeyValue::new(USAGE_ESTIMATED, true));
        }
    }
    if let Some(cost) = &record.cost {
        let dollars = cost.nano_usd as f64 / 1e9;
        attributes.push(text(LANGFUSE_COST, &format!("{{\"total\":{dollars:?}}}")));
        attributes.push(text(PRICE, &cost.price));
    }
}

/// Each token once: Langfuse adds the kinds up.
fn usage_details(usage: &Usage) -> String {
    let details = json!({
        "input": usage.input_uncached,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
        "output": usage.output.saturating_sub(usage.reasoning),
        "output_reasoning_tokens": usage.reasoning,
        "total": usage.total(),
    });
    details.to_string()
}

/// The name of the trace and of the call's span.
fn trace_name(record: &CallRecord) -> String {
    match record.context.operation {
        Some(operation) => format!("{operation} {}", record.pool),
        None => record.pool.clone(),
    }
}

const fn is_failure(class: CallClass) -> bool {
    !matches!(class, CallClass::Success | CallClass::ClientGone)
}

const fn via(record: &CallRecord) -> &'static str {
    match record.via {
        Via::Relay => "relay",
        Via::Gateway => "gateway",
    }
}

fn attempts(record: &CallRecord) -> u64 {
    let kept = record.numbered_attempts().filter(|(number, _)| number.is_some()).count();
    u64::from(record.attempts_left_out) + kept as u64
}

fn end_of(record: &CallRecord) -> SystemTime {
    wall(record.at)
}

fn wall(time: BrokerTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(time.as_nanos())
}

fn millis(ms: Option<u64>) -> Duration {
    // Bounded, because a log entry may contain any number.
    Duration::from_millis(ms.unwrap_or(0).min(86_400_000 * 365))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Shared, because the attributes of every span are copied.
fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, Arc::<str>::from(value))
}

fn some(name: &'static str, value: &str) -> Option<KeyValue> {
    (!value.is_empty()).then(|| text(name, value))
}

fn texts(name: &'static str, values: impl IntoIterator<Item = String>) -> KeyValue {
    let values = values.into_iter().map(StringValue::from).collect();
    KeyValue::new(name, Value::Array(Array::String(values)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::content::{KeptBody, MAX_BODY_BYTES};
    use crate::calls::context::{AttemptContext, CallContext, ParentSpan};
    use crate::calls::cost::Cost;
    use llm::ErrorClass;

    fn attempt(router: &str, class: CallClass) -> CallAttempt {
        let context = AttemptContext { sent: Some(BrokerTime::from_nanos(5_000_000_000)), provider: None };
        CallAttempt { router: router.to_owned(), class, ms: Some(7), tries: 1, context, ..CallAttempt::default() }
    }

    fn call(attempts: Vec<CallAttempt>) -> CallRecord {
        CallRecord {
            id: "X_1_0_0".to_owned(),
            session: "X_1_0_0".to_owned(),
            at: BrokerTime::from_nanos(6_000_000_000),
            ms: Some(2_000),
            router: attempts.last().map(|last| last.router.clone()),
            usage: Some(Usage { input_uncached: 3, output: 2, ..Usage::default() }),
            cost: Some(Cost { nano_usd: 7, ..Cost::default() }),
            context: CallContext { operation: Some("chat"), ..CallContext::default() },
            attempts,
            ..CallRecord::default()
        }
    }

    fn value(span: &SpanData, name: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name)?;
        Some(found.value.as_str().into_owned())
    }

    #[test]
    fn usage_and_cost_stand_once_also_where_a_router_was_tried_twice() {
        let failed = CallClass::Error(ErrorClass::Overloaded);
        let tried = ["/a/", "/b/", "/a/"].map(|router| attempt(router, failed));
        for answered in 1..=3 {
            let mut attempts = tried[..answered].to_vec();
            attempts[answered - 1].class = CallClass::Success;
            let spans = spans_of(&call(attempts));
            for name in [LANGFUSE_USAGE, LANGFUSE_COST, INPUT_TOKENS] {
                let with: Vec<_> = (0..spans.len()).filter(|place| value(&spans[*place], name).is_some()).collect();
                assert_eq!(with, [answered], "{name}");
            }
        }
        let nobody = CallRecord { router: None, ..call(tried.to_vec()) };
        assert!(spans_of(&nobody).iter().all(|span| value(span, LANGFUSE_COST).is_none()));
    }

    #[test]
    fn prompt_and_answer_stand_on_the_answer_or_else_on_the_call() {
        let mut kept = CallContent::default();
        kept.request.add(b"asked");
        let kept = Content::Kept(Arc::new(kept));
        let answered = call(vec![attempt("/a/", CallClass::Broker), attempt("/b/", CallClass::Success)]);
        let nobody = CallRecord { router: None, ..answered.clone() };
        for (record, place) in [(answered, 2), (nobody, 0)] {
            let inputs = |content| -> Vec<_> {
                spans(&record, content).iter().map(|span| value(span, LANGFUSE_INPUT)).collect()
            };
            for (content, text) in [(&kept, "asked"), (&Content::LeftOut, LEFT_OUT)] {
                let mut expected = vec![None; 3];
                expected[place] = Some(text.to_owned());
                assert_eq!(inputs(content), expected);
            }
            assert_eq!(inputs(&Content::None), vec![None; 3]);
            assert!(spans(&record, &kept).iter().all(|span| value(span, LANGFUSE_OUTPUT).is_none()), "an empty answer");
        }
    }

    #[test]
    fn prompt_and_answer_are_messages_of_the_conventions_too() {
        let body = |text: &str| {
            let mut body = KeptBody::default();
            body.add(text.as_bytes());
            body
        };
        let kept = |request: &str, answer: &str| {
            Content::Kept(Arc::new(CallContent { request: body(request), answer: body(answer) }))
        };
        let record = call(vec![attempt("/a/", CallClass::Success)]);
        let asked = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
        let answer = r#"{"choices":[{"message":{"content":"ho"},"finish_reason":"stop"}]}"#;
        let of = |record: &CallRecord, content: &Content| {
            let spans = spans(record, content);
            [INPUT_MESSAGES, OUTPUT_MESSAGES]
                .map(|name| value(&spans[1], name).map(|text| serde_json::from_str(&text).unwrap()))
        };
        let expected = [
            json!([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]),
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "ho"}], "finish_reason": "stop"}]),
        ];
        assert_eq!(of(&record, &kept(asked, answer)), expected.clone().map(Some));
        let long = format!("{asked}{}", " ".repeat(MAX_BODY_BYTES));
        assert_eq!(of(&record, &kept(&long, answer)), [None::<serde_json::Value>, Some(expected[1].clone())], "cut");
        assert_eq!(of(&record, &kept("no json", "")), [None, None]);
        let context = CallContext { operation: Some("embeddings"), ..CallContext::default() };
        let embeddings = CallRecord { context, ..record };
        assert_eq!(of(&embeddings, &kept(r#"{"input":"hi"}"#, "{}")), [None, None]);
    }

    #[test]
    fn ids_are_those_of_the_call_and_each_span_has_its_own() {
        let record = call(vec![attempt("/a/", CallClass::Success), attempt("/a/", CallClass::Success)]);
        let (one, two) = (spans_of(&record), spans_of(&record));
        assert_eq!(one, two, "the same in every replica");
        let ids: std::collections::BTreeSet<_> =
            one.iter().map(|span| span.span_context.span_id().to_bytes()).collect();
        assert_eq!(ids.len(), 3);
        assert!(one.iter().all(|span| span.span_context.is_valid() && span.span_context.is_sampled()));
        let other = CallRecord { id: "X_1_1_0".to_owned(), ..record.clone() };
        assert_eq!(trace_of(&other), trace_of(&record), "one session, one trace");
        assert_ne!(spans_of(&other)[0].span_context.span_id(), one[0].span_context.span_id());
        let parent = ParentSpan { trace: 9, span: 8, sampled: false };
        let continued =
            CallRecord { context: CallContext { parent: Some(parent), ..CallContext::default() }, ..record };
        let continued = spans_of(&continued);
        assert_eq!(
            (trace_of(&call(Vec::new())) == TraceId::from(9), continued[0].parent_span_id),
            (false, SpanId::from(8))
        );
        assert!(continued[0].parent_span_is_remote && !continued[1].parent_span_is_remote);
        assert!(continued.iter().all(|span| value(span, OPERATION).is_none()), "no operation, nothing of gen_ai");
    }

    #[test]
    fn times_are_those_of_the_attempt_and_odd_ones_harm_nothing() {
        let spans = spans_of(&call(vec![attempt("/a/", CallClass::Success)]));
        let at = |seconds, ms| UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(ms);
        assert_eq!((spans[0].start_time, spans[0].end_time), (at(4, 0), at(6, 0)));
        assert_eq!((spans[1].start_time, spans[1].end_time), (at(5, 0), at(5, 7)));
        let odd =
            CallAttempt { ms: Some(u64::MAX), first_byte_ms: Some(u64::MAX), ..attempt("/a/", CallClass::Success) };
        let odd = CallRecord {
            ms: Some(u64::MAX),
            at: BrokerTime::MAX,
            attempts_left_out: u32::MAX,
            stream: true,
            ..call(vec![odd])
        };
        assert_eq!(spans_of(&odd).len(), 2);
    }

    #[test]
    fn a_client_that_went_away_is_no_error() {
        let gone = CallRecord { class: CallClass::ClientGone, ..call(vec![attempt("/a/", CallClass::ClientGone)]) };
        for span in spans_of(&gone) {
            assert_eq!(
                (span.status.clone(), value(&span, LANGFUSE_LEVEL).as_deref()),
                (Status::Unset, Some("WARNING"))
            );
        }
        let none = CallRecord { class: CallClass::NoTarget, status: Some(503), ..call(Vec::new()) };
        let spans = spans_of(&none);
        assert_eq!((spans.len(), &spans[0].status), (1, &Status::error("no_target")));
        assert_eq!(value(&spans[0], LANGFUSE_LEVEL).as_deref(), Some("ERROR"));
    }
}
