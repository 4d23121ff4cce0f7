//! What the broker reports when something changes: health transitions, advisories, operator actions.
//!
//! Adapters log, count and publish every [`BrokerEvent`]; each is emitted once, when it happens.

use std::fmt;

use crate::outcome::Cause;
use crate::router::RouterPath;
use crate::time::BrokerTime;

/// A router's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// Takes requests.
    Serving,
    /// Ejected: takes no requests until its cooldown ends.
    Cooling {
        /// End of the cooldown.
        until: BrokerTime,
        /// Why it was ejected.
        cause: Cause,
    },
    /// On probation: the cooldown is over, and a few requests at a time probe the router until one succeeds.
    Probing {
        /// Why it was ejected.
        cause: Cause,
    },
}

/// A change of one router's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub router: RouterPath,
    /// The number of this router's ejection; its return carries the same number.
    pub epoch: u32,
    /// The new state.
    pub state: HealthState,
    /// When it happened.
    pub at: BrokerTime,
}

/// Something to log, count or publish. It names routers by path, because ids have no meaning outside one broker.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerEvent {
    /// A router was ejected or is back.
    HealthChanged(Transition),
    /// The cooldown of an ejected router was extended, or a serving router pauses for less than a second.
    Extended(Transition),
    /// No router behind this ingress is available.
    AllDisabled {
        ingress: RouterPath,
        /// Requests go to disabled routers; otherwise the gateway uses the ingress router's own endpoint.
        uses_disabled: bool,
    },
    /// A router behind this ingress is available again.
    SomeEnabled(RouterPath),
    /// A router rests for one model, or serves it again.
    ModelLimit(ModelLimitChange),
    /// A condition that needs an operator; reported once.
    Advisory(Advisory),
    /// An operator's command was applied, or its override expired.
    OperatorAction(OperatorAction),
}

impl BrokerEvent {
    /// Whether a router may take requests now that it may not have taken before.
    pub const fn may_bring_back(&self) -> bool {
        match self {
            Self::HealthChanged(transition) => !matches!(transition.state, HealthState::Cooling { .. }),
            Self::ModelLimit(change) => change.until.is_none(),
            Self::SomeEnabled(_) | Self::OperatorAction(_) => true,
            Self::Extended(_) | Self::AllDisabled { .. } | Self::Advisory(_) => false,
        }
    }
}

/// A router's upstream limits the rate of one model, or does no more; it serves all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimitChange {
    pub router: RouterPath,
    /// The model as a client named it.
    pub model: Box<str>,
    /// Until when calls for the model go elsewhere; `None`: no more.
    pub until: Option<BrokerTime>,
}

/// An operator's command as it was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorAction {
    pub router: RouterPath,
    /// What was done.
    pub action: ActionDone,
    /// When it expires; `None` if it does not.
    pub until: Option<BrokerTime>,
    /// Who asked for it, and through which interface.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
    /// When it was applied.
    pub at: BrokerTime,
}

/// What an operator's command did, or the end of its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActionDone {
    /// The router gets no calls.
    Drained {
        /// It was drained until the same time for the same reason; the command changed nothing.
        was_drained: bool,
    },
    /// It gets calls again.
    Resumed {
        /// It was drained; otherwise the command changed nothing.
        was_drained: bool,
    },
    /// Ejected.
    Disabled,
    /// Readmitted.
    Enabled {
        /// It served; otherwise the command changed nothing.
        was_enabled: bool,
    },
    /// It has another weight in a pool.
    Weighs {
        /// `None`: that of the file.
        weight: Option<f64>,
        /// It had this weight until the same time for the same reason; the command changed nothing.
        was_so: bool,
    },
}

impl ActionDone {
    /// Whether the router is drained from now on; `None` where nothing changed about that.
    pub const fn drained(self) -> Option<bool> {
        match self {
            Self::Drained { .. } => Some(true),
            Self::Resumed { was_drained: true } => Some(false),
            _ => None,
        }
    }
}

impl fmt::Display for ActionDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained { was_drained: false } => "drained",
            Self::Drained { was_drained: true } => "drained (it was drained already)",
            Self::Resumed { was_drained: true } => "resumed",
            Self::Resumed { was_drained: false } => "resumed (it was not drained)",
            Self::Disabled => "disabled",
            Self::Enabled { was_enabled: true } => "enabled (it was enabled already)",
            Self::Enabled { was_enabled: false } => "enabled",
            Self::Weighs { weight: Some(weight), was_so: false } => return write!(f, "has weight {weight}"),
            Self::Weighs { weight: Some(weight), was_so: true } => {
                return write!(f, "has weight {weight} (it was {weight} already)");
            }
            Self::Weighs { weight: None, was_so: false } => "has the weight of the file",
            Self::Weighs { weight: None, was_so: true } => "has the weight of the file (it was that already)",
        })
    }
}

/// Conditions that do not resolve by waiting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Advisory {
    /// A router rejects the broker's credentials (with this status) while another router works.
    RefusesCredentials(RouterPath, u16),
    /// A router has never answered anything but 404.
    OnlyNotFound(RouterPath),
    /// A router failed right after this many consecutive returns.
    KeepsFailing(RouterPath, u32),
    /// The log shows no stamps, so the calls in flight are not known, and a policy chooses by them.
    StampsMissing,
    /// One request failed on the first router and then on the second, which answers other requests.
    RequestAtFault(RouterPath, RouterPath),
    /// The gateway's log filters remove this field, which learning needs.
    LogFiltered(&'static str),
}

crate::named_enum! {
    /// Why an observation was not learned from. Each reason is counted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum IgnoreReason {
        /// It names no router, or one that is in no pool.
        UnknownRouter = "unknown_router",
        /// The upstream was not called, or its status is not known.
        NoStatus = "no_status",
        /// A processor answered in place of the upstream.
        ProcessorGenerated = "processor_generated",
        /// The gateway's echo endpoint answered.
        Echo = "echo",
        /// The broker's choice was not applied because row 2 failed. No router is at fault.
        NotApplied = "not_applied",
        /// A duplicate of a log entry.
        Duplicate = "duplicate",
        /// The gateway's log filters removed a field that learning needs.
        Filtered = "filtered",
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownRouter => "about a router that is in no pool",
            Self::NoStatus => "without the upstream's status",
            Self::ProcessorGenerated => "answered by a processor",
            Self::Echo => "answered by the gateway's echo",
            Self::NotApplied => "our choice was not applied: row 2 did not run",
            Self::Duplicate => "a duplicate",
            Self::Filtered => "emptied by the gateway's log filters",
        })
    }
}
