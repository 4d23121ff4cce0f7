//! Whole answers with a good status: which are answers, and what the others are.

use llm::answer::{answer_error, is_whole_json};
use llm::headers::AnswerHeaders;
use llm::stream::{Progress, StreamState};
use llm::{ErrorClass, Protocol};
use proptest::prelude::*;
use serde_json::{Value, json};

use ErrorClass::*;
use Protocol::{
    Anthropic, Embeddings, Gemini, Generic, Images, Moderations, OpenAiChat, OpenAiResponses, Rerank, Speech,
    Transcription,
};

fn typed(protocol: Protocol, kind: &str, body: &[u8]) -> Option<ErrorClass> {
    answer_error(protocol, 200, &AnswerHeaders::read([(&b"content-type"[..], kind)]), body)
}

fn json_of(protocol: Protocol, body: &Value) -> Option<ErrorClass> {
    typed(protocol, "application/json; charset=utf-8", body.to_string().as_bytes())
}

fn chat(message: Value, reason: Value) -> Value {
    json!({"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": {"prompt_tokens": 5, "completion_tokens": 0}})
}

#[test]
fn s1_4_answers_that_are_none() {
    for (protocol, body, class) in [
        (OpenAiChat, json!({"error": {"message": "Provider returned error", "code": 502}}), ServerError),
        (OpenAiChat, json!({"error": {"message": "x", "code": 502}, "user_id": "u"}), ServerError),
        (OpenAiChat, json!({"error": {"message": "x", "code": "insufficient_quota"}}), QuotaExhausted),
        (OpenAiChat, json!({"error": "overloaded"}), Overloaded),
        (OpenAiChat, json!({"error": "Unexpected endpoint or method. (POST /chat/completions)"}), Unsupported),
        (OpenAiChat, json!({"error": {"message": "x", "code": "1113"}}), QuotaExhausted),
        (OpenAiChat, json!({"error": {"message": "x", "code": 200}}), ServerError),
        (Generic, json!({"error": {"message": "x", "code": 429}}), RateLimited),
        (Generic, json!({"object": "error", "message": "x", "type": "overloaded", "code": 503}), Overloaded),
        // Cloudflare, DashScope, Baidu, FastAPI, MiniMax: an error in a form of its own, and nothing of an answer.
        (
            OpenAiChat,
            json!({"success": false, "errors": [{"code": 3040, "message": "Capacity temporarily exceeded"}], "result": null}),
            ServerError,
        ),
        (OpenAiChat, json!({"code": "Throttling", "message": "x", "request_id": "1"}), RateLimited),
        (Anthropic, json!({"code": "InvalidApiKey", "message": "x", "request_id": "1"}), KeyRefused),
        (OpenAiChat, json!({"error_code": 336003, "error_msg": "x", "id": "as-1"}), InvalidRequest),
        (OpenAiResponses, json!({"detail": "Internal error"}), ServerError),
        // Problem details (RFC 9457), with ASP.NET's `traceId`.
        (OpenAiChat, json!({"type": "about:blank", "title": "Service Unavailable", "status": 503}), Overloaded),
        (
            Anthropic,
            json!({"type": "https://tools.ietf.org/html/rfc9110#section-15.6.1", "title": "An error occurred.", "status": 500,
                "instance": "/v1/messages", "traceId": "00-1"}),
            ServerError,
        ),
        (OpenAiChat, json!({"code": 429, "msg": "x"}), RateLimited),
        (
            OpenAiChat,
            json!({"id": "1", "choices": null, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
            RateLimited,
        ),
        (OpenAiChat, json!({"id": "x", "object": "chat.completion", "choices": []}), EmptyAnswer),
        (OpenAiChat, json!({"id": "x", "object": "chat.completion", "usage": {"completion_tokens": 0}}), EmptyAnswer),
        (OpenAiChat, json!({"object": "text_completion"}), EmptyAnswer),
        (OpenAiChat, json!({"object": "chat.completion", "error": {"message": "x", "code": 429}}), RateLimited),
        (OpenAiChat, json!([]), EmptyAnswer),
        (Gemini, json!([]), EmptyAnswer),
        (OpenAiChat, json!({"id": "x", "choices": null}), EmptyAnswer),
        (
            OpenAiChat,
            json!({"id": "x", "object": "chat.completion", "choices": [{"error": {"code": 429, "message": "x"}, "finish_reason": "error", "message": {"role": "assistant", "content": ""}}]}),
            RateLimited,
        ),
        (OpenAiChat, json!({"id": "x", "choices": [], "error": {"code": 503, "message": "x"}}), Overloaded),
        (OpenAiChat, chat(json!({"role": "assistant", "content": ""}), json!("stop")), EmptyAnswer),
        (OpenAiChat, chat(json!({"role": "assistant", "content": null}), Value::Null), EmptyAnswer),
        (
            OpenAiChat,
            chat(json!({"role": "assistant", "content": ""}), json!("insufficient_system_resource")),
            Overloaded,
        ),
        (OpenAiChat, chat(json!({"role": "assistant", "content": ""}), json!("network_error")), ServerError),
        (OpenAiChat, chat(json!({"role": "assistant", "content": null}), json!("abort")), ServerError),
        (OpenAiChat, chat(json!({"role": "assistant", "content": ""}), json!("error")), ServerError),
        // What LiteLLM and Gemini add of their own is no content.
        (
            OpenAiChat,
            chat(
                json!({"role": "assistant", "content": "", "provider_specific_fields": {"a": "b"}, "extra_content": {"google": {"x": "y"}}}),
                json!("stop"),
            ),
            EmptyAnswer,
        ),
        // Cohere.
        (Generic, json!({"finish_reason": "ERROR", "message": {"role": "assistant", "content": []}}), ServerError),
        (
            Generic,
            json!({"id": "x", "finish_reason": "TIMEOUT", "message": {"role": "assistant"}, "usage": {}}),
            TimedOut,
        ),
        (Generic, json!({"text": "", "finish_reason": "ERROR"}), ServerError),
        (Embeddings, json!({}), EmptyAnswer),
        (Embeddings, json!([]), EmptyAnswer),
        (Embeddings, json!({"object": "list", "data": [], "usage": {"prompt_tokens": 3}}), EmptyAnswer),
        (Embeddings, json!({"object": "list", "model": "m"}), EmptyAnswer),
        (Embeddings, json!({"data": null}), EmptyAnswer),
        (Embeddings, json!({"detail": "Internal error"}), ServerError),
        (Embeddings, json!({"object": "list", "data": [], "error": {"code": 429, "message": "x"}}), RateLimited),
        // Lists with nothing in them, where something was to be made.
        (Images, json!({"created": 1, "data": []}), EmptyAnswer),
        (Images, json!({"created": 1, "data": null}), EmptyAnswer),
        (
            Images,
            json!({"created": 1, "size": "1024x1024", "quality": "high", "usage": {"total_tokens": 9}}),
            EmptyAnswer,
        ),
        (Images, json!({"detail": "Internal error"}), ServerError),
        (Images, json!({"created": 1, "data": [], "error": {"code": 429, "message": "x"}}), RateLimited),
        (Images, json!([]), EmptyAnswer),
        (Images, Value::Null, EmptyAnswer),
        (Moderations, json!({"id": "modr-1", "model": "m", "results": []}), EmptyAnswer),
        (Moderations, Value::Null, EmptyAnswer),
        (Rerank, json!({"id": "x", "results": [], "meta": {"api_version": {"version": "2"}}}), EmptyAnswer),
        (Rerank, json!({"object": "list", "data": [], "model": "m", "usage": {"total_tokens": 9}}), EmptyAnswer),
        (Rerank, json!([]), EmptyAnswer),
        (Rerank, Value::Null, EmptyAnswer),
        (Embeddings, Value::Null, EmptyAnswer),
        (Transcription, Value::Null, EmptyAnswer),
        (Transcription, json!({}), EmptyAnswer),
        (Transcription, json!({"code": "Throttling", "message": "x"}), RateLimited),
        (Speech, Value::Null, EmptyAnswer),
        (Speech, json!({"detail": "Internal error"}), ServerError),
        // Ollama's own form.
        (
            Generic,
            json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}),
            EmptyAnswer,
        ),
        (
            Generic,
            json!({"message": {"content": "", "tool_calls": []}, "done": true, "done_reason": "stop", "eval_count": 0, "prompt_eval_count": 9}),
            EmptyAnswer,
        ),
        (Generic, json!({"response": "", "done": true, "done_reason": "stop", "context": [1, 2]}), EmptyAnswer),
        (OpenAiChat, json!({}), EmptyAnswer),
        (OpenAiChat, Value::Null, EmptyAnswer),
        (Anthropic, json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}), Overloaded),
        (Anthropic, json!({"type": "message", "content": [], "stop_reason": "end_turn"}), EmptyAnswer),
        (
            Anthropic,
            json!({"type": "message", "content": [], "stop_reason": null, "usage": {"output_tokens": 0}}),
            EmptyAnswer,
        ),
        (Gemini, json!({"usageMetadata": {"promptTokenCount": 5}, "modelVersion": "x"}), EmptyAnswer),
        (Gemini, json!({"candidates": [], "modelVersion": "x"}), EmptyAnswer),
        (
            Gemini,
            json!({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 5}}),
            EmptyAnswer,
        ),
        (
            Gemini,
            json!([{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}]),
            Overloaded,
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "error": null, "output": []}),
            EmptyAnswer,
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"}, "output": []}),
            RateLimited,
        ),
        (
            Generic,
            json!({"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "usage": {"outputTokens": 0}}),
            EmptyAnswer,
        ),
        // Parts, and nothing in them.
        (OpenAiChat, chat(json!({"content": [{"type": "text", "text": ""}]}), json!("stop")), EmptyAnswer),
        (
            Anthropic,
            json!({"type": "message", "content": [{"type": "text", "text": ""}], "stop_reason": "end_turn", "usage": {"output_tokens": 0}}),
            EmptyAnswer,
        ),
        (
            Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}),
            EmptyAnswer,
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": []}], "usage": {"output_tokens": 0}}),
            EmptyAnswer,
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "", "annotations": []}]}], "usage": {"output_tokens": 0}}),
            EmptyAnswer,
        ),
        (
            Generic,
            json!({"output": {"message": {"role": "assistant", "content": [{"text": ""}]}}, "stopReason": "end_turn", "usage": {"outputTokens": 0}}),
            EmptyAnswer,
        ),
    ] {
        assert_eq!(json_of(protocol, &body), Some(class), "{protocol:?} {body}");
    }
}

#[test]
fn s1_4_answers_that_are_fine() {
    let empty = json!({"role": "assistant", "content": ""});
    for (protocol, body) in [
        (OpenAiChat, chat(json!({"role": "assistant", "content": "hi"}), json!("stop"))),
        (
            OpenAiChat,
            chat(json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]}), json!("tool_calls")),
        ),
        (OpenAiChat, chat(json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]}), Value::Null)),
        (OpenAiChat, chat(json!({"role": "assistant", "content": null, "refusal": "no"}), json!("stop"))),
        (OpenAiChat, chat(json!({"role": "assistant", "content": "", "reasoning_content": "hm"}), json!("stop"))),
        (OpenAiChat, chat(json!({"role": "assistant", "audio": {"data": "AA"}}), json!("stop"))),
        (OpenAiChat, chat(empty.clone(), json!("length"))),
        (OpenAiChat, chat(empty.clone(), json!("content_filter"))),
        (
            OpenAiChat,
            json!({"choices": [{"message": empty, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}),
        ),
        (OpenAiChat, json!({"choices": [{"message": empty, "finish_reason": "stop"}]})),
        (OpenAiChat, json!({"object": "text_completion", "choices": [{"text": "", "finish_reason": "length"}]})),
        (OpenAiChat, chat(json!({"role": "assistant", "content": "half an answer"}), json!("error"))),
        (OpenAiChat, chat(json!({"content": "half"}), json!("insufficient_system_resource"))),
        (OpenAiChat, json!({"id": "x", "choices": [{}]})),
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": "half"}, "finish_reason": "error"}], "error": {"code": 502}}),
        ),
        (OpenAiChat, json!({"choices": [{"message": {"content": "{\"error\": 1}"}}], "error": null})),
        (OpenAiChat, json!({"choices": [{"new": 1}]})),
        (OpenAiChat, json!({"answer": "in a form of its own"})),
        (OpenAiChat, json!({"code": 0, "message": "ok", "answer": "a"})),
        (OpenAiChat, json!({"code": 200, "msg": "ok"})),
        (OpenAiChat, json!({"code": "0", "message": "ok", "result": "hello"})),
        (OpenAiChat, json!({"code": "200", "message": "ok"})),
        (OpenAiChat, json!({"code": "Success", "message": "ok", "request_id": "x"})),
        (OpenAiChat, json!({"code": "OK", "message": "done", "result": ["a"]})),
        (OpenAiChat, json!({"detail": "low", "result": "hello"})),
        (OpenAiChat, json!({"type": "poem", "title": "A title", "status": 200})),
        (OpenAiChat, json!({"title": "A title", "status": 503, "text": "hello"})),
        (OpenAiChat, json!({"success": true, "errors": ["warn"], "result": "x"})),
        (OpenAiChat, json!({"success": true, "message": "done", "detail": "x"})),
        (OpenAiChat, json!({"code": 20000, "message": "ok"})),
        (OpenAiChat, json!({"code": 201, "message": "created", "id": "x"})),
        (OpenAiChat, json!({"message": {"role": "assistant", "content": "a"}, "done": true})),
        // Ollama's own form.
        (Generic, json!({"response": "", "done": true, "done_reason": "load"})),
        (Generic, json!({"message": {"content": ""}, "done": true, "done_reason": "unload"})),
        (Generic, json!({"message": {"content": ""}, "done": true, "done_reason": "length"})),
        (Generic, json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "eval_count": 1})),
        (Generic, json!({"message": {"content": "", "thinking": "hm"}, "done": true, "done_reason": "stop"})),
        (Generic, json!({"message": {"content": "", "tool_calls": [{}]}, "done": true, "done_reason": "stop"})),
        (Generic, json!({"response": "", "thinking": "hm", "done": true, "done_reason": "stop"})),
        (Generic, json!({"response": "", "image": "AA", "done": true, "done_reason": "stop"})),
        (Generic, json!({"response": "a", "done": true, "done_reason": "stop"})),
        (Generic, json!({"message": {"content": ""}, "done": true})),
        (Generic, json!({"title": "Buy milk", "done": true, "done_reason": "stop"})),
        (OpenAiChat, json!({"code": "print(1)", "message": "here it is", "result": {"text": "a"}})),
        (Generic, json!({"success": false, "errors": [{"code": 1, "message": "x"}], "result": null})),
        (Generic, json!({"code": "Throttling", "message": "x"})),
        (Anthropic, json!({"type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"})),
        (Anthropic, json!({"type": "message", "content": [{"type": "tool_use"}], "stop_reason": "tool_use"})),
        (Anthropic, json!({"type": "message", "content": [], "stop_reason": "refusal"})),
        (Anthropic, json!({"type": "message", "content": [], "stop_reason": "max_tokens"})),
        (
            Anthropic,
            json!({"type": "message", "content": [], "stop_reason": "end_turn", "usage": {"output_tokens": 2}}),
        ),
        (Gemini, json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]})),
        (Gemini, json!({"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": {}})),
        (Gemini, json!({"candidates": [{"finishReason": "SAFETY"}]})),
        (Gemini, json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}})),
        // Empty parts, where the vendor does not say that it made nothing, or something else is said.
        (
            OpenAiChat,
            json!({"choices": [{"message": {"content": [{"type": "text", "text": ""}]}, "finish_reason": "stop"}]}),
        ),
        (
            OpenAiChat,
            chat(json!({"content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]}), json!("stop")),
        ),
        (OpenAiChat, chat(json!({"content": [{"type": "refusal", "refusal": "no"}]}), json!("stop"))),
        (Anthropic, json!({"type": "message", "content": [{"type": "text", "text": ""}], "stop_reason": "end_turn"})),
        (
            Anthropic,
            json!({"type": "message", "content": [{"type": "text", "text": ""}], "stop_reason": "end_turn", "usage": {"output_tokens": 2}}),
        ),
        (
            Anthropic,
            json!({"type": "message", "content": [{"type": "text", "text": ""}], "stop_reason": "stop_sequence", "usage": {"output_tokens": 0}}),
        ),
        (
            Anthropic,
            json!({"type": "message", "content": [{"type": "redacted_thinking", "data": "x"}], "stop_reason": "end_turn", "usage": {"output_tokens": 0}}),
        ),
        (Gemini, json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]})),
        (
            Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "usageMetadata": {"candidatesTokenCount": 1}}),
        ),
        (
            Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "x"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 5}}),
        ),
        (
            Gemini,
            json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 5}}),
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": []}]}),
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": []}], "usage": {"output_tokens": 0}}),
        ),
        (Gemini, json!([{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}])),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "completed", "error": null, "output": [{"type": "function_call"}]}),
        ),
        (
            OpenAiResponses,
            json!({"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []}),
        ),
        (OpenAiResponses, json!({"object": "response", "status": "queued", "output": []})),
        (Generic, json!({"object": "list", "data": [{"object": "embedding", "embedding": [0.1]}], "model": "m"})),
        (Generic, json!({"object": "list", "data": []})),
        (Embeddings, json!({"object": "list", "data": [{"object": "embedding", "embedding": [0.1]}], "model": "m"})),
        // Ollama, Cohere, Gemini, Bedrock's Titan, watsonx, MiniMax, Hugging Face.
        (Embeddings, json!({"embedding": [0.1]})),
        (Embeddings, json!({"embedding": []})),
        (Embeddings, json!({"model": "m", "embeddings": [[0.1]]})),
        (Embeddings, json!({"id": "x", "embeddings": {"float": [[0.1]]}, "texts": ["a"]})),
        (Embeddings, json!({"embeddings": [{"values": [0.1]}]})),
        (Embeddings, json!({"predictions": [{"embeddings": {"values": [0.1]}}]})),
        (Embeddings, json!({"embedding": [0.1], "inputTextTokenCount": 3})),
        (Embeddings, json!({"results": [{"embedding": [0.1]}], "model_id": "m"})),
        (Embeddings, json!({"vectors": [[0.1]], "data": null})),
        (Embeddings, json!([[0.1, 0.2]])),
        // Images in OpenAI's form, elsewhere (SiliconFlow), later (ModelScope), and a word why there is none.
        (Images, json!({"created": 1, "data": [{"b64_json": "AA"}]})),
        (Images, json!({"images": [{"url": "https://h/1.png"}], "timings": {"inference": 1}, "data": []})),
        (Images, json!({"task_id": "1", "task_status": "PENDING", "created": 1})),
        (Images, json!({"created": 1, "data": [], "prompt_filter_results": [{"prompt_index": 0}]})),
        (Images, json!({"created": 1, "data": [], "raiFilteredReason": "x"})),
        (Images, json!({"output": {"task_id": "1"}, "request_id": "r"})),
        (Moderations, json!({"id": "modr-1", "model": "m", "results": [{"flagged": false}]})),
        (Moderations, json!({"id": "modr-1", "results": [{}]})),
        (Rerank, json!({"results": [{"index": 0, "relevance_score": 0.1}]})),
        (Rerank, json!({"object": "list", "data": [{"index": 0, "relevance_score": 0.1}]})),
        (Rerank, json!([{"index": 0, "score": 0.1}])),
        (Rerank, json!({"output": {"results": [{"index": 0}]}, "results": []})),
        // Nothing was said.
        (Transcription, json!({"text": ""})),
        (
            Transcription,
            json!({"text": "", "segments": [], "duration": 1.5, "language": "english", "task": "transcribe"}),
        ),
        (Transcription, json!("")),
        (Transcription, json!("Hello.")),
        (Speech, json!({"audio": "AA"})),
        (Speech, json!("AA")),
        (
            Generic,
            json!({"finish_reason": "ERROR", "message": {"role": "assistant", "content": [{"type": "text", "text": "half"}]}}),
        ),
        (Generic, json!({"finish_reason": "TIMEOUT", "text": "half"})),
        (Generic, json!({"finish_reason": "COMPLETE", "message": {"role": "assistant", "content": []}})),
        (Generic, json!({"created": 1, "data": [{"b64_json": "AA"}]})),
        (Generic, json!({"text": ""})),
        (Generic, json!({"input_tokens": 14})),
        (Generic, json!({"id": "file-1", "object": "file", "status": "error"})),
        (Generic, json!({"object": "fine_tuning.job", "status": "failed", "error": {"code": "x", "message": "y"}})),
        (Generic, json!({"object": "video", "status": "failed", "error": {"code": "x", "message": "y"}})),
        (Generic, json!({"error": null, "ok": true})),
        (Generic, json!({"error": {}})),
        (Generic, json!({})),
        (Generic, json!([])),
        (Generic, json!({"object": "chat.completion", "id": "chatcmpl-1", "metadata": {}})),
        (Generic, json!("text")),
        (Generic, json!({"results": [{"flagged": true}]})),
    ] {
        assert_eq!(json_of(protocol, &body), None, "{protocol:?} {body}");
    }
}

/// RFC 9457 lets a problem have any other field.
#[test]
fn s1_4_problem_details_by_their_type_may_have_fields_of_their_own() {
    for (body, class) in [
        (
            json!({"title": "Slow down", "status": 429, "balance": 30, "accounts": [{"id": 1}]}),
            Some(ErrorClass::RateLimited),
        ),
        (json!({"type": "https://h/p", "detail": "Internal error", "debug": {"a": 1}}), Some(ErrorClass::ServerError)),
        (json!({"title": "Fine", "status": 200, "balance": 30}), None),
        (chat(json!({"content": "hi"}), json!("stop")), None),
    ] {
        let sent = body.to_string();
        for kind in ["application/problem+json", "Application/Problem+JSON; charset=utf-8"] {
            assert_eq!(typed(Protocol::OpenAiChat, kind, sent.as_bytes()), class, "{body}");
        }
        assert_eq!(typed(Protocol::OpenAiChat, "application/json", sent.as_bytes()), None, "{body}");
    }
}

#[test]
fn s1_4_bodies_that_are_empty_cut_or_of_another_kind() {
    let json = "application/json";
    for (protocol, kind, body, class) in [
        (OpenAiChat, json, "", Some(EmptyAnswer)),
        (Generic, json, " \n", Some(EmptyAnswer)),
        (OpenAiChat, "", "", Some(EmptyAnswer)),
        (Generic, "", "", Some(EmptyAnswer)),
        (OpenAiChat, "text/plain", "", Some(EmptyAnswer)),
        (Generic, "application/octet-stream", "", None),
        (Generic, "text/plain; charset=utf-8", "", None),
        (Generic, "audio/mpeg", "", Some(EmptyAnswer)),
        (Generic, "Image/png", "", Some(EmptyAnswer)),
        (Generic, "video/mp4", "", Some(EmptyAnswer)),
        (OpenAiChat, "text/plain; charset=utf-8", "{\"error\":{\"message\":\"x\",\"code\":502}}", Some(ServerError)),
        (Anthropic, "application/octet-stream", " {\"error\":{\"type\":\"overloaded_error\"}}", Some(Overloaded)),
        (OpenAiChat, "text/plain", "{\"choices\":[{\"message\":{\"content\":\"a\"}}]}", None),
        (OpenAiChat, "text/plain", "hello", None),
        (Generic, "application/octet-stream", "{\"error\":{\"message\":\"x\",\"code\":502}}", None),
        (OpenAiChat, json, "\n\n  {\"error\":{\"message\":\"x\",\"code\":502}}", Some(ServerError)),
        (OpenAiChat, "", "{\"error\":{\"message\":\"x\",\"code\":502}}", Some(ServerError)),
        (OpenAiChat, json, "{\"id\":\"chatcmpl-1\",\"choices\":[{\"ind", Some(BrokenAnswer)),
        (OpenAiChat, json, "{\"choices\":[{\"message\":{\"content\":\"a\"}}]} x", Some(BrokenAnswer)),
        (OpenAiChat, json, "<html>", Some(BrokenAnswer)),
        (OpenAiChat, json, "upstream", Some(BrokenAnswer)),
        (OpenAiChat, "text/html", "<html>", Some(BrokenAnswer)),
        (Generic, "text/html", "<html>", None),
        (Embeddings, "text/html", "<html>", Some(BrokenAnswer)),
        (Embeddings, "text/plain", "{\"object\":\"list\",\"data\":[]}", Some(EmptyAnswer)),
        (Images, "text/html", "<html>", Some(BrokenAnswer)),
        (Moderations, "Text/HTML; charset=utf-8", "<html>", Some(BrokenAnswer)),
        (Rerank, "text/html", "<html>", Some(BrokenAnswer)),
        (Transcription, "text/html", "<html>", Some(BrokenAnswer)),
        (Speech, "text/html", "<html>", Some(BrokenAnswer)),
        (Images, "text/plain", "{\"created\":1,\"data\":[]}", Some(EmptyAnswer)),
        (Images, json, "", Some(EmptyAnswer)),
        (Images, json, "{\"created\":1,\"data\":[{\"b64_json\":\"AA", Some(BrokenAnswer)),
        (Transcription, json, "", Some(EmptyAnswer)),
        (Transcription, "", "", Some(EmptyAnswer)),
        (Transcription, "text/plain; charset=utf-8", "", None),
        (Transcription, "text/plain", "\n", None),
        (Transcription, "text/plain", "hello", None),
        (Speech, "application/octet-stream", "", Some(EmptyAnswer)),
        (Speech, "audio/pcm", "", Some(EmptyAnswer)),
        (Speech, "audio/pcm", "  \n ", None),
        // Samples are whatever they are.
        (Speech, "", "{\u{0}", None),
        (Speech, "application/octet-stream", "data: \u{0}", None),
        // A stream that is called JSON, or a text.
        (OpenAiChat, json, "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", None),
        (OpenAiChat, json, "\n: wait\n\ndata: {\"error\":{\"code\":503}}\n\n", Some(Overloaded)),
        (Generic, json, "event: a\ndata: {\"b\":1}\n\n", None),
        (OpenAiChat, "text/plain", "data: {\"error\":{\"code\":503}}\n\n", Some(Overloaded)),
        (Generic, "text/plain", ": a text", None),
        (OpenAiChat, json, "{\"choices\":[{\"text\":\"a\",\"logprobs\":NaN}]}", None),
        (Generic, json, "{\"a\":1}\n{\"b\":2}\n", None),
        (Generic, "audio/mpeg", "\u{0}{", None),
        (Generic, "text/plain", "{\"error\":1}", None),
        (OpenAiChat, "text/event-stream", "", Some(EmptyAnswer)),
        (OpenAiChat, "text/event-stream", ": ping\n\n", Some(EmptyAnswer)),
        (OpenAiChat, "text/event-stream", "data: {\"error\":{\"code\":503}}\n\n", Some(Overloaded)),
        (OpenAiChat, "text/event-stream", "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", None),
        (OpenAiChat, "text/event-stream", "data: {\"choices\":[{\"text\":\"a\"}]}\n\n", Some(BrokenAnswer)),
    ] {
        let found = typed(protocol, kind, body.as_bytes());
        assert_eq!(found, class, "{protocol:?} {kind:?} {body:?}");
    }
    let packed = AnswerHeaders::read([(&b"content-encoding"[..], "br"), (b"content-type", json)]);
    assert_eq!(answer_error(OpenAiChat, 200, &packed, b"\x01"), None, "packed bytes say nothing");
    for (protocol, status) in [(OpenAiChat, 202), (OpenAiChat, 204), (Embeddings, 205), (Generic, 204)] {
        assert_eq!(answer_error(protocol, status, &AnswerHeaders::default(), b""), None, "{protocol:?} {status}");
    }
}

#[test]
fn s1_4_json_is_whole_with_a_mark_before_it_in_lines_and_with_numbers_that_are_none() {
    for (body, whole) in [
        ("{\"a\": 1}", true),
        ("\u{feff}{\"a\": 1}", true),
        ("{\"a\": NaN}", true),
        ("{\"a\": 1}\n{\"b\": 2}\n", true),
        ("{\"a\": 1", false),
        ("{\"a\": 1}\n{\"b", false),
        ("OK", false),
    ] {
        assert_eq!(is_whole_json(body.as_bytes()), whole, "{body}");
    }
}

proptest! {
    #[test]
    fn s1_4_any_bytes_can_be_judged(bytes: Vec<u8>, kind in 0_usize..3, protocol in 0_usize..10) {
        let kind = ["application/json", "text/event-stream", "image/png"][kind];
        let protocols =
            [OpenAiChat, OpenAiResponses, Anthropic, Gemini, Generic, Images, Moderations, Rerank, Transcription, Speech];
        typed(protocols[protocol], kind, &bytes);
    }

    #[test]
    fn s1_4_an_answer_with_text_is_fine_whatever_the_text_is(text in "\\PC{1,40}") {
        prop_assert_eq!(json_of(OpenAiChat, &chat(json!({"role": "assistant", "content": text}), json!("stop"))), None);
        prop_assert_eq!(json_of(Anthropic, &json!({"type": "message", "content": [{"type": "text", "text": text}]})), None);
    }
}

/// Errors of vendors that answer 200 and number them in forms of their own.
fn numbered_errors() -> Vec<(Value, ErrorClass)> {
    let minimax = |code: i32, text: &str| {
        json!({"id": "0", "choices": null, "created": 0, "model": "", "object": "", "usage": null, "input_sensitive": false,
            "base_resp": {"status_code": code, "status_msg": text}})
    };
    let spark = |code: i32| json!({"code": code, "message": "x", "sid": "cha000"});
    let header = |code: i32| json!({"header": {"code": code, "message": "x", "sid": "cha000", "status": 2}});
    let tencent = |code: &str| json!({"Response": {"Error": {"Code": code, "Message": "x"}, "RequestId": "r"}});
    let baidu = |code: i32| json!({"error_code": code, "error_msg": "x", "id": "as-1"});
    let zhipu = |code: i32| json!({"code": code, "msg": "x", "success": false});
    vec![
        (minimax(1000, "unknown error"), ServerError),
        (minimax(1001, "request timeout"), TimedOut),
        (minimax(1002, "rate limit"), RateLimited),
        (minimax(1039, "token limit"), RateLimited),
        (minimax(1004, "login fail: Please carry the API secret key"), KeyRefused),
        (minimax(2049, "invalid api key"), KeyRefused),
        (minimax(1008, "insufficient balance"), QuotaExhausted),
        (minimax(1026, "input new_sensitive"), ContentFiltered),
        (minimax(2013, "invalid params, messages is empty"), InvalidRequest),
        (minimax(2013, "invalid params, unknown model 'm'"), NotFound),
        (minimax(9999, "new"), ServerError),
        (json!({"reply": "", "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}), RateLimited),
        (
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}], "base_resp": {"status_code": 1027, "status_msg": "x"}}),
            ContentFiltered,
        ),
        (spark(10007), RateLimited),
        (spark(10008), Overloaded),
        (spark(10013), ContentFiltered),
        (spark(10907), ContextTooLong),
        (spark(11200), KeyRefused),
        (spark(11201), QuotaExhausted),
        (header(11202), RateLimited),
        (header(10012), ServerError),
        (tencent("AuthFailure.SignatureFailure"), KeyRefused),
        (tencent("RequestLimitExceeded"), RateLimited),
        (tencent("FailedOperation.EngineServerLimitExceeded"), RateLimited),
        (tencent("FailedOperation.ResourcePackExhausted"), QuotaExhausted),
        (tencent("InvalidParameterValue.Model"), NotFound),
        (tencent("InvalidParameterValue"), InvalidRequest),
        (tencent("InternalError"), ServerError),
        (json!({"ErrorMsg": {"Msg": "x", "Code": 4001}}), ServerError),
        (baidu(18), RateLimited),
        (baidu(336_501), RateLimited),
        (baidu(17), QuotaExhausted),
        (baidu(110), KeyRefused),
        (baidu(336_103), ContextTooLong),
        (baidu(1), ServerError),
        (zhipu(1302), RateLimited),
        (zhipu(1113), QuotaExhausted),
        (zhipu(1002), KeyRefused),
        (zhipu(1211), NotFound),
        (json!({"code": 1302, "msg": "x"}), RateLimited),
        (json!({"error": {"code": "1305", "message": "x"}}), RateLimited),
        (json!({"error": {"code": "1261", "message": "x"}}), ContextTooLong),
    ]
}

#[test]
fn s1_4_errors_that_vendors_number_in_forms_of_their_own() {
    for (answer, class) in numbered_errors() {
        assert_eq!(json_of(OpenAiChat, &answer), Some(class), "{answer}");
        // In a stream, before any content, and as an error after it.
        let mut stream = StreamState::new(OpenAiChat);
        let is_bare = answer.get("code").is_some() && answer.get("sid").is_none();
        if !is_bare {
            assert_eq!(stream.push(format!("data: {answer}\n\n").as_bytes()), Progress::Failed(class), "{answer}");
        }
    }
    let role = json!({"code": 0, "message": "Success", "sid": "cha", "choices": [{"delta": {"role": "assistant", "content": ""}, "index": 0}]});
    let word = json!({"choices": [{"delta": {"content": "hi"}}], "base_resp": {"status_code": 0, "status_msg": ""}});
    let error = json!({"choices": [], "base_resp": {"status_code": 1002, "status_msg": "x"}});
    let mut stream = StreamState::new(OpenAiChat);
    assert_eq!(stream.push(format!("data: {role}\n\n").as_bytes()), Progress::Preamble);
    assert_eq!(stream.push(format!("data: {word}\n\n").as_bytes()), Progress::Content);
    stream.push(format!("data: {error}\n\n").as_bytes());
    assert_eq!(stream.error(), Some(RateLimited), "after content");
}

#[test]
fn s1_4_answers_that_carry_the_same_fields_are_good() {
    let message = json!([{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]);
    for answer in [
        json!({"choices": message, "base_resp": {"status_code": 0, "status_msg": ""}}),
        json!({"choices": message, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}),
        json!({"choices": [{"message": {"role": "assistant", "content": "{\"base_resp\":{\"status_code\":1002}}"}, "finish_reason": "stop"}]}),
        json!({"choices": [{"message": {"role": "assistant", "content": "x", "base_resp": {"status_code": 1002}}, "finish_reason": "stop"}]}),
        json!({"code": 0, "message": "Success", "sid": "cha", "choices": message, "usage": {"prompt_tokens": 1}}),
        json!({"code": 7, "sid": "cha", "choices": message}),
        json!({"header": {"code": 0, "sid": "cha", "status": 2}, "payload": {"choices": {"text": [{"content": "hi"}]}}}),
        json!({"Response": {"RequestId": "r", "Choices": [{"Message": {"Role": "assistant", "Content": "hi"}}]}}),
        json!({"data": {"audio": "00"}, "base_resp": {"status_code": 0, "status_msg": "success"}}),
        json!({"vectors": [[0.5]], "base_resp": {"status_code": 0, "status_msg": "success"}}),
        json!({"task_id": "106916112212032", "base_resp": {"status_code": 0, "status_msg": "success"}}),
        json!({"result": "hi", "error_code": 0, "error_msg": "", "usage": {"total_tokens": 1}}),
        json!({"choices": message, "code": 1302}),
    ] {
        for protocol in [OpenAiChat, Generic] {
            assert_eq!(json_of(protocol, &answer), None, "{answer}");
        }
    }
}
