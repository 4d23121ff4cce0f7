//! Streams as vendors send them, whole and cut, good and bad.

use std::time::Duration;

use llm::headers::AnswerHeaders;
use llm::prices::ServiceTier;
use llm::retry_after::retry_after;
use llm::stream::{Progress, StreamEnd, StreamState};
use llm::{ErrorClass, Protocol, Usage};
use proptest::prelude::*;
use serde_json::Value;
use types::outcome::RetryAfter;

const CHAT: &str = include_str!("fixtures/openai_chat.sse");
const TOOL_CALL: &str = include_str!("fixtures/openai_tool_call.sse");
const AZURE: &str = include_str!("fixtures/azure_chat.sse");
const RESPONSES: &str = include_str!("fixtures/openai_responses.sse");
const ANTHROPIC: &str = include_str!("fixtures/anthropic.sse");
const GEMINI: &str = include_str!("fixtures/gemini.sse");

/// A stream, the protocol it shows, the number of events before its content, and what it used.
fn good() -> [(&'static str, Protocol, usize, Option<Usage>); 6] {
    let none = Usage::default();
    let chat = Usage { input_uncached: 86, cache_read: 1920, output: 300, reasoning: 64, ..none };
    let responses = Usage { input_uncached: 30, cache_read: 7, output: 11, reasoning: 4, ..none };
    let anthropic =
        Usage { input_uncached: 25, cache_read: 1000, cache_write: 100, cache_write_1h: 40, output: 15, ..none };
    let gemini = Usage { input_uncached: 5, cache_read: 3, output: 127, reasoning: 122, ..none };
    [
        (CHAT, Protocol::OpenAiChat, 1, Some(chat)),
        (TOOL_CALL, Protocol::OpenAiChat, 1, None),
        (AZURE, Protocol::OpenAiChat, 2, None),
        (RESPONSES, Protocol::OpenAiResponses, 4, Some(responses)),
        (ANTHROPIC, Protocol::Anthropic, 3, Some(anthropic)),
        (GEMINI, Protocol::Gemini, 1, Some(gemini)),
    ]
}

/// The events of a stream, each with its empty line.
fn events(stream: &str) -> Vec<&str> {
    stream.split_inclusive("\n\n").collect()
}

#[test]
fn good_streams() {
    for (stream, protocol, preamble, usage) in good() {
        let mut state = StreamState::new(Protocol::Generic);
        for (number, event) in events(stream).into_iter().enumerate() {
            let expected = if number < preamble { Progress::Preamble } else { Progress::Content };
            assert_eq!(state.push(event.as_bytes()), expected, "{event}");
        }
        assert!(state.has_ended());
        assert_eq!(state.protocol(), protocol);
        assert_eq!(state.usage(), Ok(usage), "{protocol:?}");
        assert_eq!((state.finish(), state.error()), (StreamEnd::Complete, None), "{protocol:?}");
    }
}

#[test]
fn s1_3_an_error_after_any_part_of_the_preamble_and_after_content() {
    for (error, class) in [
        (
            "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n",
            ErrorClass::Overloaded,
        ),
        (
            "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n",
            ErrorClass::ServerError,
        ),
        ("data:{\"id\":1,\"choices\":[],\"error\":\"boom\"}\r\n\r\n", ErrorClass::ServerError),
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            ErrorClass::Overloaded,
        ),
        ("event:error\rdata:\"text\"\r\r", ErrorClass::ServerError),
        (
            "data: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"x\"}}\n\n",
            ErrorClass::RateLimited,
        ),
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\",\"message\":\"You exceeded your current quota\"}}\n\n",
            ErrorClass::QuotaExhausted,
        ),
        (
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"param\":null,\"sequence_number\":2}\n\n",
            ErrorClass::ServerError,
        ),
        (
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}}\n\n",
            ErrorClass::RateLimited,
        ),
        (
            "data: {\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n",
            ErrorClass::RateLimited,
        ),
        ("data: [{\"error\":{\"code\":503,\"message\":\"x\",\"status\":\"UNAVAILABLE\"}}]\n\n", ErrorClass::Overloaded),
        (
            "data: {\"error\":{\"code\":502,\"message\":\"Provider returned error\"},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
            ErrorClass::ServerError,
        ),
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\",\"error\":{\"code\":429,\"message\":\"x\"}}]}\n\n",
            ErrorClass::RateLimited,
        ),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n", ErrorClass::ServerError),
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"insufficient_system_resource\"}]}\n\n",
            ErrorClass::Overloaded,
        ),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"network_error\"}]}\n\n", ErrorClass::ServerError),
        ("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"abort\"}]}\n\n", ErrorClass::ServerError),
        (
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}],\"x_groq\":{\"id\":\"req_1\",\"error\":\"over capacity\"}}\n\n",
            ErrorClass::ServerError,
        ),
        (
            "data: {\"choices\":[],\"x_groq\":{\"id\":\"req_1\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}}\n\n",
            ErrorClass::RateLimited,
        ),
        ("event: thread.run.expired\ndata: {\"object\":\"thread.run\",\"last_error\":null}\n\n", ErrorClass::TimedOut),
        (
            "event: conversation.response.error\ndata: {\"type\":\"conversation.response.error\",\"message\":\"x\",\"code\":429}\n\n",
            ErrorClass::RateLimited,
        ),
        (
            "data: {\"object\":\"error\",\"message\":\"x\",\"type\":\"InternalServerError\",\"param\":null,\"code\":503}\n\n",
            ErrorClass::Overloaded,
        ),
        (
            "event:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling\",\"message\":\"x\",\"request_id\":\"1\"}\n\n",
            ErrorClass::RateLimited,
        ),
        (
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}\n\n",
            ErrorClass::ServerError,
        ),
        (
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TIMEOUT\"}}\n\n",
            ErrorClass::TimedOut,
        ),
        ("data: {\"error\":\"Model is overloaded\",\"error_type\":\"overloaded\"}\n\n", ErrorClass::Overloaded),
        (
            "data: {\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}\n\n",
            ErrorClass::Overloaded,
        ),
        (
            "data: {\"error\":{\"message\":\"you (me) have reached your weekly usage limit, upgrade for higher limits: x\",\"type\":\"api_error\"}}\n\n",
            ErrorClass::QuotaExhausted,
        ),
        (
            "data: {\"error\":{\"message\":\"too many concurrent requests\",\"type\":\"api_error\"}}\n\n",
            ErrorClass::RateLimited,
        ),
        (
            "event: thread.run.failed\ndata: {\"object\":\"thread.run\",\"last_error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}\n\n",
            ErrorClass::RateLimited,
        ),
    ] {
        for (stream, _, preamble, _) in good() {
            for before in 0..=preamble {
                let mut state = StreamState::new(Protocol::Generic);
                for event in events(stream).into_iter().take(before) {
                    state.push(event.as_bytes());
                }
                assert_eq!(state.push(error.as_bytes()), Progress::Failed(class), "{error} after {before} of {stream}");
                assert_eq!(state.finish(), StreamEnd::Failed(class));
            }
            let mut state = StreamState::new(Protocol::Generic);
            for event in events(stream).into_iter().take(preamble + 1) {
                state.push(event.as_bytes());
            }
            assert_eq!(state.push(error.as_bytes()), Progress::Content, "{error}: the content has been passed on");
            assert_eq!((state.error(), state.finish()), (Some(class), StreamEnd::Failed(class)), "{error}");
        }
    }
}

#[test]
fn s1_2_text_is_not_protocol() {
    let texts = [
        "event: error",
        "event: error\ndata: {\"error\": {}}",
        "\"error\"",
        "{\"error\":{\"code\":503}}",
        "[DONE]",
        "data: [DONE]\n\n",
        "response.failed",
        "\r\nevent: error\r\n\r\n",
    ];
    for text in texts {
        let json = Value::from(text).to_string();
        for event in [
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{json}}}}}]}}\n\n"),
            format!("data: {{\"choices\":[{{\"text\":{json},\"error\":null}}],\"error\":null}}\n\n"),
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"function\":{{\"name\":\"error\",\"arguments\":{json}}}}}]}}}}]}}\n\n"
            ),
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":{json}}}}}\n\n"
            ),
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":{json}}}\n\n"
            ),
            format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":{json}}}]}}}}]}}\n\n"),
            format!("data: {{\"token\":{{\"text\":{json}}}}}\n\n"),
            format!("data: {json}\n\n"),
            format!("event: errors\ndata: {json}\n\n"),
        ] {
            let mut state = StreamState::new(Protocol::Generic);
            assert_eq!(state.push(event.as_bytes()), Progress::Content, "{event}");
            assert_eq!((state.error(), state.has_ended()), (None, false), "{event}");
        }
    }
}

#[test]
fn what_content_is() {
    for (event, content) in [
        (r#"{"choices":[{"delta":{"role":"assistant"}}]}"#, false),
        (r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[],"refusal":null}}]}"#, false),
        (
            r#"{"choices":[{"delta":{"content":"","provider_specific_fields":{"a":"b"},"annotations":[{"type":"x"}]}}]}"#,
            false,
        ),
        (r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#, true),
        (r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#, true),
        (r#"{"choices":[{"delta":{"refusal":"I can't"}}]}"#, true),
        (r#"{"choices":[{"delta":{"audio":{"id":"a","data":"AA"}}}]}"#, true),
        (r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#, true),
        (r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}"#, true),
        (r#"{"choices":[{"text":"a","index":0}]}"#, true),
        (r#"{"choices":[{"text":"","index":0}]}"#, false),
        (r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}"#, false),
        (r#"{"usage":{"prompt_tokens":1,"completion_tokens":0}}"#, false),
        (
            r#"{"id":"x","model":"m","provider":"p","created":1,"usage":{"prompt_tokens":1,"completion_tokens":0}}"#,
            false,
        ),
        (r#"{"x_groq":{"id":"r","usage":{"prompt_tokens":1,"completion_tokens":0}}}"#, false),
        // Cloudflare.
        (r#"{"response":"","usage":{"prompt_tokens":1,"completion_tokens":0}}"#, false),
        (r#"{"response":"a","usage":{"prompt_tokens":1,"completion_tokens":0}}"#, true),
        (r#"{"id":"x","object":"chat.completion.chunk"}"#, false),
        ("{}", false),
        (r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":""}}"#, false),
        (r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#, true),
        (r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"x"}}"#, true),
        (r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":""}}"#, false),
        (r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}"#, true),
        (r#"{"type":"ping"}"#, false),
        (r#"{"type":"keepalive","sequence_number":3}"#, false),
        (r#"{"type":"response.queued","response":{"status":"queued"}}"#, false),
        (r#"{"type":"response.output_item.added","item":{"type":"reasoning","summary":[]}}"#, false),
        (r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}"#, true),
        (r#"{"type":"response.reasoning_summary_text.delta","delta":"hm"}"#, true),
        (r#"{"type":"response.output_text.delta","delta":""}"#, false),
        (r#"{"type":"response.refusal.delta","delta":"no"}"#, true),
        (r#"{"type":"image_generation.partial_image","b64_json":"AA"}"#, true),
        (r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#, true),
        (r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"A"}}]}}]}"#, true),
        (r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]}}]}"#, true),
        (r#"{"usageMetadata":{"promptTokenCount":1}}"#, false),
        (
            r#"{"usageMetadata":{"promptTokenCount":1},"modelVersion":"gemini-2.5-pro","responseId":"x","createTime":"2026-01-01T00:00:00Z"}"#,
            false,
        ),
        (r#"{"type":"response.output_item.added","item":{"type":"mcp_list_tools","tools":[]}}"#, false),
        (r#"{"type":"response.mcp_list_tools.in_progress","item_id":"mcpl_1"}"#, false),
        (r#"{"type":"response.mcp_list_tools.completed","item_id":"mcpl_1"}"#, true),
        (r#"{"type":"conversation.response.started","conversation_id":"conv_1"}"#, false),
        (r#"{"type":"message.output.delta","content":"a"}"#, true),
        (r#"{"type":"message-start","id":"x"}"#, false),
        (r#"{"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}"#, true),
        (r#"{"message":{"content":"a"}}"#, true),
        (r#"{"choices":[{"delta":"#, true),
        ("plain words", true),
    ] {
        let mut state = StreamState::new(Protocol::Generic);
        let expected = if content { Progress::Content } else { Progress::Preamble };
        assert_eq!(state.push(format!("data: {event}\n\n").as_bytes()), expected, "{event}");
    }
}

#[test]
fn s1_3_streams_that_end_without_content() {
    use ErrorClass::{BrokenAnswer, EmptyAnswer};
    let role = r#"data: {"choices":[{"delta":{"role":"assistant"}}]}"#;
    for (stream, end) in [
        (String::new(), StreamEnd::Failed(EmptyAnswer)),
        (": OPENROUTER PROCESSING\n\n".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        ("event: ping\ndata: ping\n\n".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        ("data: [DONE]\n\n".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        ("data: [DONE]".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        (format!("{role}\n\n"), StreamEnd::Failed(BrokenAnswer)),
        (format!("{role}\n\ndata: [DONE]\n\n"), StreamEnd::Failed(EmptyAnswer)),
        (format!("{role}\n\ndata: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n"), StreamEnd::Complete),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\ndata: [DONE]\n\n".to_owned(), StreamEnd::Complete),
        ("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n".to_owned(), StreamEnd::Complete),
        ("data: {\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}\n\n".to_owned(), StreamEnd::Complete),
        // Vertex, before its first candidate.
        ("data: {\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"},\"modelVersion\":\"gemini-2.5-pro\",\"responseId\":\"x\"}\n\n".repeat(2), StreamEnd::Failed(BrokenAnswer)),
        ("data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\"}}\n\n".to_owned(), StreamEnd::Complete),
        ("data: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        ("data: {\"type\":\"message_start\",\"message\":{}}\n\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(), StreamEnd::Failed(EmptyAnswer)),
        ("data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(), StreamEnd::Complete),
    ] {
        let mut state = StreamState::new(Protocol::Generic);
        state.push(stream.as_bytes());
        assert_eq!(state.finish(), end, "{stream}");
    }
}

/// A model that ended by itself with nothing at all has given no answer; where its vendor counts some output, it has.
#[test]
fn s1_4_a_stream_of_silence_is_no_answer_like_the_same_whole_answer() {
    use Progress::{Ended, Failed, Preamble};
    let empty = StreamEnd::Failed(ErrorClass::EmptyAnswer);
    let failed = Failed(ErrorClass::EmptyAnswer);
    let chat = |reason: &str, output: &str| {
        let usage = if output.is_empty() {
            String::new()
        } else {
            format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{output}}}}}\n\n")
        };
        let reason = format!("data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n");
        [reason, usage, "data: [DONE]\n\n".to_owned()]
    };
    let anthropic = |reason: &str, usage: &str| {
        let start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\n".to_owned();
        let delta =
            format!("data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\"}}{usage}}}\n\n");
        [start, delta, "data: {\"type\":\"message_stop\"}\n\n".to_owned()]
    };
    let gemini = |reason: &str, usage: &str| {
        let chunk = format!("data: {{\"candidates\":[{{\"finishReason\":\"{reason}\"}}]{usage}}}\n\n");
        ["data: {\"candidates\":[{\"content\":{\"role\":\"model\"}}]}\n\n".to_owned(), chunk, String::new()]
    };
    for (events, before, progress, end) in [
        // OpenAI's form has counts only where they are asked for.
        (chat("stop", "0"), Preamble, failed, empty),
        (chat("stop", ""), Preamble, Ended, StreamEnd::Complete),
        (chat("stop", "3"), Preamble, Ended, StreamEnd::Complete),
        (chat("length", "0"), Ended, Ended, StreamEnd::Complete),
        (anthropic("end_turn", ",\"usage\":{\"output_tokens\":0}"), Preamble, failed, empty),
        (anthropic("end_turn", ""), Preamble, failed, empty),
        (anthropic("end_turn", ",\"usage\":{\"output_tokens\":2}"), Preamble, Ended, StreamEnd::Complete),
        (anthropic("refusal", ""), Ended, Ended, StreamEnd::Complete),
        (gemini("STOP", ""), Preamble, Preamble, empty),
        (gemini("STOP", ",\"usageMetadata\":{\"promptTokenCount\":5}"), Preamble, Preamble, empty),
        (gemini("STOP", ",\"usageMetadata\":{\"candidatesTokenCount\":2}"), Preamble, Preamble, StreamEnd::Complete),
        (gemini("MAX_TOKENS", ""), Ended, Ended, StreamEnd::Complete),
        // A whole answer with an empty part is one, too.
        (
            [
                "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
                    .to_owned(),
                anthropic("end_turn", "")[1].clone(),
                String::new(),
            ],
            Ended,
            Ended,
            StreamEnd::Complete,
        ),
        (
            [
                "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"x\"}]}}]}\n\n"
                    .to_owned(),
                gemini("STOP", "")[1].clone(),
                String::new(),
            ],
            Ended,
            Ended,
            StreamEnd::Complete,
        ),
    ] {
        let mut state = StreamState::new(Protocol::Generic);
        let came: Vec<_> = events.iter().map(|event| state.push(event.as_bytes())).collect();
        let at_reason = came[1];
        assert_eq!((at_reason, came[2], state.finish()), (before, progress, end), "{events:?}");
    }
}

/// Parts that stay empty are an answer, unless the vendor says that it made nothing.
#[test]
fn s1_4_a_stream_of_empty_parts_is_no_answer_like_the_same_whole_answer() {
    use Progress::{Ended, Failed, Preamble};
    let empty = ErrorClass::EmptyAnswer;
    let anthropic = |block: &str, usage: &str| {
        vec![
            "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}".to_owned(),
            format!("{{\"type\":\"content_block_start\",\"content_block\":{block}}}"),
            format!("{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}}{usage}}}"),
            "{\"type\":\"message_stop\"}".to_owned(),
        ]
    };
    let gemini = |part: &str, reason: &str, usage: &str| {
        vec![format!(
            "{{\"candidates\":[{{\"content\":{{\"parts\":[{part}]}},\"finishReason\":\"{reason}\"}}],\"usageMetadata\":{{\"promptTokenCount\":5{usage}}}}}"
        )]
    };
    let responses = |kind: &str, text: &str, usage: &str| {
        let part = format!("{{\"type\":\"output_text\",\"text\":\"{text}\",\"annotations\":[]}}");
        let item =
            format!("{{\"type\":\"{kind}\",\"status\":\"completed\",\"content\":[{part}],\"role\":\"assistant\"}}");
        vec![
            "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}".to_owned(),
            format!("{{\"type\":\"response.output_item.added\",\"item\":{{\"type\":\"{kind}\",\"content\":[]}}}}"),
            "{\"type\":\"response.content_part.added\",\"part\":{\"type\":\"output_text\",\"text\":\"\"}}".to_owned(),
            format!("{{\"type\":\"response.output_text.done\",\"text\":\"{text}\"}}"),
            format!("{{\"type\":\"response.content_part.done\",\"part\":{part}}}"),
            format!("{{\"type\":\"response.output_item.done\",\"item\":{item}}}"),
            format!("{{\"type\":\"response.completed\",\"response\":{{\"output\":[{item}]{usage}}}}}"),
        ]
    };
    let chat = |content: &str, output: &str| {
        vec![
            format!("{{\"choices\":[{{\"delta\":{{\"content\":{content}}},\"finish_reason\":\"stop\"}}]}}"),
            format!("{{\"choices\":[],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{output}}}}}"),
            "[DONE]".to_owned(),
        ]
    };
    let (text, nothing) = ("{\"type\":\"text\",\"text\":\"\"}", ",\"usage\":{\"input_tokens\":5,\"output_tokens\":0}");
    let (failed, none) = (Failed(empty), StreamEnd::Failed(empty));
    for (events, progress, end) in [
        (anthropic(text, nothing), failed, none),
        (anthropic(text, ""), Ended, StreamEnd::Complete),
        (anthropic(text, ",\"usage\":{\"output_tokens\":2}"), Ended, StreamEnd::Complete),
        (anthropic("{\"type\":\"thinking\",\"thinking\":\"\"}", nothing), Ended, StreamEnd::Complete),
        (gemini("{\"text\":\"\"}", "STOP", ""), Preamble, none),
        (gemini("{\"text\":\"\"}", "STOP", ",\"candidatesTokenCount\":0"), Preamble, none),
        (gemini("{\"text\":\"\"}", "STOP", ",\"candidatesTokenCount\":1"), Ended, StreamEnd::Complete),
        (gemini("{\"text\":\"\"}", "MAX_TOKENS", ""), Ended, StreamEnd::Complete),
        (gemini("{\"text\":\"\",\"thoughtSignature\":\"x\"}", "STOP", ""), Ended, StreamEnd::Complete),
        (responses("message", "", nothing), failed, none),
        (responses("message", "", ""), Ended, StreamEnd::Complete),
        (responses("message", "a", nothing), Progress::Content, StreamEnd::Complete),
        (responses("reasoning", "", nothing), Progress::Content, StreamEnd::Complete),
        (chat("[{\"type\":\"text\",\"text\":\"\"}]", "0"), failed, none),
        (chat("[{\"type\":\"text\",\"text\":\"\"}]", "1"), Ended, StreamEnd::Complete),
        (chat("[{\"type\":\"text\",\"text\":\"a\"}]", "0"), Progress::Content, StreamEnd::Complete),
    ] {
        let mut state = StreamState::new(Protocol::Generic);
        events.iter().for_each(|event| _ = state.push(format!("data: {event}\n\n").as_bytes()));
        assert_eq!((state.progress(), state.finish()), (progress, end), "{events:?}");
    }
}

#[test]
fn s1_3_the_run_of_a_thread_ends_and_its_steps_do_not() {
    let event = |name: &str| {
        format!("event: {name}\ndata: {{\"object\":\"x\",\"last_error\":{{\"code\":\"server_error\"}}}}\n\n")
    };
    let of = |names: &[&str]| {
        let mut state = StreamState::new(Protocol::Generic);
        names.iter().for_each(|name| _ = state.push(event(name).as_bytes()));
        (state.progress(), state.has_ended(), state.error())
    };
    let step = ["thread.run.created", "thread.run.step.created", "thread.run.step.completed"];
    assert_eq!(of(&step), (Progress::Preamble, false, None));
    assert_eq!(of(&["thread.run.step.failed"]), (Progress::Preamble, false, None), "the run says what comes of that");
    assert_eq!(of(&["thread.message.delta"]), (Progress::Content, false, None));
    assert_eq!(of(&["thread.message.completed", "thread.run.completed"]), (Progress::Content, true, None));
    assert_eq!(of(&["thread.run.requires_action"]), (Progress::Content, true, None));
    assert_eq!(of(&["thread.run.incomplete"]), (Progress::Ended, true, None));
    assert_eq!(of(&["thread.message.delta", "thread.run.failed"]).2, Some(ErrorClass::ServerError));
}

#[test]
fn s1_3_a_conversation_of_mistrals_begins_and_ends() {
    let started = "event: conversation.response.started\ndata: {\"type\":\"conversation.response.started\",\"conversation_id\":\"conv_1\"}\n\n";
    let delta = "event: message.output.delta\ndata: {\"type\":\"message.output.delta\",\"content\":\"a\"}\n\n";
    let done = "event: conversation.response.done\ndata: {\"type\":\"conversation.response.done\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    for (events, end) in [
        (vec![started, delta, done], StreamEnd::Complete),
        (vec![started, delta], StreamEnd::Truncated),
        (vec![started, done], StreamEnd::Failed(ErrorClass::EmptyAnswer)),
        (vec![started], StreamEnd::Failed(ErrorClass::BrokenAnswer)),
    ] {
        let mut state = StreamState::new(Protocol::Generic);
        events.iter().for_each(|event| _ = state.push(event.as_bytes()));
        assert_eq!(state.finish(), end, "{events:?}");
    }
    let mut state = StreamState::new(Protocol::Generic);
    state.push([started, delta, done].concat().as_bytes());
    assert_eq!(state.usage(), Ok(Some(Usage { input_uncached: 3, output: 1, ..Usage::default() })));
}

#[test]
fn s1_3_streams_that_are_cut_are_truncated_and_estimated() {
    for (stream, protocol, preamble, usage) in good() {
        let all = events(stream);
        for came in preamble + 1..all.len() {
            let part = all[..came].concat();
            let mut state = StreamState::new(Protocol::Generic);
            state.push(part.as_bytes());
            let estimated = state.estimated_usage(400);
            assert!(estimated.estimated && estimated.output > 0, "{protocol:?}: {estimated:?}");
            if protocol == Protocol::Anthropic {
                assert_eq!((estimated.input(), estimated.cache_read), (1125, 1000), "what it counted is kept");
            } else if usage.is_none() {
                assert_eq!(estimated.input_uncached, 100);
            }
            if !state.has_ended() {
                assert_eq!(state.finish(), StreamEnd::Truncated, "{protocol:?} after {came} events");
            }
        }
    }
}

#[test]
fn s1_3_streams_of_other_apis_that_are_known_end_as_they_should_or_are_cut() {
    for (begins, ends) in [
        (
            &[
                r#"{"type":"message-start","id":"x"}"#,
                r#"{"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}"#,
            ][..],
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}"#,
        ),
        (
            &[r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I"}}}"#],
            r#"{"type":"message-end","delta":{}}"#,
        ),
        // Text Generation Inference, whose last token has all of them.
        (
            &[
                r#"{"index":1,"token":{"id":9,"text":"a","logprob":-0.1,"special":false},"generated_text":null,"details":null}"#,
            ],
            r#"{"index":2,"token":{"id":2,"text":"</s>","logprob":0.0,"special":true},"generated_text":"a","details":null}"#,
        ),
        // DashScope, Baidu and watsonx, the former with a usage in each event.
        (
            &[
                r#"{"output":{"choices":[{"message":{"content":"a","role":"assistant"},"finish_reason":"null"}]},"usage":{"input_tokens":5,"output_tokens":1},"request_id":"r"}"#,
            ],
            r#"{"output":{"choices":[{"message":{"content":"","role":"assistant"},"finish_reason":"stop"}]},"usage":{"input_tokens":5,"output_tokens":2},"request_id":"r"}"#,
        ),
        (
            &[r#"{"output":{"session_id":"s","text":"a","finish_reason":"null"},"usage":{},"request_id":"r"}"#],
            r#"{"output":{"session_id":"s","text":"ab","finish_reason":"stop"},"usage":{},"request_id":"r"}"#,
        ),
        (
            &[
                r#"{"id":"as-1","object":"chat.completion","created":1,"sentence_id":0,"is_end":false,"is_truncated":false,"result":"a","finish_reason":"normal","usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
            ],
            r#"{"id":"as-1","object":"chat.completion","created":1,"sentence_id":1,"is_end":true,"is_truncated":false,"result":"","finish_reason":"normal","usage":{"prompt_tokens":5,"completion_tokens":9}}"#,
        ),
        (
            &[
                r#"{"model_id":"m","results":[{"generated_text":"a","generated_token_count":2,"input_token_count":0,"stop_reason":"not_finished"}]}"#,
            ],
            r#"{"model_id":"m","results":[{"generated_text":".","generated_token_count":3,"input_token_count":0,"stop_reason":"eos_token"}]}"#,
        ),
        (&[r#"{"type":"transcript.text.delta","delta":"a"}"#], r#"{"type":"transcript.text.done","text":"a"}"#),
        (&[r#"{"type":"speech.audio.delta","audio":"AA"}"#], r#"{"type":"speech.audio.done","usage":{}}"#),
        (
            &[r#"{"type":"image_generation.partial_image","b64_json":"AA"}"#],
            r#"{"type":"image_generation.completed","b64_json":"AA"}"#,
        ),
        (
            &[r#"{"type":"image_edit.partial_image","b64_json":"AA"}"#],
            r#"{"type":"image_edit.completed","b64_json":"AA"}"#,
        ),
    ] {
        for protocol in [Protocol::Generic, Protocol::OpenAiChat] {
            let mut state = StreamState::new(protocol);
            begins.iter().for_each(|event| _ = state.push(format!("data: {event}\n\n").as_bytes()));
            assert_eq!((state.progress(), state.has_ended()), (Progress::Content, false), "{begins:?}");
            let mut cut = StreamState::new(protocol);
            begins.iter().for_each(|event| _ = cut.push(format!("data: {event}\n\n").as_bytes()));
            assert_eq!(cut.finish(), StreamEnd::Truncated, "{begins:?}");
            state.push(format!("data: {ends}\n\n").as_bytes());
            assert_eq!((state.has_ended(), state.finish()), (true, StreamEnd::Complete), "{ends}");
        }
    }
    // Tokens of others, whose end is unknown.
    for token in [r#"{"token":{"text":"a"}}"#, r#"{"token":"a","generated_text":null,"details":null}"#] {
        let mut unknown = StreamState::new(Protocol::Generic);
        unknown.push(format!("data: {token}\n\n").as_bytes());
        assert_eq!(unknown.finish(), StreamEnd::Complete, "{token}");
    }
    let mut run = StreamState::new(Protocol::Generic);
    run.push(b"event: thread.message.delta\ndata: {\"object\":\"thread.message.delta\"}\n\n");
    assert_eq!(run.finish(), StreamEnd::Truncated);
    // The last event of an image has all of it, and may be too large to be read.
    let mut image = StreamState::new(Protocol::Generic);
    image.push(b"data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n");
    image.push(b"data: {\"type\":\"image_generation.completed\",\"b64_json\":\"");
    for _ in 0..300 {
        image.push(&[b'A'; 10_000]);
    }
    image.push(b"\"}\n\n");
    assert_eq!(image.finish(), StreamEnd::Complete);
}

/// What cannot be read is no proof that a stream broke off; that it ended within such an event is one.
#[test]
fn s1_3_a_last_event_that_is_too_large_to_be_read_may_be_the_end() {
    let chat = events(CHAT)[..2].concat();
    let responses = events(RESPONSES)[..6].concat();
    let anthropic = events(ANTHROPIC)[..5].concat();
    for (protocol, begins) in [
        (Protocol::OpenAiChat, chat),
        (Protocol::OpenAiResponses, responses),
        (Protocol::Anthropic, anthropic),
        (Protocol::Generic, "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n".to_owned()),
    ] {
        let large = format!("event: x\ndata: {{\"type\":\"x\",\"result\":\"{}\"}}", "A".repeat(2 << 20));
        for (ends, expected) in [
            ("\n\n", StreamEnd::Complete),
            ("\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", StreamEnd::Truncated),
            ("", StreamEnd::Truncated),
        ] {
            let mut state = StreamState::new(protocol);
            state.push(begins.as_bytes());
            for part in large.as_bytes().chunks(10_000) {
                state.push(part);
            }
            state.push(ends.as_bytes());
            assert_eq!(state.finish(), expected, "{protocol:?} {ends:?}");
        }
    }
}

/// A picture's length says nothing about its tokens; what its vendor says behind it does.
#[test]
fn s1_10_the_usage_behind_what_is_too_large_to_be_read_counts_and_its_length_does_not() {
    let picture = "A".repeat(1_500_000);
    let data = |text: &str| format!("data: {}\n\n", text.replace("PICTURE", &picture));
    let gemini = |parts: &str, end: &str| {
        data(&format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}{end}}}],"usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":1290,"totalTokenCount":1300}}}}"#
        ))
    };
    let created = data(r#"{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}"#);
    let item = r#"{"id":"ig_1","type":"image_generation_call","status":"completed","result":"PICTURE"}"#;
    let done = data(&format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#));
    let completed = data(&format!(
        r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","output":[{item}],"usage":{{"input_tokens":300,"output_tokens":60,"total_tokens":360}}}}}}"#
    ));
    let image = data(
        r#"{"type":"image_generation.completed","b64_json":"PICTURE","usage":{"total_tokens":1100,"input_tokens":50,"output_tokens":1050}}"#,
    );
    let chat =
        data(r#"{"choices":[{"index":0,"delta":{"images":[{"image_url":{"url":"data:image/png;base64,PICTURE"}}]}}]}"#);
    let chat_usage =
        data(r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1290,"total_tokens":1300}}"#);
    let two_lines = data(
        "{\"type\":\"image_generation.completed\",\ndata: \"b64_json\":\"PICTURE\",\ndata: \"usage\":{\"input_tokens\":50,\"output_tokens\":1050}}",
    );
    let last = r#","finishReason":"STOP""#;
    let large = r#"{"inlineData":{"mimeType":"image/png","data":"PICTURE"}}"#;
    for (name, protocol, stream, used) in [
        ("responses", Protocol::OpenAiResponses, created.clone() + &done + &completed, Some((300, 60))),
        ("images", Protocol::Generic, image, Some((50, 1050))),
        ("images, an event of several lines", Protocol::Generic, two_lines, Some((50, 1050))),
        ("gemini", Protocol::Gemini, gemini(r#"{"text":"a"}"#, "") + &gemini(large, last), Some((10, 1290))),
        ("gemini, not last", Protocol::Gemini, gemini(large, "") + &gemini(r#"{"text":""}"#, last), Some((10, 1290))),
        (
            "gemini, counted again",
            Protocol::Gemini,
            gemini(large, "").replace("1290", "1200") + &gemini(r#"{"text":""}"#, last),
            Some((10, 1290)),
        ),
        ("chat", Protocol::OpenAiChat, chat.clone() + &chat_usage + "data: [DONE]\n\n", Some((10, 1290))),
        ("chat without a usage", Protocol::OpenAiChat, chat + "data: [DONE]\n\n", None),
        ("responses, cut", Protocol::OpenAiResponses, created + &done, None),
    ] {
        // Clients also take a last event whose empty line does not come.
        for stream in [stream.as_str(), stream.trim_end()] {
            for size in [1_000, 16_384, usize::MAX] {
                let mut state = StreamState::new(protocol);
                for part in stream.as_bytes().chunks(size.min(stream.len())) {
                    state.push(part);
                }
                state.finish();
                let usage = state.usage_or_estimate(1_000).unwrap();
                let found = usage.map(|usage| (usage.input(), usage.output, usage.estimated));
                assert_eq!(found, used.map(|(input, output)| (input, output, false)), "{name}, {size}");
            }
        }
    }
}

/// By which a call is priced: only its last event says how it was served.
#[test]
fn s1_10_the_tier_behind_what_is_too_large_to_be_read_counts() {
    let created =
        r#"{"type":"response.created","response":{"id":"r","status":"in_progress","output":[],"service_tier":"auto"}}"#;
    let picture = "A".repeat(1_500_000);
    for (tier, expected) in [
        (r#""service_tier":"priority","#, ServiceTier::Priority),
        (r#""service_tier":"flex","#, ServiceTier::Flex),
        (r#""service_tier":null,"#, ServiceTier::Standard),
        ("", ServiceTier::Standard),
    ] {
        let completed = format!(
            r#"{{"type":"response.completed","response":{{"output":[{{"result":"{picture}"}}],{tier}"usage":{{"input_tokens":300,"output_tokens":60}}}}}}"#
        );
        let mut state = StreamState::new(Protocol::OpenAiResponses);
        state.push(format!("data: {created}\n\ndata: {completed}\n\n").as_bytes());
        state.finish();
        let usage = state.usage_or_estimate(1_000).unwrap().unwrap();
        assert_eq!((usage.total(), usage.service_tier), (360, expected), "{tier}");
    }
}

/// What was counted before a picture that breaks off is not all of it.
#[test]
fn s1_10_a_usage_before_what_is_too_large_and_breaks_off_is_not_the_last_one() {
    let event = |part: &str| {
        format!(
            r#"data: {{"candidates":[{{"content":{{"parts":[{part}]}}}}],"usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":3,"totalTokenCount":13}}}}"#
        )
    };
    let picture = event(&format!(r#"{{"inlineData":{{"data":"{}"}}}}"#, "A".repeat(1_500_000)));
    let stream = event(r#"{"text":"a"}"#) + "\n\n" + &picture[..1_200_000];
    let mut state = StreamState::new(Protocol::Gemini);
    state.push(stream.as_bytes());
    assert_eq!(state.finish(), StreamEnd::Truncated);
    let usage = state.usage_or_estimate(1_000).unwrap().unwrap();
    assert_eq!((usage.input(), usage.output, usage.estimated), (10, 3, true));
}

#[test]
fn the_end_of_an_unknown_protocol_is_its_end() {
    let mut state = StreamState::new(Protocol::OpenAiChat);
    assert_eq!(state.push(b"data: {\"token\":{\"text\":\"a\"}}\n\n"), Progress::Content);
    assert_eq!(state.finish(), StreamEnd::Complete);
}

#[test]
fn an_event_of_many_megabytes_is_content_and_costs_bounded_memory() {
    let mut state = StreamState::new(Protocol::OpenAiChat);
    state.push(b"data: {\"type\":\"image_generation.completed\",\"b64_json\":\"");
    for _ in 0..300 {
        state.push(&[b'A'; 10_000]);
    }
    assert_eq!(state.push(b"\"}\n\ndata: [DONE]\n\n"), Progress::Content);
    assert_eq!(state.finish(), StreamEnd::Complete);
}

/// A stream of this type; of JSON, an array that grows.
fn of_type(protocol: Protocol, kind: &str) -> StreamState {
    StreamState::of_answer(protocol, &AnswerHeaders::read([(&b"content-type"[..], kind)]), true).unwrap()
}

fn check_form(protocol: Protocol, kind: &str, cases: &[(&str, Progress, StreamEnd)]) {
    for (text, progress, end) in cases {
        for size in [1, 7, 100_000] {
            let mut stream = of_type(protocol, kind);
            for part in text.as_bytes().chunks(size) {
                stream.push(part);
            }
            // A line without an end is read at the end.
            if text.ends_with(['\n', ']', '}', ',']) || kind == "application/json" {
                assert_eq!(stream.progress(), *progress, "{text}, parts of {size}");
            }
            assert_eq!(stream.finish(), *end, "{text}, parts of {size}");
        }
    }
}

#[test]
fn s1_3_lines_of_json_are_read_like_events() {
    use Progress::{Content, Ended, Failed, Preamble};
    let (overloaded, server) = (ErrorClass::Overloaded, ErrorClass::ServerError);
    check_form(
        Protocol::Generic,
        "application/x-ndjson",
        &[
            ("", Preamble, StreamEnd::Complete),
            ("{\"error\":\"model runner has unexpectedly stopped\"}\n", Failed(server), StreamEnd::Failed(server)),
            (
                "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n{\"error\":\"server busy, please try again\"}\n",
                Failed(overloaded),
                StreamEnd::Failed(overloaded),
            ),
            (
                "{\"message\":{\"content\":\"Hi\"},\"done\":false}\n{\"error\":\"an error was encountered\"}\n",
                Content,
                StreamEnd::Failed(server),
            ),
            ("{\"message\":{\"content\":\"Hi\"},\"done\":false}\n", Content, StreamEnd::Truncated),
            (
                "{\"message\":{\"content\":\"Hi\"},\"done\":false}\r\n{\"message\":{\"content\":\"\"},\"done\":true}\r\n",
                Content,
                StreamEnd::Complete,
            ),
            ("{\"response\":\"Hi\",\"done\":false}\n{\"response\":\"\",\"done\":true}", Content, StreamEnd::Complete),
            ("{\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}\n", Ended, StreamEnd::Complete),
            (
                "{\"message\":{\"content\":\"\"},\"done\":false}\n",
                Preamble,
                StreamEnd::Failed(ErrorClass::BrokenAnswer),
            ),
            (
                "{\"message\":{\"content\":\"\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n",
                Failed(ErrorClass::EmptyAnswer),
                StreamEnd::Failed(ErrorClass::EmptyAnswer),
            ),
            (
                "{\"response\":\"\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":0}\n",
                Failed(ErrorClass::EmptyAnswer),
                StreamEnd::Failed(ErrorClass::EmptyAnswer),
            ),
            (
                "{\"response\":\"\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":1}\n",
                Ended,
                StreamEnd::Complete,
            ),
            ("{\"response\":\"\",\"done\":true,\"done_reason\":\"unload\"}\n", Ended, StreamEnd::Complete),
            (
                "{\"message\":{\"thinking\":\"hm\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n",
                Content,
                StreamEnd::Complete,
            ),
            ("{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n", Content, StreamEnd::Complete),
            ("{\"id\":1,\"error\":\"one of several results\",\"input\":3}\n", Content, StreamEnd::Complete),
            ("no JSON\n", Content, StreamEnd::Complete),
            (
                "{\"is_finished\":false,\"event_type\":\"stream-start\"}\n{\"is_finished\":true,\"event_type\":\"stream-end\",\"finish_reason\":\"ERROR\"}\n",
                Failed(server),
                StreamEnd::Failed(server),
            ),
            (
                "{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"Hi\"}\n",
                Content,
                StreamEnd::Truncated,
            ),
        ],
    );
    let mut stream = of_type(Protocol::Generic, "application/x-ndjson");
    stream.push(b"{\"response\":\"Hi\",\"done\":false}\n{\"resp");
    assert_eq!(stream.broken_event("cut").unwrap(), "{\"error\":\"cut\"}\n");
}

#[test]
fn s1_3_an_array_that_grows_is_read_element_by_element() {
    use Progress::{Content, Failed, Preamble};
    let limited = ErrorClass::RateLimited;
    check_form(
        Protocol::Gemini,
        "application/json; charset=UTF-8",
        &[
            ("[", Preamble, StreamEnd::Failed(ErrorClass::EmptyAnswer)),
            ("[]", Preamble, StreamEnd::Failed(ErrorClass::EmptyAnswer)),
            (
                "[{\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\"}}\n]",
                Failed(limited),
                StreamEnd::Failed(limited),
            ),
            (
                "{\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\"}}",
                Failed(limited),
                StreamEnd::Failed(limited),
            ),
            (
                "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a ]}, {\\\"error\\\": 1\"}]}}]}\n,\r\n",
                Content,
                StreamEnd::Truncated,
            ),
            (
                "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]},{\"candidates\":[{\"finishReason\":\"STOP\"}]}]",
                Content,
                StreamEnd::Complete,
            ),
            (
                "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]},{\"error\":{\"code\":429,\"message\":\"x\"}}]",
                Content,
                StreamEnd::Failed(limited),
            ),
        ],
    );
    let headers = AnswerHeaders::read([(&b"content-type"[..], "application/json")]);
    assert!(StreamState::of_answer(Protocol::Gemini, &headers, false).is_none(), "a whole answer");
}

#[test]
fn pings_with_data_are_no_events() {
    let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    let mut stream = StreamState::new(Protocol::Anthropic);
    for _ in 0..3 {
        assert_eq!(stream.push(ping.as_bytes()), Progress::Preamble);
        stream.push(b"data: {\"type\":\"ping\"}\n\n: comment\n\n");
        assert!(!stream.has_begun());
    }
    assert_eq!(stream.finish(), StreamEnd::Failed(ErrorClass::EmptyAnswer));
    let mut stream = StreamState::new(Protocol::Anthropic);
    stream.push(format!("{ping}{}", events(ANTHROPIC)[0]).as_bytes());
    assert!(stream.has_begun());
}

#[test]
fn an_error_of_an_unknown_form_before_any_content() {
    for (data, class) in [
        ("{\"code\":429,\"message\":\"x\"}", ErrorClass::RateLimited),
        ("{\"detail\":\"Internal error\"}", ErrorClass::ServerError),
        ("{\"success\":false,\"errors\":[{\"code\":1,\"message\":\"x\"}],\"result\":null}", ErrorClass::ServerError),
        ("{\"code\":\"InvalidApiKey\",\"message\":\"x\",\"request_id\":\"1\"}", ErrorClass::KeyRefused),
        ("{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}", ErrorClass::Overloaded),
    ] {
        let event = format!("data: {data}\n\n");
        for protocol in [Protocol::OpenAiChat, Protocol::Anthropic, Protocol::Gemini] {
            let mut stream = StreamState::new(protocol);
            assert_eq!(stream.push(event.as_bytes()), Progress::Failed(class), "{data}");
        }
        let mut unknown = StreamState::new(Protocol::Generic);
        assert_eq!(unknown.push(event.as_bytes()), Progress::Content, "{data}: whose protocol is unknown");
        let mut late = StreamState::new(Protocol::OpenAiChat);
        late.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
        assert_eq!((late.push(event.as_bytes()), late.error()), (Progress::Content, None), "{data}: after content");
    }
    let mut good = StreamState::new(Protocol::OpenAiChat);
    assert_eq!(good.push(b"data: {\"code\":0,\"message\":\"ok\",\"answer\":\"a\"}\n\n"), Progress::Content);
}

#[test]
fn a_stream_is_over_at_the_last_event_of_its_protocol() {
    for (stream, protocol, _, _) in good() {
        let [mut state, mut unknown] = [protocol, Protocol::Generic].map(StreamState::new);
        let events = events(stream);
        for (number, event) in events.iter().enumerate() {
            state.push(event.as_bytes());
            unknown.push(event.as_bytes());
            assert!(!unknown.is_over(), "several answers may follow each other: {event}");
            // Gemini has none.
            let is_last = number + 1 == events.len() && protocol != Protocol::Gemini;
            assert_eq!(state.is_over(), is_last, "{event}");
        }
    }
    let mut failed = StreamState::new(Protocol::OpenAiChat);
    failed.push(b"data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n");
    assert!(!failed.is_over());
    let mut lines = of_type(Protocol::Generic, "application/x-ndjson");
    lines.push(b"{\"response\":\"Hi\",\"done\":false}\n");
    assert!(!lines.is_over());
    lines.push(b"{\"response\":\"\",\"done\":true}\n");
    assert!(lines.is_over());
    let mut items = of_type(Protocol::Generic, "application/x-ndjson");
    items.push(b"{\"title\":\"Buy milk\",\"done\":true}\n");
    assert!(!items.is_over(), "a list of whatever is done");
    assert_eq!(items.finish(), StreamEnd::Complete);
}

#[test]
fn lines_of_an_unknown_kind_are_results() {
    for lines in [
        "{\"title\":\"x\",\"done\":false}\n",
        "{\"index\":0,\"embedding\":[0.1],\"usage\":{\"total_tokens\":3}}\n",
        "{\"error\":{\"message\":\"x\"},\"status\":400}\n{\"id\":2}\n",
    ] {
        let mut stream = of_type(Protocol::Generic, "application/x-ndjson");
        stream.push(lines.as_bytes());
        assert_eq!((stream.finish(), stream.error()), (StreamEnd::Complete, None), "{lines}");
    }
}

#[test]
fn what_is_too_long_to_be_read_may_be_the_end() {
    let long = "x".repeat(2 << 20);
    let mut lines = of_type(Protocol::Generic, "application/x-ndjson");
    lines.push(b"{\"response\":\"Hi\",\"done\":false}\n");
    lines.push(format!("{{\"response\":\"\",\"done\":true,\"context\":\"{long}\"}}\n").as_bytes());
    assert_eq!(lines.finish(), StreamEnd::Complete);
    let text = |text: &str| format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}");
    for (closed, expected) in [("]", StreamEnd::Complete), ("", StreamEnd::Truncated)] {
        let headers = AnswerHeaders::read([(&b"content-type"[..], "application/json")]);
        let mut array = StreamState::of_answer(Protocol::Gemini, &headers, true).unwrap();
        array.push(format!("[{},{}{closed}", text("Hi"), text(&long)).as_bytes());
        assert_eq!(array.finish(), expected, "{closed:?}");
    }
}

#[test]
fn a_word_that_is_no_error_is_none_before_content() {
    let mut stream = StreamState::new(Protocol::OpenAiChat);
    stream.push(b"data: {\"code\":\"queued\",\"message\":\"waiting\"}\n\n");
    assert_eq!(stream.error(), None);
}

#[test]
fn s1_3_the_last_event_of_a_stream_that_broke() {
    let message = "The answer is not whole: \"x\"\nbroke off";
    for protocol in
        [Protocol::OpenAiChat, Protocol::OpenAiResponses, Protocol::Anthropic, Protocol::Gemini, Protocol::Generic]
    {
        let mut text = String::new();
        for before in [
            "",
            "data: {\"cho",
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
            "event: x\n",
            "data: {}\r",
        ] {
            let mut state = StreamState::new(protocol);
            state.push(before.as_bytes());
            let event = state.broken_event(message).unwrap();
            state.push(&event);
            text = String::from_utf8(event.to_vec()).unwrap();
            assert!(state.error().is_some(), "{protocol:?} after {before:?} is recognised as an error");
        }
        let last = text.trim_start();
        let data: Value = serde_json::from_str(last.split_once("data: ").unwrap().1.trim()).unwrap();
        let (named, said) = match protocol {
            Protocol::Anthropic => (true, &data["error"]["message"]),
            Protocol::OpenAiResponses => (true, &data["message"]),
            _ => (false, &data["error"]["message"]),
        };
        assert_eq!(last.starts_with("event: error\n"), named, "{protocol:?}");
        assert_eq!(said, message, "{protocol:?}");
        assert_eq!(data["type"] == "error", named, "{protocol:?}");
        assert!(text.ends_with("\n\n"));
    }
    let mut state = StreamState::new(Protocol::Generic);
    state.push(events(ANTHROPIC)[..4].concat().as_bytes());
    assert!(
        state.broken_event("x").unwrap().starts_with(b"event: error\n"),
        "the protocol that the stream showed, between events"
    );
    state.push(b"event: content_block");
    let event = state.broken_event("x").unwrap();
    assert!(event.starts_with(b"\n\nevent: error\n"), "an event that is half there ends first");
}

/// All that can be seen of a stream.
fn seen<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut state = StreamState::new(Protocol::Generic);
    for part in parts {
        state.push(part);
    }
    let end = state.finish();
    format!("{:?} {:?} {end:?} {:?} {:?}", state.progress(), state.error(), state.usage(), state.estimated_usage(9))
}

proptest! {
    #[test]
    fn s1_2_what_is_seen_does_not_depend_on_the_cutting(which in 0_usize..6, size in 1_usize..90, end in 0_usize..3, keep in 0.0..1.0_f64) {
        let stream = good()[which].0.replace('\n', ["\n", "\r\n", "\r"][end]);
        let stream = &stream.as_bytes()[..(stream.len() as f64 * keep) as usize];
        prop_assert_eq!(seen(std::iter::once(stream)), seen(stream.chunks(size)));
    }

    #[test]
    fn s1_2_any_bytes_are_a_stream(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        prop_assert_eq!(seen(std::iter::once(&bytes[..])), seen(bytes.chunks(size)));
    }

    #[test]
    fn s1_2_any_text_in_any_delta_is_content(text in "\\PC{1,60}") {
        let json = Value::from(text).to_string();
        let mut state = StreamState::new(Protocol::Generic);
        state.push(format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{json}}}}}]}}\n\n").as_bytes());
        prop_assert_eq!((state.progress(), state.error(), state.has_ended()), (Progress::Content, None, false));
    }
}

#[test]
fn s1_7_what_an_error_in_a_stream_says_is_kept_as_the_body_of_an_error_is() {
    let error = r#"{"error":{"code":429,"message":"try again in 7s"}}"#;
    let choice = r#"{"message":"try again in 7s","code":429}"#;
    for (events, said) in [
        (format!("event: error\ndata: {error}\n\n"), error),
        (format!("data: {error}\n\ndata: {{\"error\":\"another\"}}\n\n"), error),
        (format!("data: {{\"choices\":[{{\"error\":{choice}}}]}}\n\n"), choice),
        ("data: {\"choices\":[{\"delta\":{\"content\":\"error: try again in 7s\"}}]}\n\n".to_owned(), ""),
    ] {
        let mut stream = StreamState::new(Protocol::OpenAiChat);
        stream.push(events.as_bytes());
        assert_eq!(std::str::from_utf8(stream.error_body()), Ok(said), "{events}");
        let wait = retry_after(&AnswerHeaders::default(), stream.error_body(), None).and_then(RetryAfter::wait);
        assert_eq!(wait, (!said.is_empty()).then_some(Duration::from_secs(7)), "{events}");
    }
}
