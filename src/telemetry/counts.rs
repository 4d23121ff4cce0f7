//! Counters of events that are not logged one by one: messages that are malformed, ignored or incomplete, and changes of health
//! states. The kinds are enums and fixed words, so their number is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Counter, RelayCounters};
use balancer::broker::PublicState;
use gecholog_protocol::bypass::Bypass;
use gecholog_protocol::reply::Degradation;
use gecholog_protocol::{Malformed, log_entry};
use llm::usage::{InvalidUsage, Usage};
use types::outcome::Cause;
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::{BrokerEvent, HealthState, IgnoreReason};

types::named_enum! {
    /// The result of reading the pools file again.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ReloadResult {
        /// It is in force.
        Applied = "applied",
        /// It has faults, and the settings from before stay in force.
        Refused = "refused",
        /// It cannot be read: it is missing, forbidden or too large. The settings from before stay in force.
        Unreadable = "unreadable",
    }
}

types::named_enum! {
    /// What a process lacked descriptors, memory, threads or ports for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum NeededFor {
        HttpAccept = "http_accept",
        RelayAccept = "relay_accept",
        RelayConnect = "relay_connect",
    }
}

types::named_enum! {
    /// Where operators' tokens are presented.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum TokenInterface {
        Http = "http",
        Relay = "relay",
        Bus = "bus",
    }
}

types::named_enum! {
    /// The result of the export of a call as a trace.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ExportResult {
        Exported = "exported",
        /// The sampler left it out.
        NotSampled = "not_sampled",
        /// Calls came faster than they could be sent.
        QueueFull = "queue_full",
        /// The collector did not take it.
        Failed = "failed",
    }
}

/// The counts of one process.
#[derive(Debug)]
pub struct Counts {
    /// Messages on our subjects that cannot be parsed.
    pub malformed_messages: Counter<Malformed>,
    /// Messages about finished calls that had no effect.
    pub ignored_messages: Counter<IgnoreReason>,
    /// Replies that had to do without something.
    pub degradations: Counter<Degradation>,
    /// Log entries that cannot be parsed.
    pub malformed_logs: Counter<Malformed>,
    /// Calls that no broker balanced.
    pub bypassed: Counter<Bypass>,
    /// Log entries that had no effect.
    pub ignored_logs: Counter<IgnoreReason>,
    /// Log entries without a field that learning needs, by the first such field.
    pub incomplete_logs: Counter<&'static str>,
    pub exhausted: Counter<NeededFor>,
    /// Limits the log lines about exhausted resources, for all uses together.
    exhausted_logged: Counter<()>,
    /// Wrong operators' tokens.
    pub wrong_tokens: Counter<TokenInterface>,
    /// Answers whose usage is implausible.
    invalid_usage: AtomicU64,
    /// Without kinds where traces are off.
    pub traced: Arc<Counter<ExportResult>>,
    pub relayed: RelayCounters,
    reloads: Counter<ReloadResult>,
    last_reload_failed: AtomicBool,
    transitions: Mutex<BTreeMap<(RouterPath, PublicState, &'static str), u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            malformed_messages: Counter::with_kinds(Malformed::ALL),
            ignored_messages: Counter::with_kinds(IgnoreReason::ALL),
            degradations: Counter::with_kinds(Degradation::ALL),
            malformed_logs: Counter::with_kinds(Malformed::ALL),
            bypassed: Counter::with_kinds(Bypass::ALL),
            ignored_logs: Counter::with_kinds(IgnoreReason::ALL),
            incomplete_logs: Counter::with_kinds(log_entry::NEEDED),
            exhausted: Counter::with_kinds(NeededFor::ALL),
            exhausted_logged: Counter::with_kinds([()]),
            wrong_tokens: Counter::with_kinds(TokenInterface::ALL).logged_every(Duration::from_secs(60)),
            invalid_usage: AtomicU64::default(),
            traced: Arc::default(),
            relayed: RelayCounters::default(),
            reloads: Counter::with_kinds(ReloadResult::ALL),
            last_reload_failed: AtomicBool::default(),
            transitions: Mutex::default(),
        }
    }
}

impl Counts {
    /// Counts an operation that failed because the process has no descriptors, memory, threads or ports left. Returns the total
    /// of all three if it is time to log it, which is once a second.
    pub fn exhausted(&self, needed_for: NeededFor, now: BrokerTime) -> Option<u64> {
        self.exhausted.count(needed_for, now);
        self.exhausted_logged.count((), now)
    }

    /// The usage of an answer, called once per answer. An implausible one (negative, huge, text, or without its input) is
    /// counted, and becomes unknown.
    pub fn valid_usage(&self, usage: Result<Option<Usage>, InvalidUsage>) -> Option<Usage> {
        usage.unwrap_or_else(|_| {
            self.invalid_usage.fetch_add(1, Ordering::Relaxed);
            None
        })
    }

    pub fn invalid_usage(&self) -> u64 {
        self.invalid_usage.load(Ordering::Relaxed)
    }

    /// Counts a reading of the pools file.
    pub fn reload(&self, result: ReloadResult, now: BrokerTime) {
        self.last_reload_failed.store(result != ReloadResult::Applied, Ordering::Relaxed);
        self.reloads.count(result, now);
    }

    pub fn reloads(&self) -> impl Iterator<Item = (ReloadResult, u64)> {
        self.reloads.all()
    }

    /// Whether the content of the pools file is not what is in force.
    pub fn last_reload_failed(&self) -> bool {
        self.last_reload_failed.load(Ordering::Relaxed)
    }

    /// Counts a change of health state.
    pub fn change(&self, change: &BrokerEvent) {
        let BrokerEvent::HealthChanged(transition) = change else { return };
        let (to, cause) = match transition.state {
            HealthState::Serving => (PublicState::Enabled, "recovered"),
            HealthState::Cooling { cause, .. } => (PublicState::Disabled, word(cause)),
            HealthState::Probing { .. } => (PublicState::Probation, "cooldown_over"),
        };
        let mut transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        *transitions.entry((transition.router.clone(), to, cause)).or_default() += 1;
    }

    /// Changes of health state: router, new state, cause, count.
    pub fn transitions(&self) -> Vec<(String, PublicState, &'static str, u64)> {
        let transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        transitions.iter().map(|((router, to, cause), count)| (router.to_string(), *to, *cause, *count)).collect()
    }

    /// The counts of `messages_total`: what, kind, count.
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = Vec::new();
        all.extend(self.malformed_messages.all().map(|(kind, n)| ("malformed_message", kind.name(), n)));
        all.extend(self.ignored_messages.all().map(|(kind, n)| ("ignored_message", kind.name(), n)));
        all.extend(self.degradations.all().map(|(kind, n)| ("degraded_reply", kind.name(), n)));
        all.extend(self.malformed_logs.all().map(|(kind, n)| ("malformed_log", kind.name(), n)));
        all.extend(self.ignored_logs.all().map(|(kind, n)| ("ignored_log", kind.name(), n)));
        all.sort_unstable();
        all
    }
}

/// The label value of a cause: without its status, so that the number of labels is bounded.
const fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Answered(429) => "rate_limited",
        Cause::Answered(400..=499) => "answered_4xx",
        Cause::Answered(500..=599) => "answered_5xx",
        Cause::Answered(_) => "answered_other",
        Cause::Unreachable(_) => "unreachable",
        Cause::UnknownToGateway => "unknown_to_gateway",
        Cause::LowSuccessRate(_) => "low_success_rate",
        Cause::RateLimitExhausted => "rate_limit_exhausted",
        Cause::KeyRefused => "key_refused",
        Cause::AccountQuotaExhausted(_) => "quota_exhausted",
        Cause::CutOff => "cut_off",
        Cause::TooSlow => "too_slow",
        Cause::Transport(_) => "transport_failure",
        Cause::Operator => "operator",
        Cause::Unknown => "unknown",
    }
}
