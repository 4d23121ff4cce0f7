//! What is Google's own: tokens for service accounts, errors in an array, and what is refused within messages and tools.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Call, Refusal, list, lock, refuse, text, unknown};

/// The tokens that were handed out.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Issued>);

#[derive(Debug, Default)]
struct Issued {
    count: usize,
    /// Every request for a token is answered 503.
    is_unavailable: bool,
}

impl Tokens {
    pub(super) fn set_unavailable(&self, is_unavailable: bool) {
        lock(&self.0).is_unavailable = is_unavailable;
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.0).count
    }

    pub(super) fn is_known(&self, token: &str) -> bool {
        let number = token.strip_prefix("ya29.").and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| (1..=self.count()).contains(&number))
    }

    /// Source: Google, "Using OAuth 2.0 for Server to Server Applications" (HTTP/REST). The signature of an assertion is not
    /// checked here.
    pub(super) fn hand_out(&self, call: &Call) -> Answer {
        let refused = |error: &str| Answer::json(400, &json!({"error": error, "error_description": "See the script."}));
        let mut issued = lock(&self.0);
        if issued.is_unavailable {
            return Answer::json(503, &json!({"error": "temporarily_unavailable"}));
        }
        let fields: Vec<_> = url::form_urlencoded::parse(&call.body).collect();
        let field = |name: &str| fields.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
        if field("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
            return refused("unsupported_grant_type");
        }
        let parts: Vec<_> = field("assertion").split('.').collect();
        let [head, claims, signature] = parts[..] else { return refused("invalid_grant") };
        let read = |part: &str| -> Value {
            let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        let (head, claims) = (read(head), read(claims));
        let now = Timestamp::now().as_second();
        let is_now = claims["iat"].as_i64().is_some_and(|time| time <= now + 60)
            && claims["exp"].as_i64().is_some_and(|time| time > now && time <= now + 3660);
        let is_whole = text(&claims, "iss").contains('@') && !text(&claims, "scope").is_empty();
        if text(&head, "alg") != "RS256" || !is_now || !is_whole || !text(&claims, "aud").ends_with("/token") {
            return refused("invalid_grant");
        }
        if signature.len() < 256 {
            return refused("invalid_grant");
        }
        issued.count += 1;
        let token = format!("ya29.{}", issued.count);
        Answer::json(200, &json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
    }
}

/// Refuses what Gemini refuses within messages and tools. Source: the issues github/copilot-sdk#1129 (unknown fields), #2061
/// (`null`) and inference-gateway/inference-gateway#181 (results without the tool's name).
pub(super) fn check_chat(body: &Value) -> Result<(), Refusal> {
    let message = ["role", "content", "name", "tool_calls", "tool_call_id", "refusal", "extra_content"];
    for (list_name, known) in [("messages", &message[..]), ("tools", &["type", "function"])] {
        for (at, one) in list(body, list_name).iter().enumerate() {
            if let Some(name) = unknown(one, known) {
                let place = format!("{list_name}[{at}]");
                return refuse(
                    400,
                    format!("Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."),
                );
            }
            if one.as_object().is_some_and(|one| one.values().any(Value::is_null)) {
                return refuse(400, "Value is not a string: null");
            }
            if one["role"] == "tool" && text(one, "name").is_empty() {
                return refuse(
                    400,
                    format!(
                        "GenerateContentRequest.contents[{at}].parts[0].function_response.name: Name cannot be empty."
                    ),
                );
            }
        }
    }
    Ok(())
}

/// The OpenAI-shaped endpoints put their errors into an array.
pub(super) fn error(refusal: &Refusal) -> Answer {
    let status = match refusal.status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        _ => "INTERNAL",
    };
    let error = json!({"code": refusal.status, "message": refusal.message, "status": status});
    Answer::json(refusal.status, &json!([{"error": error}]))
}
