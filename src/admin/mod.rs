//! What operators ask for, checked: from a verb and a small JSON object to an order that can be carried out, or to the reason
//! why not. The same for HTTP and for the bus, which only carry it. Nothing here reads a clock or keeps anything but the
//! nonces that were used.

mod auth;
mod message;
mod state;
mod weak;

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use auth::{AuthError, MessageSignature, Nonces, SIGNATURE_WINDOW, Token};
pub use state::{ReplicaState, Taken};
pub use weak::{Weakness, weakness};

use balancer::broker::{Command, OperatorCommand};
use types::mode::OperatingMode;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The largest body that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4_096;
/// The longest time that anything may hold.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 86_400);
/// The longest reason, in characters.
const MAX_REASON_CHARS: usize = 200;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminAction {
    /// Leave a router alone.
    Drain,
    /// Do so no longer.
    Resume,
    /// Take a router out as a failure would.
    Disable,
    /// Let a router serve at once.
    Enable,
    /// Another weight than the file's.
    Weight,
    /// Balance, or only observe.
    Mode,
}

impl AdminAction {
    pub const ALL: [Self; 6] = [Self::Drain, Self::Resume, Self::Disable, Self::Enable, Self::Weight, Self::Mode];

    /// As paths and subjects spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Resume => "resume",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Weight => "weight",
            Self::Mode => "mode",
        }
    }

    /// The verb of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

/// What is asked for, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminRequest {
    /// The router that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterPath>,
    /// The pool's ingress; for `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<RouterPath>,
    /// For `weight`; without it the file's holds again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// For `mode`: `balance` or `observe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// For how long: `30m`, `1h 30m`, `90s`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// Why; for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can be carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminCommand {
    /// By the broker.
    Broker(OperatorCommand),
    /// Id of the replica that answers.
    Mode {
        /// From now on.
        mode: OperatingMode,
        /// Who asked for it.
        by: String,
        reason: String,
    },
}

/// What is wrong with what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminRequestError {
    /// Too large, no JSON, or with fields that are not known.
    #[error("not understood: {0}")]
    Unreadable(String),
    /// A field that the verb needs.
    #[error("needs {0}")]
    Lacks(&'static str),
    /// A field that the verb has no use for.
    #[error("has no use for {0}")]
    Useless(&'static str),
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

/// What one replica did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminResult {
    pub replica: String,
    /// What it did; absent if it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ingresses whose calls the gateway now serves by their own endpoint, because nothing else is left.
    #[serde(default, rename = "left_without", skip_serializing_if = "Vec::is_empty")]
    pub pools_left_empty: Vec<RouterPath>,
    /// Calls in progress to the router, sent by this replica, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}

impl AdminRequest {
    /// Reads what is asked for; nothing at all asks for nothing special.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn read(body: &[u8]) -> Result<Self, AdminRequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(AdminRequestError::Unreadable(format!("larger than {MAX_REQUEST_BYTES} bytes")));
        }
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(AdminRequestError::Unreadable("no JSON object".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| AdminRequestError::Unreadable(error.to_string()))
    }

    /// What is to be carried out. `by` says who asks, by which way.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn order(self, verb: AdminAction, by: String, now: BrokerTime) -> Result<AdminCommand, AdminRequestError> {
        self.fits(verb)?;
        let reason = self.reason.unwrap_or_default();
        if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
            return Err(AdminRequestError::Reason);
        }
        let until = self.lasting.map(|text| time(&text)).transpose()?.map(|time| now.after(time));
        let router = || self.router.clone().ok_or(AdminRequestError::Lacks("\"router\""));
        let command = match verb {
            AdminAction::Mode => {
                let named = |(name, mode)| (self.mode.as_deref() == Some(name)).then_some(mode);
                let mode = OperatingMode::NAMES.into_iter().find_map(named).ok_or(AdminRequestError::Mode)?;
                return Ok(AdminCommand::Mode { mode, by, reason });
            }
            AdminAction::Drain => Command::Drain(router()?),
            AdminAction::Resume => Command::Resume(router()?),
            AdminAction::Enable => Command::Enable(router()?),
            AdminAction::Disable if until.is_none() => {
                return Err(AdminRequestError::Lacks("\"for\"; to leave a router alone without an end, drain it"));
            }
            AdminAction::Disable => Command::Disable(router()?),
            AdminAction::Weight => {
                let weight = self.weight;
                if weight.is_some_and(|weight| !(0.0..=1e6).contains(&weight)) {
                    return Err(AdminRequestError::Weight);
                }
                let pool = self.pool.ok_or(AdminRequestError::Lacks("\"pool\""))?;
                Command::SetWeight { pool, router: router()?, weight }
            }
        };
        Ok(AdminCommand::Broker(OperatorCommand { command, until, by, reason }))
    }

    /// Whether the verb has a use for everything that is there.
    fn fits(&self, verb: AdminAction) -> Result<(), AdminRequestError> {
        let useless = [
            ("\"router\"", self.router.is_some(), verb == AdminAction::Mode),
            ("\"pool\"", self.pool.is_some(), verb != AdminAction::Weight),
            ("\"weight\"", self.weight.is_some(), verb != AdminAction::Weight),
            ("\"mode\"", self.mode.is_some(), verb != AdminAction::Mode),
            (
                "\"for\"",
                self.lasting.is_some(),
                matches!(verb, AdminAction::Resume | AdminAction::Enable | AdminAction::Mode),
            ),
        ];
        match useless.into_iter().find(|(_, is_there, of_no_use)| *is_there && *of_no_use) {
            Some((field, ..)) => Err(AdminRequestError::Useless(field)),
            None => Ok(()),
        }
    }
}

/// A time, as people write it.
///
/// # Errors
/// It cannot be read, is not positive, or is too long.
pub fn time(text: &str) -> Result<Duration, AdminRequestError> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let fits = |time: &Duration| !time.is_zero() && *time <= MAX_DURATION;
    time.filter(fits).ok_or_else(|| AdminRequestError::Time(text.chars().take(40).collect()))
}

#[cfg(test)]
mod tests;
