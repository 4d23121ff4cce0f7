//! The record of a call that passed only through the gateway, from the gateway's log.

use super::content::CallContent;
use super::context::{AttemptContext, CallContext};
use super::record::{short, within};
use super::{CallAttempt, CallClass, CallRecord, TraceIds, Via, cost};
use crate::clock::millis;
use crate::prices::PriceBook;
use crate::replica_id::is_replica_id;
use crate::telemetry::gen_ai;
use gecholog_protocol::logged_call::{LoggedCall, LoggedStamp, path_of};
use gecholog_protocol::transaction;
use llm::prices::names::provider_of_host;
use llm::request_view::model_in_path;
use types::outcome::{ErrorClass, LogEntry};
use types::time::{BrokerTime, GatewayTime};

/// The longest reason of a decision that is kept, in bytes; those of this broker are shorter.
const MAX_WHY_BYTES: usize = 300;

/// The record; `None` if the entry is of an attempt of a relay, which records the whole call itself. `configured` is the header
/// of `BROKER_TRACE_HEADER`.
pub fn record(logged: &LoggedCall<'_>, configured: &str, book: &PriceBook, now: BrokerTime) -> Option<CallRecord> {
    let stamp = logged.stamp();
    (!is_attempt(logged, &stamp)).then(|| record_of(logged, stamp, configured, Some(book), now))
}

/// Prompt and answer of a call, from its entry.
pub fn content(logged: &LoggedCall<'_>) -> CallContent {
    let mut content = CallContent::default();
    content.request.add(logged.request_body());
    content.answer.add(&logged.answer_body());
    content
}

/// The same for any entry, also for one of a relay's attempt. Without prices the cost is unknown.
pub fn any_record(logged: &LoggedCall<'_>, configured: &str, book: Option<&PriceBook>, now: BrokerTime) -> CallRecord {
    record_of(logged, logged.stamp(), configured, book, now)
}

fn record_of(
    logged: &LoggedCall<'_>,
    mut stamp: LoggedStamp,
    configured: &str,
    book: Option<&PriceBook>,
    now: BrokerTime,
) -> CallRecord {
    let LogEntry { answer, session, ingress, started, stopped, .. } = logged.entry;
    let replica = stamp.replica.take().map(short);
    let transaction = short(answer.transaction.unwrap_or_default());
    let (asked, usage) = (logged.request_fields(), logged.usage.ok().flatten());
    let router = answer.served_path.map(short);
    let url = logged.url();
    let provider = url.as_deref().and_then(cost::host_of).and_then(provider_of_host);
    // The router's address may name the model, which the client then does not.
    let url_path = url.as_deref().and_then(path_of);
    let in_url = url_path.filter(|_| asked.model.is_none()).and_then(model_in_path);
    // Clients of a gateway may call the bare ingress path: then the router's address tells the operation.
    let of_url = || gen_ai::operation(url_path?);
    let operation = gen_ai::operation(&asked.path).or_else(of_url);
    let traces = trace_ids(logged, configured);
    let attempt = CallAttempt {
        router: router.clone().unwrap_or_default(),
        transaction: transaction.clone(),
        context: AttemptContext { sent: None, provider: provider.map(gen_ai::provider) },
        ..decided(logged, stamp)
    };
    let between = |from: GatewayTime, to: GatewayTime| to.as_nanos().saturating_sub(from.as_nanos()) / 1_000_000;
    let mut record = CallRecord {
        id: transaction,
        at: now,
        replica,
        via: Via::Gateway,
        pool: short(ingress.unwrap_or_default()),
        session: short(session.unwrap_or_default()),
        context: CallContext {
            parent: traces.parent(),
            user: asked.user.map(short),
            operation,
            ..CallContext::default()
        },
        trace_ids: traces.into_vec(),
        model: asked.model.map(short),
        sent_model: asked.sent_model.map(short).or_else(|| in_url.map(short)),
        served_model: logged.served_model().map(short),
        router,
        status: logged.entry.egress_status.or(answer.status),
        class: attempt.class,
        stream: asked.stream,
        ms: started.zip(stopped).map(|(started, stopped)| between(started, stopped)),
        attempts: vec![attempt],
        usage,
        ..CallRecord::default()
    };
    if let Some(book) = book {
        cost::price(&mut record, book, provider);
    }
    record
}

/// The attempt, from the stamp of its decision and its answer.
fn decided(logged: &LoggedCall<'_>, stamp: LoggedStamp) -> CallAttempt {
    CallAttempt {
        decision: stamp.id.map(short),
        p: stamp.p,
        why: stamp.why.map(|why| within(why.into(), MAX_WHY_BYTES)),
        probe: stamp.probe,
        status: logged.entry.answer.status,
        class: class(&logged.entry),
        ms: logged.entry.details.latency.map(millis),
        tries: 1,
        ..CallAttempt::default()
    }
}

/// Whether an entry is of an attempt of a relay. For calls past the gateway the relay writes the entry, and marks it. Through the
/// gateway it calls the router directly, in a session of its own: its name begins with the replica's id in capitals, and its
/// attempts count from 1.
fn is_attempt(logged: &LoggedCall<'_>, stamp: &LoggedStamp) -> bool {
    let LogEntry { answer, session, ingress, .. } = logged.entry;
    let name = session.and_then(|session| session.split('_').next()).unwrap_or_default();
    let by_relay = stamp.replica.as_ref().is_some_and(|replica| replica.to_ascii_uppercase() == name);
    let number = answer.transaction.and_then(transaction::in_session).map_or(0, |(_, number)| number);
    let begun_by_relay = is_replica_id(name) && number > 0 && session.is_some_and(|session| session.ends_with("_0"));
    logged.relay_call().is_some() || by_relay || (begun_by_relay && ingress == answer.served_path)
}

/// The trace ids that the client gave the call; `configured` is the header of `BROKER_TRACE_HEADER`.
pub fn trace_ids(logged: &LoggedCall<'_>, configured: &str) -> TraceIds {
    let mut headers = Vec::new();
    logged.for_each_header(|name, value| {
        if let Some(known) = TraceIds::header(configured, name)
            && let Some(value) = value.text()
        {
            headers.push((known, value));
        }
    });
    TraceIds::from_headers(configured, |name| {
        headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes())
    })
}

fn class(entry: &LogEntry<'_>) -> CallClass {
    if entry.answer.gateway_generated && entry.answer.status.is_some_and(|status| status >= 400) {
        return CallClass::Error(ErrorClass::Unreachable);
    }
    let by_status = entry.answer.status.or(entry.egress_status).and_then(ErrorClass::of_status);
    CallClass::from(entry.details.error_class.or(by_status))
}

#[cfg(test)]
mod tests {
    use gecholog_protocol::log_entry;
    use serde_json::{Value, json};

    use super::*;

    fn of(entry: &Value) -> Option<CallRecord> {
        let bytes = serde_json::to_vec(entry).unwrap();
        record(&log_entry::read_call(&bytes).unwrap(), "x-trace-id", &PriceBook::default(), BrokerTime::from_nanos(7))
    }

    fn entry() -> Value {
        json!({
            "session_id": "GW1_1_0_0", "transaction_id": "GW1_1_0_0",
            "ingress_egress_timer": {"start": "2026-01-01T00:00:00Z", "stop": "2026-01-01T00:00:01.5Z"},
            "request": {
                "gl_path": "/azure/gpt4/", "original_gl_path": "/azure/", "ingress_subpath": "chat/completions",
                "ingress_headers": {"X-Trace-Id": ["abc"], "Traceparent": ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]},
                "ingress_query_parameters": {"key": ["s3cret"]},
                "ingress_payload": {"model": "gpt-4", "messages": [{"content": "a secret"}]},
                "outbound_payload": {"model": "gpt-4-mine", "messages": [{"content": "a secret"}]},
                "broker": {"id": "r-1", "replica": "r", "router": "/azure/gpt4/", "p": 0.5, "why": "random, 2 of 2 serve"},
            },
            "response": {
                "gl_path": "/azure/gpt4/", "inbound_status_code": 200, "egress_status_code": 200,
                "inbound_headers": {"Content-Type": ["application/json"]},
                "inbound_payload": {"model": "gpt-4-0613", "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
                    "prompt_tokens_details": {"cached_tokens": 4}}},
                "outbound_inbound_timer": {"start": "2026-01-01T00:00:00Z", "stop": "2026-01-01T00:00:01Z", "duration": 1000},
            },
        })
    }

    #[test]
    fn an_entry_of_the_gateway_gives_the_whole_record() {
        let record = of(&entry()).unwrap();
        assert_eq!((record.id.as_str(), record.pool.as_str(), record.via), ("GW1_1_0_0", "/azure/", Via::Gateway));
        assert_eq!(record.context.operation, Some("chat"));
        assert_eq!(record.trace_ids, ["abc", "4bf92f3577b34da6a3ce929d0e0e4736"]);
        let models: Vec<_> = record.models().collect();
        assert_eq!(models, ["gpt-4-0613", "gpt-4-mine", "gpt-4"]);
        assert_eq!((record.status, record.class, record.ms), (Some(200), CallClass::Success, Some(1_500)));
        let usage = record.usage.unwrap();
        assert_eq!((usage.input_uncached, usage.cache_read, usage.output, usage.estimated), (8, 4, 5, false));
        let cost = record.cost.clone();
        assert!(cost.is_some_and(|cost| cost.nano_usd > 0 && cost.price.ends_with("/gpt-4-0613")), "{record:?}");
        let [attempt] = &record.attempts[..] else { panic!("{record:?}") };
        assert_eq!((attempt.decision.as_deref(), attempt.p, attempt.ms), (Some("r-1"), Some(0.5), Some(1_000)));
        let json = serde_json::to_string(&record).unwrap();
        assert!(!json.contains("secret") && !json.contains("s3cret"), "{json}");
    }

    #[test]
    fn the_address_says_what_is_asked_for_where_the_clients_path_does_not() {
        let mut entry = entry();
        entry["request"]["ingress_subpath"] = json!("");
        for (url, operation) in [
            (json!(null), None),
            (json!("https://h/openai/deployments/gpt4/chat/completions?api-version=1"), Some("chat")),
            (json!("https://h/v1/embeddings"), Some("embeddings")),
            (json!("https://chat/completions"), Some("text_completion")),
            (json!("https://h"), None),
        ] {
            entry["request"]["url"] = url.clone();
            assert_eq!(of(&entry).unwrap().context.operation, operation, "{url}");
        }
    }

    #[test]
    fn tokens_of_streams_and_of_the_gateways_own_count_are_read() {
        let events = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
        let counted = format!(
            "{events}data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}}}\n\ndata: [DONE]\n\n"
        );
        for (payload, count, expected) in [
            (json!(counted), json!(null), Some((3, 2, false))),
            (
                json!({"content": "x"}),
                json!({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}),
                Some((9, 1, false)),
            ),
            (json!({"usage": {"prompt_tokens": -1, "completion_tokens": 5}}), json!(null), None),
            (json!("data: of nobody"), json!({"prompt_tokens": 1, "completion_tokens": 1}), Some((1, 1, false))),
            (json!("not a stream"), json!(null), None),
        ] {
            let mut entry = entry();
            entry["response"]["inbound_payload"] = payload;
            entry["response"]["token_count"] = count;
            let usage = of(&entry).unwrap().usage.map(|usage| (usage.input(), usage.output, usage.estimated));
            assert_eq!(usage, expected, "{}", entry["response"]);
        }
        let mut entry = entry();
        entry["response"]["inbound_payload"] = json!(events);
        assert!(of(&entry).unwrap().usage.unwrap().estimated, "what a vendor did not count is estimated");
    }

    /// What came is counted, and the rest estimated: 40 bytes of text are 10 tokens.
    #[test]
    fn a_stream_that_breaks_off_is_estimated_from_what_came() {
        let text = "x".repeat(40);
        let anthropic = [
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 1000, "output_tokens": 1}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        ];
        let gemini = [json!({"candidates": [{"content": {"parts": [{"text": text}]}}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}})];
        let openai = [json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}})];
        let ends = [
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}),
            json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 15}}),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7, "completion_tokens": 15}}),
        ];
        for ((events, end), input) in [&anthropic[..], &gemini, &openai].into_iter().zip(&ends).zip([1025, 7, 7]) {
            let mut entry = entry();
            let sent =
                |events: &[Value]| json!(events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>());
            entry["response"]["inbound_payload"] = sent(events);
            let usage = of(&entry).unwrap().usage.unwrap();
            assert_eq!((usage.input(), usage.output, usage.estimated), (input, 10, true), "{entry}");
            let bytes = serde_json::to_vec(&entry).unwrap();
            assert_eq!(log_entry::read_call(&bytes).unwrap().entry.details.total_tokens, None, "no budget learns it");
            entry["response"]["inbound_payload"] = sent(&[events, std::slice::from_ref(end)].concat());
            let usage = of(&entry).unwrap().usage.unwrap();
            assert_eq!((usage.input(), usage.output, usage.estimated), (input, 15, false), "{entry}");
        }
    }

    #[test]
    fn the_tier_that_an_answer_names_prices_the_call() {
        let cost = |payload: Value, count: Value| {
            let mut entry = entry();
            entry["request"]["outbound_payload"]["model"] = json!("gpt-5");
            entry["request"]["url"] = json!("https://api.openai.com/v1/chat/completions");
            entry["response"]["inbound_payload"] = payload;
            entry["response"]["token_count"] = count;
            of(&entry).unwrap().cost.map(|cost| cost.nano_usd)
        };
        let whole = |tier: &str| {
            json!({"model": "gpt-5", "service_tier": tier,
                "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}})
        };
        assert_eq!(cost(whole("default"), json!(null)), Some(2_250_000));
        assert_eq!(cost(whole("flex"), json!(null)), Some(1_125_000));
        assert_eq!(cost(whole("scale"), json!(null)), None, "paid in another way");
        let stream = r#"data: {"model":"gpt-5","choices":[{"delta":{"content":"a"}}],"service_tier":"priority"}"#;
        let counted = json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100});
        assert_eq!(cost(json!(format!("{stream}\n\n")), counted), Some(4_500_000), "counted by the gateway");
    }

    #[test]
    fn errors_have_their_class() {
        for (status, headers, class) in [
            (503, json!({"A": ["b"]}), ErrorClass::Overloaded),
            (429, json!({"A": ["b"]}), ErrorClass::RateLimited),
            (502, json!({}), ErrorClass::Unreachable),
        ] {
            let mut entry = entry();
            entry["response"]["inbound_status_code"] = json!(status);
            entry["response"]["inbound_headers"] = headers;
            entry["response"]["inbound_payload"] = json!({"error": "x"});
            assert_eq!(of(&entry).unwrap().class, CallClass::Error(class), "{status}");
        }
    }

    #[test]
    fn an_attempt_of_a_relay_is_no_call_of_its_own() {
        let mut relayed = entry();
        relayed["session_id"] = json!("R_1_0_0");
        assert_eq!(of(&relayed), None, "by its session");
        let mut through = entry();
        through["session_id"] = json!("Z3UQUIXY_1795913986229082810_2_0");
        through["transaction_id"] = json!("Z3UQUIXY_1795913986229082810_2_1");
        through["request"]["broker"] = json!(null);
        through["request"]["original_gl_path"] = json!("/azure/gpt4/");
        assert_eq!(of(&through), None, "through the gateway, whichever replica's");
        through["transaction_id"] = through["session_id"].clone();
        assert!(of(&through).is_some(), "a client's first call of a router");
        let mut direct = entry();
        direct["request"]["broker_call"] = json!({"class": "success"});
        assert_eq!(of(&direct), None, "past the gateway, by what the relay writes");
        let mut others = entry();
        others["session_id"] = json!("RX_1_0_0");
        assert!(of(&others).is_some());
    }
}
