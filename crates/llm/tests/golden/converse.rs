//! Converse: golden requests, answers, streams and errors, and what botocore's service model says to them.

use llm::event_stream;
use llm::translate::converse::{self, ConverseStream};
use llm::translate::{AnswerId, BrokenAnswer, ChatContext, StreamTranslator, TranslateError, Unsupported};
use serde_json::{Value, json};

use super::Golden;
use crate::botocore;

fn id() -> AnswerId {
    AnswerId { id: "chatcmpl-1".to_owned(), created: 1_796_000_000 }
}

fn unsupported(golden: &Golden) -> Unsupported {
    match golden.get("unsupported") {
        None | Some("drop") => Unsupported::Drop,
        Some("refuse") => Unsupported::Refuse,
        Some("pass") => Unsupported::Pass,
        Some(other) => panic!("{other}"),
    }
}

#[test]
fn requests() {
    for golden in Golden::all("converse/requests") {
        let request = golden.section("request").as_bytes();
        let made = match converse::request(request, unsupported(&golden)) {
            Ok(translated) => {
                let dropped: Vec<_> = translated.dropped.iter().map(ToString::to_string).collect();
                let body = String::from_utf8(translated.body).unwrap();
                serde_json::from_str::<Value>(&body).unwrap();
                let mut made = vec![("body", body)];
                if !dropped.is_empty() {
                    made.push(("dropped", dropped.join("\n")));
                }
                made
            }
            Err(error @ (TranslateError::Invalid { .. } | TranslateError::Unsupported(_))) => {
                vec![("error", error.to_string())]
            }
        };
        golden.expect(&["request", "unsupported"], &made);
    }
}

/// What the translation of the answer needs from the request of a golden file.
fn context(golden: &Golden) -> ChatContext {
    let default = r#"{"model":"nova","messages":[{"role":"user","content":"hi"}]}"#;
    let request = golden.get("request").unwrap_or(default);
    converse::request(request.as_bytes(), Unsupported::Drop).unwrap().answer
}

#[test]
fn answers() {
    for golden in Golden::all("converse/answers") {
        let made = match converse::answer(golden.section("answer").as_bytes(), &context(&golden), &id()) {
            Ok(made) => ("completion", String::from_utf8(made).unwrap()),
            Err(broken) => ("broken", broken.to_string()),
        };
        golden.expect(&["request", "answer"], &[made]);
    }
}

#[test]
fn errors() {
    for golden in Golden::all("converse/errors") {
        let status = golden.section("status").parse().unwrap();
        let made = converse::error(status, golden.get("x-amzn-errortype"), golden.section("answer").as_bytes());
        golden.expect(&["status", "x-amzn-errortype", "answer"], &[("error", String::from_utf8(made).unwrap())]);
    }
}

/// A frame as AWS writes it: text headers and a payload.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap());
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let size = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let mut frame = [size(16 + written.len() + payload.len()), size(written.len())].concat();
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(written);
    frame.extend_from_slice(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// The frames of lines such as `messageStop {"stopReason":"end_turn"}` and `exception throttlingException {"message":"…"}`.
pub(super) fn frames(lines: &str) -> Vec<u8> {
    let line = |line: &str| {
        if let Some(rest) = line.strip_prefix("exception ") {
            let (kind, payload) = rest.split_once(' ').unwrap();
            frame(
                &[(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")],
                payload.as_bytes(),
            )
        } else if let Some(rest) = line.strip_prefix("error ") {
            let (code, message) = rest.split_once(' ').unwrap();
            frame(&[(":error-code", code), (":error-message", message), (":message-type", "error")], b"")
        } else {
            let (kind, payload) = line.split_once(' ').unwrap();
            frame(
                &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
                payload.as_bytes(),
            )
        }
    };
    lines.lines().flat_map(line).collect()
}

pub(super) fn translate<'a>(
    context: ChatContext,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (String, Result<(), BrokenAnswer>, Option<llm::Usage>) {
    let (mut stream, mut out) = (ConverseStream::new(context, &id()), Vec::new());
    let mut result = Ok(());
    for piece in pieces {
        result = stream.push(piece, &mut out);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| stream.finish(&mut out));
    (String::from_utf8(out).unwrap(), result, stream.counts().usage().ok().flatten())
}

#[test]
fn streams() {
    for golden in Golden::all("converse/streams") {
        let bytes = frames(golden.section("events"));
        let (chunks, result, usage) = translate(context(&golden), [&bytes[..]]);
        for size in [1, 7, 100] {
            let cut = translate(context(&golden), bytes.chunks(size));
            assert_eq!(cut, (chunks.clone(), result, usage), "{} cut into pieces of {size}", golden.name());
        }
        let mut made = vec![("chunks", chunks.trim_end().to_owned())];
        if let Some(usage) = usage {
            made.push(("usage", serde_json::to_string(&usage).unwrap()));
        }
        if let Err(broken) = result {
            made.push(("broken", broken.to_string()));
        }
        golden.expect(&["request", "events"], &made);
    }
}

/// Whatever is cut off a stream or changed in it, the end never looks good.
#[test]
fn a_stream_that_is_cut_off_does_not_end_well() {
    for golden in Golden::all("converse/streams") {
        let bytes = frames(golden.section("events"));
        let (whole, result, _) = translate(context(&golden), [&bytes[..]]);
        if result.is_err() || !whole.contains("[DONE]") {
            continue;
        }
        let metadata = frames(golden.section("events").lines().last().unwrap()).len();
        for end in 0..bytes.len() {
            let (chunks, result, _) = translate(context(&golden), [&bytes[..end]]);
            let has_ended = end == bytes.len() - metadata;
            assert_eq!(result.is_ok() && chunks.contains("[DONE]"), has_ended, "{} cut at {end}", golden.name());
        }
    }
}

#[test]
fn the_translated_stream_is_one_that_this_crate_reads_as_such() {
    use llm::stream::{StreamEnd, StreamState};
    for golden in Golden::all("converse/streams") {
        let bytes = frames(golden.section("events"));
        let (chunks, result, _) = translate(context(&golden), [&bytes[..]]);
        let mut state = StreamState::new(llm::Protocol::OpenAiChat);
        state.push(chunks.as_bytes());
        let is_error =
            golden.section("events").lines().any(|line| line.starts_with("exception") || line.starts_with("error"));
        match state.finish() {
            StreamEnd::Complete => assert!(result.is_ok() && !is_error, "{}", golden.name()),
            StreamEnd::Failed(_) | StreamEnd::Truncated => assert!(result.is_err() || is_error, "{}", golden.name()),
        }
    }
}

#[test]
fn botocore_takes_every_request_that_we_make() {
    let bodies: Vec<Value> = Golden::all("converse/requests")
        .iter()
        .filter_map(|golden| Some(json!({"name": golden.name(), "body": golden.get("body")?})))
        .collect();
    assert!(bodies.len() > 15);
    let Some(faults) = botocore::ask("requests", &Value::from(bodies)) else { return };
    assert_eq!(faults, json!([]));
}

#[test]
fn botocore_reads_the_answers_and_streams_that_we_read() {
    let answers = Golden::all("converse/answers");
    let answers = answers.iter().filter(|golden| !golden.name().starts_with("broken"));
    let answers: Vec<Value> =
        answers.map(|golden| json!({"name": golden.name(), "body": golden.section("answer")})).collect();
    let streams = Golden::all("converse/streams");
    let streams = streams.iter().filter(|golden| !golden.name().starts_with("broken"));
    let streams: Vec<Value> = streams
        .map(|golden| {
            let events = golden.section("events");
            let hex = frames(events).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            json!({"name": golden.name(), "hex": hex, "events": events.lines().count()})
        })
        .collect();
    let Some(faults) = botocore::ask("answers", &json!({"answers": answers, "streams": streams})) else { return };
    assert_eq!(faults, json!([]));
}

#[test]
fn answers_that_botocores_model_makes_up_are_read() {
    let Some(Value::Array(made_up)) = botocore::ask("made_up", &json!(300)) else { return };
    assert_eq!(made_up.len(), 300);
    for case in made_up {
        let body = serde_json::to_vec(&case["body"]).unwrap();
        let translated = converse::answer(&body, &ChatContext::default(), &id());
        if case["broken"] == json!(true) {
            assert!(translated.is_err(), "{case:#}");
            continue;
        }
        let answer: Value = serde_json::from_slice(&translated.unwrap()).unwrap();
        let choice = &answer["choices"][0];
        assert_eq!(choice["message"]["content"], case["text"], "{case:#}");
        let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
        let calls: Vec<Value> = calls
            .iter()
            .map(|call| {
                let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                json!([call["id"], call["function"]["name"], arguments])
            })
            .collect();
        assert_eq!(json!(calls), case["calls"], "{case:#}");
        assert_eq!(choice["finish_reason"], case["finish"], "{case:#}");
        assert_eq!(answer["usage"]["total_tokens"], case["total"], "{case:#}");
        let usage = llm::usage::of_answer(&serde_json::to_vec(&answer).unwrap()).unwrap();
        assert_eq!(usage, llm::usage::of_answer(&body).unwrap(), "the usage means the same on both sides");
    }
}

#[test]
fn frames_that_a_test_writes_are_read() {
    let mut seen = Vec::new();
    let bytes = frames("messageStart {\"role\":\"assistant\"}");
    event_stream::Parser::default()
        .push(&bytes, |frame| seen.push((frame.text(":event-type").map(str::to_owned), frame.payload.to_vec())))
        .unwrap();
    assert_eq!(seen, [(Some("messageStart".to_owned()), b"{\"role\":\"assistant\"}".to_vec())]);
}

mod properties {
    use llm::translate::{ChatContext, StreamTranslator, Unsupported, converse};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{frame, id};

    /// Values that look like parts of a request, and some that do not.
    fn scrap() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!([])),
            Just(json!({})),
            Just(json!("")),
            any::<i8>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[a-z{}\"\\\\ \n]{0,8}".prop_map(Value::from),
            Just(
                json!([{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, 5])
            ),
            Just(json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}])),
        ]
    }

    fn message() -> impl Strategy<Value = Value> {
        let role =
            prop_oneof![Just("system"), Just("user"), Just("assistant"), Just("tool"), Just("developer"), Just("x")];
        let call = (0_u8..4, "[a-z. ]{0,5}", "[{}a\":1]{0,6}").prop_map(
            |(id, name, arguments)| json!({"id": format!("c{id}"), "function": {"name": name, "arguments": arguments}}),
        );
        let calls = prop::option::weighted(0.3, prop::collection::vec(call, 0..3));
        (role, scrap(), calls, 0_u8..4, scrap()).prop_map(|(role, content, calls, id, more)| {
            let mut message =
                json!({"role": role, "content": content, "tool_call_id": format!("c{id}"), "thinking_blocks": more});
            if role == "assistant"
                && let Some(calls) = calls
            {
                message["tool_calls"] = Value::from(calls);
            }
            message
        })
    }

    fn request() -> impl Strategy<Value = Value> {
        let names = [
            "tools",
            "tool_choice",
            "max_tokens",
            "temperature",
            "top_p",
            "stop",
            "response_format",
            "n",
            "seed",
            "x",
            "additionalModelRequestFields",
        ];
        let fields = prop::collection::vec((prop::sample::select(names.to_vec()), scrap()), 0..3);
        (prop::collection::vec(message(), 0..5), fields).prop_map(|(messages, fields)| {
            let mut request = json!({"model": "m", "messages": messages});
            for (name, value) in fields {
                request[name] = value;
            }
            request
        })
    }

    fn mode() -> impl Strategy<Value = Unsupported> {
        prop_oneof![Just(Unsupported::Drop), Just(Unsupported::Refuse), Just(Unsupported::Pass)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_translated_request_is_json_in_which_roles_alternate_and_calls_have_results(request in request(), mode in mode()) {
            let text = serde_json::to_vec(&request).unwrap();
            let Ok(translated) = converse::request(&text, mode) else { return Ok(()) };
            prop_assert!(mode != Unsupported::Refuse || translated.dropped.is_empty());
            let body: Value = serde_json::from_slice(&translated.body).unwrap();
            let turns = body["messages"].as_array().unwrap();
            let mut open: Vec<Value> = Vec::new();
            for (at, turn) in turns.iter().enumerate() {
                prop_assert!(at == 0 || turn["role"] != turns[at - 1]["role"], "{body:#}");
                let content = turn["content"].as_array().unwrap();
                prop_assert!(!content.is_empty());
                let ids = |kind: &str| content.iter().filter_map(|block| Some(block.get(kind)?["toolUseId"].clone())).collect::<Vec<_>>();
                prop_assert_eq!(&ids("toolResult"), &open, "{:#}", body);
                open = ids("toolUse");
                prop_assert!(open.is_empty() || body["toolConfig"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
            }
            prop_assert!(open.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, payload: Vec<u8>, kind in "[a-zA-Z]{0,18}", mode in mode()) {
            let _ = converse::request(&bytes, mode);
            let _ = converse::answer(&bytes, &ChatContext::default(), &id());
            let error: Value = serde_json::from_slice(&converse::error(500, None, &bytes)).unwrap();
            prop_assert!(error["error"]["message"].is_string());
            let mut stream = converse::ConverseStream::new(ChatContext::default(), &id());
            let _ = stream.push(&frame(&[(":message-type", "event"), (":event-type", &kind)], &payload), &mut Vec::new());
        }

        /// A request that is cut or changed anywhere is an error or a request, and never a panic.
        #[test]
        fn no_change_of_a_request_panics(request in request(), at: prop::sample::Index, byte: u8) {
            let mut text = serde_json::to_vec(&request).unwrap();
            let at = at.index(text.len());
            let _ = converse::request(&text[..at], Unsupported::Pass);
            text[at] = byte;
            let _ = converse::request(&text, Unsupported::Pass);
        }

        #[test]
        fn each_line_of_a_translated_stream_is_one_event(texts in prop::collection::vec(any::<String>(), 0..5)) {
            let mut bytes = Vec::new();
            for text in &texts {
                let payload = json!({"contentBlockIndex": 0, "delta": {"text": text}}).to_string();
                bytes.extend(frame(&[(":message-type", "event"), (":event-type", "contentBlockDelta")], payload.as_bytes()));
            }
            bytes.extend(frame(&[(":message-type", "event"), (":event-type", "messageStop")], b"{\"stopReason\":\"end_turn\"}"));
            let (chunks, result, _) = super::translate(ChatContext::default(), [&bytes[..]]);
            prop_assert_eq!(result, Ok(()));
            let mut said = String::new();
            for event in chunks.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n") {
                let chunk: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
                said += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            }
            prop_assert_eq!(said, texts.concat());
        }
    }
}

/// A request can hold any number of parts that cannot be taken.
#[test]
fn what_is_named_of_a_large_request_is_bounded() {
    const COUNT: usize = 2_000;
    let calls: Vec<Value> = (0..COUNT)
        .map(|at| json!({"id": format!("c{at}"), "function": {"name": format!("f.{at}"), "arguments": "{}"}}))
        .collect();
    let results = (0..COUNT).rev().map(|at| json!({"role": "tool", "tool_call_id": format!("c{at}"), "content": "1"}));
    let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}});
    let parts: Vec<Value> = (0..COUNT).flat_map(|_| [file.clone(), json!({"type": "x"})]).collect();
    let mut messages =
        vec![json!({"role": "user", "content": parts}), json!({"role": "assistant", "tool_calls": calls})];
    messages.extend(results);
    let mut request = json!({"model": "m", "messages": messages});
    for at in 0..1_000 {
        request[format!("x{at}")] = json!(1);
    }
    let text = serde_json::to_vec(&request).unwrap();
    let translated = converse::request(&text, Unsupported::Drop).unwrap();
    assert_eq!(translated.dropped.iter().count(), llm::translate::MAX_DROPPED);
    let body: Value = serde_json::from_slice(&translated.body).unwrap();
    assert_eq!(body["messages"][0]["content"].as_array().unwrap().len(), COUNT);
    let ids = |turn: usize, kind: &str| -> Vec<Value> {
        body["messages"][turn]["content"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block[kind]["toolUseId"].clone())
            .collect()
    };
    assert_eq!(ids(1, "toolUse").len(), COUNT);
    assert_eq!(ids(1, "toolUse"), ids(2, "toolResult"), "results stand in the order of the calls");
}
