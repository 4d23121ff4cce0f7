//! How replicas of different versions read each other's state. What travels is typed: no reader takes a line of the log apart.
//!
//! [`VERSION`] counts the fields that were added; a field never changes its meaning and none is taken away while a version that
//! needs it may still run. A reader uses what it knows, however old or new the message is: a field or value that it does not know
//! is as if it were not there, and costs neither the rest of its router or order nor the others.
//!
//! | version | since it |
//! |---|---|
//! | 1 (not written) | a router's `why` is one of the fixed texts of [`text_of_version_1`] |
//! | 2 | a router's `cause` says it as data |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use types::outcome::Cause;
use types::router::RouterPath;

/// The version of what this broker writes.
pub(super) const VERSION: u32 = 2;

/// By order of an operator, in version 1.
const OPERATOR: &str = "by an operator";

/// A router as it travels.
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
        // Of version 1 only an operator's order means more than that the router is out.
        let is_order = cause.is_null() && why == OPERATOR;
        let cause = if is_order { Cause::Operator } else { serde_json::from_value(cause).unwrap_or_default() };
        Self { router, seconds_left, cause }
    }
}

/// The nearest text that every broker of version 1 takes for a cause; one with another text forgets that the router is out.
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

/// A field of which a newer version may say more than this one knows.
pub(super) fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(message: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(message)?).unwrap_or_default())
}

/// The same of a list: those of its entries that this version knows.
pub(super) fn known_of<'de, D: Deserializer<'de>, T: DeserializeOwned>(message: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::<Value>::deserialize(message)?;
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}
