//! Requests of operators, the same over HTTP and over the bus: an action and a small JSON object become a command, or an error.
//! Nothing here reads a clock, and the only state is the nonces that were accepted.

mod auth;
mod message;
mod state;
mod weak;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use auth::{AuthError, MessageSignature, Nonces, SIGNATURE_WINDOW, Token};
pub use state::{AcceptedNonces, ReplicaState};
pub use weak::{Weakness, weakness};

use crate::clock::read_time;
use balancer::broker::{Command, OperatorCommand};
use types::mode::OperatingMode;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The largest body that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4_096;
/// The longest time for which a command may apply.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 86_400);
/// The longest reason, in characters.
const MAX_REASON_CHARS: usize = 200;

types::named_enum! {
    /// What an operator can request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum AdminAction {
        /// Send a router no calls.
        Drain = "drain",
        /// End its drain.
        Resume = "resume",
        /// Eject a router as a failure would.
        Disable = "disable",
        /// Readmit a router at once.
        Enable = "enable",
        /// Set another weight than the file's, or that one again.
        Weight = "weight",
        /// Set the mode: balance, or only observe.
        Mode = "mode",
    }
}

/// The body of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterPath>,
    /// The ingress of the pool; for `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<RouterPath>,
    /// For `weight`; `None`: that of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// For `mode`: `balance` or `observe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// How long the command applies: `30m`, `1h 30m`, `90s`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// For the log and the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A valid request, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminCommand {
    /// For the balancer.
    Broker(OperatorCommand),
    /// For the operating mode.
    Mode {
        mode: OperatingMode,
        /// Who requested it, and through which interface.
        by: String,
        reason: String,
    },
}

/// Why a request is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminRequestError {
    /// Too large, not JSON, or with unknown fields.
    #[error("not understood: {0}")]
    Unreadable(String),
    #[error("needs {0}")]
    MissingField(&'static str),
    #[error("does not take {0}")]
    UnexpectedField(&'static str),
    #[error("\"for\" is {0:?}: must be a time such as 30m, 1h 30m or 90s, more than 0 and at most 30 days")]
    Time(String),
    #[error("\"weight\" must be a number, not negative, at most 1000000")]
    Weight,
    #[error("\"mode\" must be balance or observe")]
    Mode,
    /// Too long, or more than a line.
    #[error("\"reason\" must be one line of at most 200 characters")]
    Reason,
}

/// The answer of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminResult {
    pub replica: String,
    /// What it did; `None` if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ingresses without an available target: the gateway serves its calls by the ingress router's own endpoint; those of the
    /// relay wait, or get 503.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools_left_empty: Vec<RouterPath>,
    /// The name of `pools_left_empty` until 0.1, which a replica of that release reads and writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_without: Vec<RouterPath>,
    /// Calls in flight from this replica to the router; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}

impl AdminRequest {
    /// Parses a body; an empty one is a request without fields.
    ///
    /// # Errors
    /// It is too large, not JSON, or has unknown fields.
    pub fn read(body: &[u8]) -> Result<Self, AdminRequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(AdminRequestError::Unreadable(format!("larger than {MAX_REQUEST_BYTES} bytes")));
        }
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(AdminRequestError::Unreadable("not a JSON object".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| AdminRequestError::Unreadable(error.to_string()))
    }

    /// Checks the request. `by` is who requests it, and through which interface.
    ///
    /// # Errors
    /// The first field that is missing, unexpected or invalid.
    pub fn command(self, action: AdminAction, by: String, now: BrokerTime) -> Result<AdminCommand, AdminRequestError> {
        self.check_fields(action)?;
        let reason = self.reason.unwrap_or_default();
        if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
            return Err(AdminRequestError::Reason);
        }
        let time = |text: String| {
            read_time(&text, MAX_DURATION).ok_or_else(|| AdminRequestError::Time(text.chars().take(40).collect()))
        };
        let until = self.lasting.map(time).transpose()?.map(|time| now.after(time));
        let router = || self.router.clone().ok_or(AdminRequestError::MissingField("\"router\""));
        let command = match action {
            AdminAction::Mode => {
                let mode = self.mode.as_deref().and_then(OperatingMode::from_name).ok_or(AdminRequestError::Mode)?;
                return Ok(AdminCommand::Mode { mode, by, reason });
            }
            AdminAction::Drain => Command::Drain(router()?),
            AdminAction::Resume => Command::Resume(router()?),
            AdminAction::Enable => Command::Enable(router()?),
            AdminAction::Disable if until.is_none() => {
                return Err(AdminRequestError::MissingField(
                    "\"for\"; to send a router no calls without an end, drain it",
                ));
            }
            AdminAction::Disable => Command::Disable(router()?),
            AdminAction::Weight => {
                let weight = self.weight;
                if weight.is_some_and(|weight| !(0.0..=1e6).contains(&weight)) {
                    return Err(AdminRequestError::Weight);
                }
                let pool = self.pool.ok_or(AdminRequestError::MissingField("\"pool\""))?;
                Command::SetWeight { pool, router: router()?, weight }
            }
        };
        Ok(AdminCommand::Broker(OperatorCommand { command, until, by, reason }))
    }

    /// Checks that the request has no field that the action does not take.
    fn check_fields(&self, action: AdminAction) -> Result<(), AdminRequestError> {
        let unexpected = [
            ("\"router\"", self.router.is_some(), action == AdminAction::Mode),
            ("\"pool\"", self.pool.is_some(), action != AdminAction::Weight),
            ("\"weight\"", self.weight.is_some(), action != AdminAction::Weight),
            ("\"mode\"", self.mode.is_some(), action != AdminAction::Mode),
            (
                "\"for\"",
                self.lasting.is_some(),
                matches!(action, AdminAction::Resume | AdminAction::Enable | AdminAction::Mode),
            ),
        ];
        match unexpected.into_iter().find(|(_, is_given, is_unexpected)| *is_given && *is_unexpected) {
            Some((field, ..)) => Err(AdminRequestError::UnexpectedField(field)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
