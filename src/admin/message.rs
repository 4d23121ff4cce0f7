//! The JSON in which replicas of different versions exchange their state.
//!
//! [`VERSION`] is raised when fields are added. A field never changes its meaning, and none is removed while a version that
//! needs it may still run. A reader ignores fields and values that it does not know, and uses the rest of the same router or
//! override, and all others.
//!
//! | version | since this version |
//! |---|---|
//! | 1 (not written) | a router's `why` is one of the fixed texts of [`text_of_version_1`] |
//! | 2 | a router has a typed `cause` |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use types::outcome::Cause;
use types::router::RouterPath;

/// The version of the messages that this broker writes.
pub(super) const VERSION: u32 = 2;

/// The text of version 1 for [`Cause::Operator`].
const OPERATOR: &str = "by an operator";

/// A router in a message.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RouterMessage {
    router: RouterPath,
    seconds_left: Option<f64>,
    #[serde(default)]
    why: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    cause: Value,
}

impl From<super::state::EjectedRouter> for RouterMessage {
    fn from(out: super::state::EjectedRouter) -> Self {
        let cause = serde_json::to_value(out.cause).unwrap_or_default();
        Self { router: out.router, seconds_left: out.seconds_left, why: text_of_version_1(out.cause), cause }
    }
}

impl From<RouterMessage> for super::state::EjectedRouter {
    fn from(RouterMessage { router, seconds_left, why, cause }: RouterMessage) -> Self {
        // Of the causes of version 1 only an operator's command makes a difference.
        let is_command = cause.is_null() && why == OPERATOR;
        let cause = if is_command { Cause::Operator } else { serde_json::from_value(cause).unwrap_or_default() };
        Self { router, seconds_left, cause }
    }
}

/// The nearest text that brokers of version 1 know: they drop a router with another one.
fn text_of_version_1(cause: Cause) -> String {
    match cause {
        Cause::Answered(status) | Cause::LowSuccessRate(status) => return format!("answered {status}"),
        Cause::Unreachable(status) => return format!("unreachable (the gateway says {status})"),
        Cause::RateLimitExhausted | Cause::KeyRefused | Cause::AccountQuotaExhausted(_) => "its rate limit is used up",
        Cause::CutOff | Cause::TooSlow => "too slow",
        Cause::UnknownToGateway => "unknown to the gateway",
        Cause::Operator => OPERATOR,
        Cause::Transport(_) | Cause::Unknown => "closed the connection without an answer",
    }
    .to_owned()
}

/// A field whose value may be of a newer version: the default where this version does not know it.
pub(super) fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(message: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(message)?).unwrap_or_default())
}

/// The same for a list: the entries that this version knows.
pub(super) fn known_of<'de, D: Deserializer<'de>, T: DeserializeOwned>(message: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Value>::deserialize(message)?;
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}
