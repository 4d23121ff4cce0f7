//! OpenAI's chat completions, completions, embeddings and models, and those who have the same: Azure, Gemini, Vertex, Ollama.

use serde_json::{Value, json};

use super::reply::{Reply, RequestedReply, reply};
use super::{
    Answer, Call, INPUT_TOKENS, Kind, OUTPUT_TOKENS, Refusal, State, anthropic, google, list, refuse, text, unknown,
};

const CREATED: u32 = 1_706_824_088;

/// Source: the types of OpenAI's SDK (`openai` 3.54.0, PyPI).
const OPENAI_FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
/// Source: ai.google.dev/gemini-api/docs/openai, and the fields that were reported as unknown there.
const GEMINI_FIELDS: &[&str] = &[
    "extra_body",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "reasoning_effort",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
];

pub(super) fn respond(state: &State, call: &Call) -> Result<Answer, Refusal> {
    check_key(state, call)?;
    let operation = operation(state.kind, call)?;
    if let Operation::Claude { stream } = operation {
        return anthropic::answer(state.kind, &call.json(), anthropic::Envelope::Vertex, stream);
    }
    if call.method == "GET" {
        return match operation {
            Operation::Models => Ok(models(state.kind)),
            _ => refuse(405, "Use POST."),
        };
    }
    let body: Value =
        serde_json::from_slice(&call.body).or_else(|_| refuse(400, "We could not parse the JSON body."))?;
    match operation {
        Operation::Chat => chat(state.kind, &body),
        Operation::Completions => completion(state.kind, &body),
        Operation::Embeddings => embeddings(state.kind, &body),
        Operation::Models | Operation::Claude { .. } => refuse(405, "Use GET."),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Chat,
    Completions,
    Embeddings,
    Models,
    /// Anthropic's models at Vertex.
    Claude {
        stream: bool,
    },
}

fn check_key(state: &State, call: &Call) -> Result<(), Refusal> {
    let (said, good) = match state.kind {
        Kind::Azure => (call.header("api-key"), call.header("api-key") == Some(&state.key)),
        Kind::Vertex => (call.bearer(), call.bearer().is_some_and(|token| state.google.is_known(token))),
        Kind::Ollama => (call.bearer(), call.bearer().is_none_or(|key| key == state.key)),
        _ => (call.bearer(), call.bearer() == Some(&state.key)),
    };
    match (good, said) {
        (true, _) => Ok(()),
        (false, None) => refuse(401, "You didn't provide an API key."),
        (false, Some(_)) => refuse(401, "Incorrect API key provided."),
    }
}

/// What a path asks for.
fn operation(kind: Kind, call: &Call) -> Result<Operation, Refusal> {
    let Some(path) = call.path().strip_prefix(kind.base()) else { return refuse(404, "No such path.") };
    let path = path.trim_start_matches('/');
    let (path, has_version) = match kind {
        Kind::Azure if path.starts_with("openai/v1/") => (path.trim_start_matches("openai/v1/"), true),
        Kind::Azure => {
            let path = path.strip_prefix("openai/").unwrap_or_default();
            let behind = path.strip_prefix("deployments/").and_then(|path| path.split_once('/'));
            (behind.map_or(path, |(_, operation)| operation), call.target.contains("api-version="))
        }
        Kind::Vertex => {
            match path.split_once("/publishers/anthropic/models/").and_then(|(_, path)| path.split_once(':')) {
                Some((_, "rawPredict")) => return Ok(Operation::Claude { stream: false }),
                Some((_, "streamRawPredict")) => return Ok(Operation::Claude { stream: true }),
                _ => (path.split_once("/endpoints/openapi/").map_or("", |(_, operation)| operation), true),
            }
        }
        _ => (path, true),
    };
    match path {
        _ if !has_version => refuse(404, "Resource not found"),
        "chat/completions" => Ok(Operation::Chat),
        "completions" if !matches!(kind, Kind::Gemini | Kind::Vertex) => Ok(Operation::Completions),
        "embeddings" if kind != Kind::Vertex => Ok(Operation::Embeddings),
        "models" if kind != Kind::Vertex => Ok(Operation::Models),
        _ => refuse(404, format!("Unknown request URL: {} {}.", call.method, call.path())),
    }
}

fn check_model(kind: Kind, body: &Value) -> Result<&str, Refusal> {
    match text(body, "model") {
        // A deployment's name is in the path.
        "" if kind == Kind::Azure => Ok("deployed"),
        "" => refuse(400, "you must provide a model parameter"),
        model if model.contains("no-such") => refuse(404, format!("The model `{model}` does not exist.")),
        model if kind == Kind::Vertex && !model.contains('/') => refuse(400, "The model has no publisher before it."),
        model => Ok(model),
    }
}

pub(super) fn chat(kind: Kind, body: &Value) -> Result<Answer, Refusal> {
    let model = check_model(kind, body)?;
    check_fields(kind, body)?;
    check_messages(list(body, "messages"))?;
    let reply = reply(kind, &asked(body));
    if body["stream"] == true {
        let usage = body["stream_options"]["include_usage"] == true;
        return Ok(Answer::events(events(model, &reply, usage)));
    }
    let calls: Vec<_> = reply
        .calls
        .iter()
        .map(|call| {
            json!({"id": call.id, "type": "function",
        "function": {"name": call.name, "arguments": call.arguments.to_string()}})
        })
        .collect();
    let mut message = json!({"role": "assistant", "content": reply.text.concat(), "refusal": null});
    if !calls.is_empty() {
        message["content"] = Value::Null;
        message["tool_calls"] = calls.into();
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(&reply)});
    Ok(Answer::json(
        200,
        &json!({"id": "chatcmpl-fake", "object": "chat.completion", "created": CREATED, "model": model,
        "choices": [choice], "usage": usage()}),
    ))
}

fn usage() -> Value {
    let total = INPUT_TOKENS + OUTPUT_TOKENS;
    json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total})
}

const fn reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn check_fields(kind: Kind, body: &Value) -> Result<(), Refusal> {
    match kind {
        Kind::Gemini => match unknown(body, GEMINI_FIELDS) {
            Some(name) => {
                refuse(400, format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."))
            }
            None => google::check_chat(body),
        },
        Kind::OpenAi | Kind::Azure => match unknown(body, OPENAI_FIELDS) {
            Some(name) => refuse(400, format!("Unrecognized request argument supplied: {name}")),
            None => Ok(()),
        },
        // Vertex is not known to refuse any; Ollama ignores what it does not know.
        _ => Ok(()),
    }
}

/// Every call has its result, in the messages right behind it.
fn check_messages(messages: &[Value]) -> Result<(), Refusal> {
    if messages.is_empty() {
        return refuse(400, "[] is too short - 'messages'");
    }
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        let role = text(message, "role");
        if role == "tool" {
            let id = text(message, "tool_call_id");
            let Some(at) = open.iter().position(|open| *open == id) else {
                return refuse(
                    400,
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                );
            };
            open.remove(at);
            continue;
        }
        if !open.is_empty() {
            return refuse(400, format!("tool_call_ids did not have response messages: {}", open.join(", ")));
        }
        if !["system", "developer", "user", "assistant"].contains(&role) {
            return refuse(400, format!("Invalid value: '{role}'. 'role' must be one of those that are known."));
        }
        open = list(message, "tool_calls").iter().map(|call| text(call, "id")).collect();
    }
    if open.is_empty() {
        Ok(())
    } else {
        refuse(400, "An assistant message with 'tool_calls' must be followed by tool messages.")
    }
}

fn asked(body: &Value) -> RequestedReply<'_> {
    let tool = list(body, "tools").first().map(|tool| text(&tool["function"], "name"));
    RequestedReply {
        tool: tool.filter(|_| body["tool_choice"] != "none"),
        one_call: body["parallel_tool_calls"] == false,
        has_results: list(body, "messages").last().is_some_and(|last| last["role"] == "tool"),
        schema: body["response_format"]["json_schema"].get("schema"),
    }
}

/// The chunks of a stream; the last piece is its end.
fn events(model: &str, reply: &Reply, with_usage: bool) -> Vec<Vec<u8>> {
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    deltas.extend(reply.text.iter().map(|text| json!({"content": text})));
    for (number, call) in reply.calls.iter().enumerate() {
        let [first, second] = call.halves();
        let begin = json!({"index": number, "id": call.id, "type": "function",
            "function": {"name": call.name, "arguments": first}});
        deltas.push(json!({"tool_calls": [begin]}));
        deltas.push(json!({"tool_calls": [{"index": number, "function": {"arguments": second}}]}));
    }
    deltas.push(json!({}));
    let last = deltas.len() - 1;
    let chunk = |choices: Value| {
        json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED, "model": model,
            "choices": choices})
    };
    let mut chunks: Vec<_> = deltas
        .into_iter()
        .enumerate()
        .map(|(number, delta)| {
            let reason = if number == last { json!(reason(reply)) } else { Value::Null };
            chunk(json!([{"index": 0, "delta": delta, "finish_reason": reason}]))
        })
        .collect();
    if with_usage {
        let mut counted = chunk(json!([]));
        counted["usage"] = usage();
        chunks.push(counted);
    }
    let mut pieces: Vec<_> = chunks.iter().map(|chunk| format!("data: {chunk}\n\n").into_bytes()).collect();
    pieces.push(b"data: [DONE]\n\n".to_vec());
    pieces
}

fn completion(kind: Kind, body: &Value) -> Result<Answer, Refusal> {
    let model = check_model(kind, body)?;
    if body.get("prompt").is_none() {
        return refuse(400, "you must provide a prompt");
    }
    let text = reply(kind, &RequestedReply::default()).text.concat();
    Ok(Answer::json(
        200,
        &json!({"id": "cmpl-fake", "object": "text_completion", "created": CREATED, "model": model,
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"}], "usage": usage()}),
    ))
}

fn embeddings(kind: Kind, body: &Value) -> Result<Answer, Refusal> {
    let model = check_model(kind, body)?;
    let count = match &body["input"] {
        Value::String(text) if !text.is_empty() => 1,
        Value::Array(inputs) if !inputs.is_empty() => inputs.len(),
        _ => return refuse(400, "'$.input' is invalid."),
    };
    // 0.5 and 0.25 as numbers, or as the bytes of two floats of 32 bits.
    let embedding = if body["encoding_format"] == "base64" { json!("AAAAPwAAgD4=") } else { json!([0.5, 0.25]) };
    let one = |index| json!({"object": "embedding", "index": index, "embedding": embedding});
    let data: Vec<_> = (0..count).map(one).collect();
    let usage = json!({"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS});
    Ok(Answer::json(200, &json!({"object": "list", "model": model, "data": data, "usage": usage})))
}

fn models(kind: Kind) -> Answer {
    let id = format!("a-model-of-{}", kind.name());
    let model = json!({"id": id, "object": "model", "created": CREATED, "owned_by": kind.name()});
    Answer::json(200, &json!({"object": "list", "data": [model]}))
}

pub(super) fn error(refusal: &Refusal) -> Answer {
    let (kind, code) = match refusal.status {
        401 => ("invalid_request_error", json!("invalid_api_key")),
        404 => ("invalid_request_error", json!("model_not_found")),
        429 => ("requests", json!("rate_limit_exceeded")),
        400..500 => ("invalid_request_error", Value::Null),
        _ => ("server_error", Value::Null),
    };
    let error = json!({"message": refusal.message, "type": kind, "param": null, "code": code});
    Answer::json(refusal.status, &json!({"error": error}))
}
