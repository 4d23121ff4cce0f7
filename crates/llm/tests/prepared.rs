//! Requests as they go to each provider, and what becomes of the answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use llm::provider::{
    AnswerForm, AnswerId, ClientRequest, EndpointError, ModelFacts, Operation, PrepareError, Prepared, Provider,
    TargetModel, TargetSettings, prepare,
};
use llm::translate::{StreamTranslator, TranslateError, Unsupported};
use proptest::prelude::*;
use serde_json::{Value, json};

fn target(provider: Provider, settings: TargetSettings) -> TargetModel {
    TargetModel { provider, settings, unsupported: Unsupported::Drop }
}

fn aws() -> TargetSettings {
    TargetSettings { region: Some("eu-central-1".to_owned()), ..TargetSettings::default() }
}

fn google() -> TargetSettings {
    TargetSettings {
        project: Some("p".to_owned()),
        location: Some("europe-west1".to_owned()),
        ..TargetSettings::default()
    }
}

fn sent<'a>(target: &TargetModel, path: &'a str, body: &'a str) -> Result<Prepared<'a>, PrepareError> {
    let operation = Operation::of_path(path);
    let request =
        ClientRequest { operation, path, body: body.as_bytes(), anthropic_version: None, anthropic_beta: Vec::new() };
    prepare(target, &request, |_| ModelFacts::default())
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

const CHAT: &str = r#"{"model": "MODEL", "messages": [{"role":"user","content":"hi"}], "stream": true, "seed": 1}"#;

#[test]
fn a_request_in_the_targets_own_protocol_passes_byte_for_byte() {
    let body = CHAT.replace("MODEL", "gpt-4o");
    let compatible = TargetSettings { base: Some("https://h/v1".to_owned()), ..TargetSettings::default() };
    for (provider, settings, form) in [
        (Provider::OpenAi, TargetSettings::default(), AnswerForm::OpenAi),
        (
            Provider::Azure,
            TargetSettings { resource: Some("r".to_owned()), ..TargetSettings::default() },
            AnswerForm::OpenAi,
        ),
        (Provider::OpenAiCompatible, compatible, AnswerForm::OpenAiUnwrapped),
    ] {
        let prepared = sent(&target(provider, settings), "chat/completions", &body).unwrap();
        assert_eq!(text(&prepared.body), body, "{provider:?}");
        assert_eq!((prepared.answer, prepared.dropped.total()), (form, 0));
    }
    let body = CHAT.replace("MODEL", "claude-opus-4-6");
    let prepared = sent(&target(Provider::Anthropic, TargetSettings::default()), "v1/messages", &body).unwrap();
    assert_eq!((text(&prepared.body), prepared.answer), (body.as_str(), AnswerForm::Messages));
    assert_eq!(prepared.endpoint.url, "https://api.anthropic.com/v1/messages");
}

/// Bedrock reads in the body what Anthropic's own API reads in headers.
#[test]
fn what_a_client_says_in_anthropic_beta_is_in_the_body_for_bedrock() {
    for (headers, own, sent) in [
        (&[][..], "", ""),
        (&["", " , "], "", ""),
        (&["context-1m-2025-08-07"], "", r#","anthropic_beta":["context-1m-2025-08-07"]"#),
        (&["a, b ,", "c"], "", r#","anthropic_beta":["a","b","c"]"#),
        (&["a\"b"], "", r#","anthropic_beta":["a\"b"]"#),
        (&["a"], r#","anthropic_beta":["own"]"#, r#","anthropic_beta":["own"]"#),
        (&["a"], r#","anthropic_beta":null"#, r#","anthropic_beta":["a"]"#),
    ] {
        for (provider, settings, model) in [
            (Provider::Bedrock, aws(), "anthropic.claude-opus-4-6-v1:0"),
            (Provider::Vertex, google(), "claude-opus-4-6"),
            (Provider::Anthropic, TargetSettings::default(), "claude-opus-4-6"),
        ] {
            for (path, is_translated) in [("v1/messages", false), ("v1/chat/completions", true)] {
                let body = format!(
                    r#"{{"model":"{model}","max_tokens":9,"messages":[{{"role":"user","content":"a"}}]{own}}}"#
                );
                let operation = Operation::of_path(path);
                let request = ClientRequest {
                    operation,
                    path,
                    body: body.as_bytes(),
                    anthropic_version: None,
                    anthropic_beta: headers.to_vec(),
                };
                let prepared =
                    prepare(&target(provider, settings.clone()), &request, |_| ModelFacts::default()).unwrap();
                let json: Value = serde_json::from_slice(&prepared.body).unwrap();
                let expected = match provider {
                    _ if is_translated => json!({}),
                    Provider::Bedrock => {
                        serde_json::from_str(&format!("{{{}}}", sent.trim_start_matches(','))).unwrap()
                    }
                    _ => serde_json::from_str(&format!("{{{}}}", own.trim_start_matches(','))).unwrap(),
                };
                assert_eq!(
                    json.get("anthropic_beta"),
                    expected.get("anthropic_beta"),
                    "{provider:?} {path} {headers:?} {own}"
                );
            }
        }
    }
}

#[test]
fn each_provider_gets_its_own_address_and_form() {
    for (provider, settings, model, url, form) in [
        (
            Provider::Anthropic,
            TargetSettings::default(),
            "claude-opus-4-6",
            "https://api.anthropic.com/v1/messages",
            "Anthropic",
        ),
        (
            Provider::Bedrock,
            aws(),
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
            "Anthropic",
        ),
        (
            Provider::Bedrock,
            aws(),
            "meta.llama3-70b-instruct-v1:0",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/meta.llama3-70b-instruct-v1%3A0/converse-stream",
            "Converse",
        ),
        (
            Provider::Vertex,
            google(),
            "claude-sonnet-4-5@20250929",
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict",
            "Anthropic",
        ),
        (
            Provider::Vertex,
            google(),
            "gemini-2.5-pro",
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/endpoints/openapi/chat/completions",
            "OpenAiUnwrapped",
        ),
        (
            Provider::Gemini,
            TargetSettings::default(),
            "gemini-2.5-pro",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            "OpenAiUnwrapped",
        ),
        (Provider::Ollama, TargetSettings::default(), "llama3", "http://localhost:11434/v1/chat/completions", "OpenAi"),
    ] {
        let body = CHAT.replace("MODEL", model);
        let prepared = sent(&target(provider, settings), "v1/chat/completions", &body).unwrap();
        assert_eq!(prepared.endpoint.url, url);
        assert!(format!("{:?}", prepared.answer).starts_with(form), "{model}: {:?}", prepared.answer);
        let made: Value = serde_json::from_slice(&prepared.body).unwrap();
        if form == "Anthropic" {
            assert!(made["max_tokens"].is_u64(), "{made}");
            assert_eq!(prepared.dropped.iter().next().map(ToString::to_string).as_deref(), Some("seed"));
        }
        if (provider, form) == (Provider::Vertex, "OpenAiUnwrapped") {
            assert_eq!(made["model"], "google/gemini-2.5-pro");
        }
    }
}

#[test]
fn the_protocol_stays_and_only_its_envelope_changes() {
    let body = r#"{"model":"anthropic.claude-opus-4-6-v1:0","max_tokens":9,"stream":true,"messages":[]}"#;
    let prepared = sent(&target(Provider::Bedrock, aws()), "v1/messages", body).unwrap();
    assert_eq!(text(&prepared.body), r#"{"max_tokens":9,"messages":[],"anthropic_version":"bedrock-2023-05-31"}"#);
    assert_eq!(prepared.answer, AnswerForm::FramedMessages);
    let body = r#"{"model":"claude-opus-4-6","max_tokens":9,"stream":true,"messages":[]}"#;
    let prepared = sent(&target(Provider::Vertex, google()), "v1/messages", body).unwrap();
    assert_eq!(
        text(&prepared.body),
        r#"{"max_tokens":9,"stream":true,"messages":[],"anthropic_version":"vertex-2023-10-16"}"#
    );
    let (anthropic, request) = (
        target(Provider::Anthropic, TargetSettings::default()),
        ClientRequest {
            operation: Operation::Messages,
            path: "v1/messages",
            body: body.as_bytes(),
            anthropic_version: Some("2026-10-21"),
            anthropic_beta: Vec::new(),
        },
    );
    let headers = prepare(&anthropic, &request, |_| ModelFacts::default()).unwrap().endpoint.headers;
    assert!(headers.contains(&("anthropic-version", "2026-10-21".to_owned())), "the client's own: {headers:?}");
}

#[test]
fn what_a_target_does_not_have_is_said_and_is_no_fault_of_its() {
    let anthropic = target(Provider::Anthropic, TargetSettings::default());
    let embeddings = sent(&anthropic, "v1/embeddings", r#"{"model":"m","input":"a"}"#);
    assert!(matches!(embeddings, Err(PrepareError::Endpoint(_))), "{embeddings:?}");
    let refusing = TargetModel { unsupported: Unsupported::Refuse, ..anthropic.clone() };
    let refused = sent(&refusing, "v1/chat/completions", CHAT);
    assert!(matches!(refused, Err(PrepareError::Translate(TranslateError::Unsupported(_)))), "{refused:?}");
    let invalid = sent(&anthropic, "v1/chat/completions", r#"{"model":"m","messages":7}"#);
    assert!(matches!(invalid, Err(PrepareError::Translate(TranslateError::Invalid { .. }))), "{invalid:?}");
}

#[test]
fn what_asks_for_nothing_is_neither_refused_nor_named() {
    let chat = |fields: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{fields}}}"#);
    let nothing = chat(
        r#""n":1,"seed":null,"frequency_penalty":0,"presence_penalty":0.0,"store":false,"logprobs":false,"top_logprobs":0,"logit_bias":{},"parallel_tool_calls":true,"service_tier":"auto","modalities":["text"],"web_search_options":null"#,
    );
    let something = chat(r#""web_search_options":{},"logit_bias":{"1":2},"store":true"#);
    for provider in [Provider::Gemini, Provider::Ollama, Provider::Anthropic] {
        let target = |unsupported| TargetModel { unsupported, ..target(provider, TargetSettings::default()) };
        for unsupported in [Unsupported::Drop, Unsupported::Refuse] {
            let prepared = sent(&target(unsupported), "v1/chat/completions", &nothing).unwrap();
            assert!(prepared.dropped.is_empty(), "{provider:?}");
            let made: Value = serde_json::from_slice(&prepared.body).unwrap();
            assert!(made.get("store").is_none() && made.get("logit_bias").is_none(), "{provider:?}: {made}");
        }
        let prepared = sent(&target(Unsupported::Drop), "v1/chat/completions", &something).unwrap();
        let dropped: Vec<_> = prepared.dropped.iter().map(ToString::to_string).collect();
        assert_eq!(dropped, ["web_search_options", "logit_bias", "store"], "{provider:?}");
        let refused = sent(&target(Unsupported::Refuse), "v1/chat/completions", &something);
        assert!(refused.unwrap_err().to_string().contains("`web_search_options`"), "{provider:?}");
    }
}

#[test]
fn a_refusal_is_what_the_assistant_said_or_is_named() {
    let anthropic = target(Provider::Anthropic, TargetSettings::default());
    for (fields, said, dropped) in [
        (r#""content":null,"refusal":"no""#, "no", &[][..]),
        (r#""refusal":"no""#, "no", &[]),
        (r#""content":"","refusal":"no""#, "no", &[]),
        (r#""content":"yes","refusal":"no""#, "yes", &["messages[1].refusal"]),
        (r#""content":"yes","refusal":null"#, "yes", &[]),
        (r#""content":"yes","refusal":"""#, "yes", &[]),
        (r#""content":[{"type":"refusal","refusal":"no"}]"#, "no", &[]),
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"a"}},{{"role":"assistant",{fields}}},{{"role":"user","content":"b"}}]}}"#
        );
        let prepared = sent(&anthropic, "v1/chat/completions", &body).unwrap();
        let made: Value = serde_json::from_slice(&prepared.body).unwrap();
        assert_eq!(made["messages"][1]["content"][0]["text"], said, "{fields}");
        let names: Vec<_> = prepared.dropped.iter().map(ToString::to_string).collect();
        assert_eq!(names, dropped, "{fields}");
    }
}

#[test]
fn more_tools_than_anyone_takes_are_refused_before_they_are_read() {
    let tools = |count: usize| {
        let tools: Vec<_> =
            (0..count).map(|number| format!(r#"{{"type":"function","function":{{"name":"t{number}"}}}}"#)).collect();
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"tools":[{}]}}"#, tools.join(","))
    };
    let anthropic = target(Provider::Anthropic, TargetSettings::default());
    assert!(sent(&anthropic, "v1/chat/completions", &tools(4_096)).is_ok());
    let refused = sent(&anthropic, "v1/chat/completions", &tools(4_097)).unwrap_err();
    assert!(refused.to_string().contains("more than 4096"), "{refused}");
}

/// A frame as AWS writes it.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.as_bytes());
        head.push(7);
        head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend(value.as_bytes());
    }
    let total = u32::try_from(16 + head.len() + payload.len()).unwrap();
    let mut frame = [total.to_be_bytes(), u32::try_from(head.len()).unwrap().to_be_bytes()].concat();
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn chunk(event: &str) -> Vec<u8> {
    let payload = format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode(event));
    frame(&[(":message-type", "event"), (":event-type", "chunk")], payload.as_bytes())
}

fn translated(mut translator: Box<dyn StreamTranslator>, bytes: &[u8], size: usize) -> String {
    let mut out = Vec::new();
    for part in bytes.chunks(size) {
        if translator.passes(part) {
            out.extend_from_slice(part);
        } else {
            translator.push(part, &mut out).unwrap();
        }
    }
    translator.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const EVENTS: [&str; 6] = [
    r#"{"type":"message_start","message":{"id":"msg_1","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
    r#"{"type":"message_stop"}"#,
];

#[test]
fn streams_in_frames_are_the_same_as_streams_of_events() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let framed: Vec<u8> = EVENTS.iter().flat_map(|event| chunk(event)).collect();
    let events: String = EVENTS
        .iter()
        .map(|event| {
            let kind: Value = serde_json::from_str(event).unwrap();
            format!("event: {}\ndata: {event}\n\n", kind["type"].as_str().unwrap())
        })
        .collect();
    let messages = || AnswerForm::FramedMessages.stream(&id).unwrap();
    let chat = |is_framed| AnswerForm::Anthropic { context: Default::default(), is_framed }.stream(&id).unwrap();
    for size in [1, 7, 64, 10_000] {
        assert_eq!(translated(messages(), &framed, size), events);
        assert_eq!(translated(chat(true), &framed, size), translated(chat(false), events.as_bytes(), size));
    }
    assert!(translated(chat(true), &framed, 64).contains("Hello"));
}

#[test]
fn a_stream_says_why_it_was_refused_as_a_whole_answer_does() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let form = AnswerForm::Anthropic { context: Default::default(), is_framed: false };
    let stop = |details: &str| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"refusal","stop_details":{details}}},"usage":{{"output_tokens":2}}}}"#
        )
    };
    let deltas = |events: &[&str]| {
        let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let chunks = translated(form.stream(&id).unwrap(), events.as_bytes(), 7);
        let chunks = chunks.split("\n\n").filter_map(|chunk| serde_json::from_str(chunk.strip_prefix("data: ")?).ok());
        chunks.map(|chunk: Value| chunk["choices"][0].clone()).collect::<Vec<_>>()
    };
    let refused = stop(r#"{"type":"refusal","category":"cyber","explanation":"It \"may\" harm."}"#);
    let [start, block, text, end, _, stopped] = EVENTS;
    for events in [&[start, block, text, end, &refused, stopped][..], &[start, &refused, stopped]] {
        let choices = deltas(events);
        let last = choices.last().unwrap();
        assert_eq!(last["delta"]["refusal"], "It \"may\" harm.", "{choices:?}");
        assert_eq!(last["finish_reason"], "content_filter");
    }
    for details in ["null", r#"{"type":"refusal","explanation":null}"#] {
        let choices = deltas(&[start, &stop(details), stopped]);
        assert!(choices.iter().all(|choice| choice["delta"].get("refusal").is_none()), "{choices:?}");
    }
}

#[test]
fn an_exception_within_a_stream_is_an_error_in_the_clients_protocol() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let exception = frame(
        &[(":message-type", "exception"), (":exception-type", "throttlingException")],
        br#"{"message":"Too many tokens"}"#,
    );
    let bytes = [chunk(EVENTS[0]), exception].concat();
    let events = translated(AnswerForm::FramedMessages.stream(&id).unwrap(), &bytes, 5);
    assert!(events.contains("event: error\ndata: {") && events.contains("rate_limit_error"), "{events}");
    let form = AnswerForm::Anthropic { context: Default::default(), is_framed: true };
    let chunks = translated(form.stream(&id).unwrap(), &bytes, 5);
    assert!(chunks.contains(r#"data: {"error":{"#) && chunks.contains("Too many tokens"), "{chunks}");
}

#[test]
fn an_error_in_the_middle_of_googles_stream_comes_out_of_its_array() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let error = r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#;
    let unwrapped = format!("data: {error}\n\n");
    for (event, expected) in [
        (format!("data: [{error}]\n\n"), unwrapped.as_str()),
        (format!("data:[ {error} , 5]\r\n\r\n"), &unwrapped),
        (format!("data: [{error}\ndata: ]\n\n"), &unwrapped),
        (format!("data: [\ndata: {error}\ndata: ]\n\n"), &unwrapped),
        (format!("data: [{error}]"), &unwrapped),
        (format!("event: error\ndata: [{error}]\n\n"), &format!("event: error\n{unwrapped}")),
        ("data: [{\"error\":\ndata: {\"code\": 503}}]\n\n".to_owned(), "data: {\"error\":\ndata: {\"code\": 503}}\n\n"),
    ] {
        let stream = format!(": hello\n{chunk}\n{chunk}{event}");
        for size in [1, 2, 7, 64, 10_000] {
            let got = translated(AnswerForm::OpenAiUnwrapped.stream(&id).unwrap(), stream.as_bytes(), size);
            assert_eq!(got, format!(": hello\n{chunk}\n{chunk}{expected}"), "{size} {event}");
        }
    }
}

#[test]
fn what_is_no_error_of_googles_is_not_even_copied() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"[{\"}}]}\n\n";
    let mut stream = AnswerForm::OpenAiUnwrapped.stream(&id).unwrap();
    for part in [chunk, &chunk[..30], &chunk[30..], ": ping\n\n", "event: x\r\n", chunk, "", "data: [DONE]\n\n"] {
        assert!(stream.passes(part.as_bytes()), "{part:?}");
    }
    for part in ["data: [{\"error\":", "{}}]\n\n"] {
        assert!(!stream.passes(part.as_bytes()), "{part:?}");
        stream.push(part.as_bytes(), &mut Vec::new()).unwrap();
    }
    assert!(stream.passes(chunk.as_bytes()), "behind the error");
    assert!(!AnswerForm::Anthropic { context: Default::default(), is_framed: false }.stream(&id).unwrap().passes(b""));
}

proptest! {
    /// All else passes byte for byte.
    #[test]
    fn googles_streams_pass(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data: [DONE]\n\n", "data: {\"a\":[{\"error\":1}]}\n\n", "data: [{\"candidates\":[]}]\n\n", "data: [{\"error\":", "data: [ \n",
            "\n", "\r\n", "\r", "data", "data:", " ", "[", "{", ": ping\n\n", "event: x\n", "\u{feff}", "[{\"error\":{}}]\n\n", "é",
        ]), 0..12),
        size in 1_usize..40,
    ) {
        let stream = parts.concat();
        prop_assume!(!stream.contains("data: [{\"error\":{\"error\"") && !stream.contains("[{\"error\":{}}]"));
        let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
        prop_assert_eq!(translated(AnswerForm::OpenAiUnwrapped.stream(&id).unwrap(), stream.as_bytes(), size), stream);
    }
}

#[test]
fn an_array_that_is_too_long_passes() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let long = format!("data: [{{\"a\":\"{}\"}}]\n\n", "x".repeat(100_000));
    let mut stream = AnswerForm::OpenAiUnwrapped.stream(&id).unwrap();
    let mut out = Vec::new();
    for part in long.as_bytes().chunks(1_000).take(90) {
        stream.push(part, &mut out).unwrap();
    }
    assert!(out.len() > 60_000, "no more than 64 KB are kept: {}", out.len());
    assert_eq!(translated(AnswerForm::OpenAiUnwrapped.stream(&id).unwrap(), long.as_bytes(), 1_000), long);
}

#[test]
fn clients_of_anthropics_api_get_errors_in_its_form() {
    let malformed = br#"{"message":"Malformed input"}"#;
    let denied = br#"{"Message":"User: arn:aws:iam::1:user/x is not authorized"}"#;
    let google = br#"[{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}]"#;
    let page = b"<html><body>Service Unavailable</body></html>";
    for form in [AnswerForm::Messages, AnswerForm::FramedMessages] {
        for (status, body, kind, message) in [
            (400, &malformed[..], "invalid_request_error", "Malformed input"),
            (403, denied, "permission_error", "User: arn:aws:iam::1:user/x is not authorized"),
            (429, google, "rate_limit_error", "Quota exceeded"),
            (503, page, "overloaded_error", "the model answered with status 503"),
            (502, b"", "api_error", "the model answered with status 502"),
            (408, b"{}", "timeout_error", "the model answered with status 408"),
            (418, b"[]", "invalid_request_error", "the model answered with status 418"),
            (401, br#"{"error":{"message":"no","type":"x"}}"#, "authentication_error", "no"),
            (500, br#"{"error":{"type":"overloaded_error","message":"busy"}}"#, "overloaded_error", "busy"),
            (500, br#"{"type":"error","error":"busy"}"#, "api_error", "busy"),
        ] {
            let error: Value = serde_json::from_slice(&form.error(status, None, body).unwrap()).unwrap();
            assert_eq!(error, json!({"type": "error", "error": {"type": kind, "message": message}}), "{status}");
        }
        let own =
            br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        assert_eq!(form.error(529, None, own), None, "it passes as it is");
        assert_eq!(form.error(304, None, b""), None, "no error");
    }
}

#[test]
fn a_body_that_is_no_json_is_the_clients_mistake_whatever_the_target_is() {
    for (provider, settings) in
        [(Provider::Bedrock, aws()), (Provider::Vertex, google()), (Provider::Anthropic, TargetSettings::default())]
    {
        for path in ["v1/messages", "v1/chat/completions", "v1/embeddings"] {
            // Anthropic and Vertex' OpenAI-shaped endpoint say themselves what is wrong; embeddings are Bedrock's alone.
            let passes = [(Provider::Anthropic, "v1/messages"), (Provider::Vertex, "v1/chat/completions")];
            if passes.contains(&(provider, path)) || (path == "v1/embeddings" && provider != Provider::Bedrock) {
                continue;
            }
            for body in ["no json", "", "[]", "{\"model\":"] {
                let refused = sent(&target(provider, settings.clone()), path, body);
                assert!(
                    matches!(&refused, Err(PrepareError::Translate(TranslateError::Invalid { param, .. })) if param == "body"),
                    "{provider:?} {path} {body}: {refused:?}"
                );
            }
        }
    }
    let bedrock = target(Provider::Bedrock, aws());
    let nameless = sent(&bedrock, "v1/messages", r#"{"max_tokens":1,"messages":[]}"#);
    assert!(matches!(nameless, Err(PrepareError::Endpoint(EndpointError::InvalidModel))), "{nameless:?}");
    let other = sent(&bedrock, "v1/messages", r#"{"model":"amazon.nova-pro-v1:0","messages":[]}"#);
    assert!(matches!(other, Err(PrepareError::Endpoint(EndpointError::Unsupported { .. }))), "{other:?}");
}

#[test]
fn whole_answers_and_errors_come_in_the_clients_form() {
    let id = AnswerId { id: "chatcmpl-1".to_owned(), created: 7 };
    let form = AnswerForm::Anthropic { context: Default::default(), is_framed: false };
    let answer = br#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":1}}"#;
    let whole: Value = serde_json::from_str(&translated(form.whole(&id, None).unwrap(), answer, 9)).unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "hi");
    assert!(form.whole(&id, None).unwrap().finish(&mut Vec::new()).is_err(), "cut off");
    assert!(AnswerForm::OpenAi.whole(&id, None).is_none() && AnswerForm::OpenAi.stream(&id).is_none());
    let refused = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let error: Value = serde_json::from_str(&translated(form.whole(&id, None).unwrap(), refused, 9)).unwrap();
    assert_eq!(error["error"]["message"], "Overloaded", "an error with a good status is an error");
    let wrapped = br#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]"#;
    let unwrapped = AnswerForm::OpenAi.error(429, None, wrapped).unwrap();
    assert!(text(&unwrapped).starts_with("{\"error\""));
    let bedrock = AnswerForm::Anthropic { context: Default::default(), is_framed: true };
    let error = bedrock.error(429, Some("ThrottlingException"), br#"{"message":"slow down"}"#).unwrap();
    assert!(text(&error).contains("rate_limit_error"), "{}", text(&error));
}
