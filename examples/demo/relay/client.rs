//! A client of the relay: one call, and whether its answer is whole.

use serde_json::{Value, json};

use crate::calls::{BODY, CALL_TIMEOUT};

/// How a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The relay itself.
    Directly,
    /// The relay itself, with an answer in parts.
    Streaming,
    /// A router of the gateway, which leads to the relay.
    ThroughTheGateway,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Why the answer is not whole, if it is not.
    pub(super) broken: Option<String>,
    /// Who answered, in how many attempts, in which session: the relay's headers.
    pub(super) router: String,
    pub(super) attempts: usize,
    pub(super) session: String,
}

impl Way {
    /// The ways in turn.
    pub(super) const fn of(number: u32) -> Self {
        match number % 3 {
            0 => Self::Directly,
            1 => Self::Streaming,
            _ => Self::ThroughTheGateway,
        }
    }

    /// The text in the table.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Directly => "the relay",
            Self::Streaming => "relay, stream",
            Self::ThroughTheGateway => "the gateway",
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    Chat,
    Stream,
    Tools,
    StreamedTools,
    Embeddings,
}

impl CallKind {
    /// Those of a chat.
    pub(super) const ALL: [Self; 4] = [Self::Chat, Self::Stream, Self::Tools, Self::StreamedTools];

    /// The ways in turn.
    pub(super) const fn of(number: u32) -> Self {
        Self::ALL[(number % 4) as usize]
    }

    /// The text in the table.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "chat, stream",
            Self::Tools => "tools",
            Self::StreamedTools => "tools, stream",
            Self::Embeddings => "embeddings",
        }
    }

    fn body(self, model: &str) -> Value {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Weather in Paris and Rome?"}]});
        match self {
            Self::Embeddings => return json!({"model": model, "input": "Paris"}),
            Self::Chat => {}
            Self::Stream => body["stream"] = json!(true),
            Self::Tools | Self::StreamedTools => {
                let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
                body["tools"] =
                    json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
                body["stream"] = json!(self == Self::StreamedTools);
            }
        }
        body
    }

    /// Why a text is not what was asked for.
    fn broken(self, text: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        match self {
            Self::Chat => broken_answer(text),
            Self::Stream => broken_stream(text),
            Self::Embeddings => answer["data"][0]["embedding"].is_null().then(|| "there is no embedding".to_owned()),
            Self::Tools => {
                let calls = answer["choices"][0]["message"]["tool_calls"].as_array().map_or(0, Vec::len);
                (calls != 2).then(|| format!("{calls} calls of tools instead of 2"))
            }
            Self::StreamedTools => broken_stream(text)
                .or_else(|| (!text.contains("\"tool_calls\"")).then(|| "there are no calls of tools".to_owned())),
        }
    }
}

/// Asks for something, and waits for the answer's end.
pub(super) fn ask(agent: &ureq::Agent, url: &str, model: &str, ask: CallKind) -> Result<Answer, String> {
    let path = if ask == CallKind::Embeddings { "embeddings" } else { "chat/completions" };
    let request = agent.post(format!("{url}{path}")).header("Content-Type", "application/json");
    let mut response = request.send(ask.body(model).to_string()).map_err(|error| error.to_string())?;
    let broken = match response.body_mut().read_to_string() {
        Err(error) => Some(error.to_string()),
        Ok(text) => ask.broken(&text),
    };
    Ok(Answer::of(&response, broken))
}

/// Makes a call, and waits for its end.
pub(super) fn call(agent: &ureq::Agent, url: &str, way: Way) -> Result<Answer, String> {
    let stream = way == Way::Streaming;
    let body = if stream { BODY.replacen('{', "{\"stream\":true,", 1) } else { BODY.to_owned() };
    let request = agent.post(url).header("Content-Type", "application/json").header("Api-Key", "any-key");
    let mut response = request.send(body).map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string();
    let broken = match text {
        Err(error) => Some(error.to_string()),
        Ok(text) if stream => broken_stream(&text),
        Ok(text) => broken_answer(&text),
    };
    Ok(Answer::of(&response, broken))
}

impl Answer {
    fn of<B>(response: &ureq::http::Response<B>, broken: Option<String>) -> Self {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            status: response.status().as_u16(),
            broken,
            router: header("X-Broker-Router").to_owned(),
            attempts: header("X-Broker-Attempts").parse().unwrap_or(0),
            session: header("X-Broker-Session").to_owned(),
        }
    }
}

/// Who makes the calls.
pub(super) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(CALL_TIMEOUT)).http_status_as_error(false).build();
    ureq::Agent::new_with_config(config)
}

fn broken_answer(text: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let has_content = answer["choices"][0]["message"]["content"].as_str().is_some_and(|content| !content.is_empty());
    (!has_content).then(|| "it is no chat completion".to_owned())
}

fn broken_stream(text: &str) -> Option<String> {
    let events: Vec<_> = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ")).collect();
    let Some((Some("[DONE]"), parts)) = events.split_last() else { return Some("the stream has no end".to_owned()) };
    let is_part = |event: &Option<&str>| {
        let part: Value = event.and_then(|event| serde_json::from_str(event).ok()).unwrap_or_default();
        part["choices"][0].is_object()
    };
    let good = !parts.is_empty() && parts.iter().all(is_part);
    (!good).then(|| "the stream has an event that is no part of an answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        assert_eq!(broken_answer(r#"{"choices":[{"message":{"content":"hello"}}]}"#), None);
        for bad in ["", "{}", r#"{"choices":[{"message":{"content":"#, r#"{"error":{"message":"no"}}"#] {
            assert!(broken_answer(bad).is_some(), "{bad}");
        }
        let part = "data: {\"choices\":[{\"delta\":{}}]}\n\n";
        assert_eq!(broken_stream(&format!("{part}{part}data: [DONE]\n\n")), None);
        for bad in ["", part, "data: [DONE]\n\n", "data: {\"error\":{}}\n\ndata: [DONE]\n\n"] {
            assert!(broken_stream(bad).is_some(), "{bad}");
        }
    }
}
