//! Checks before a deployment whether the gateway's configuration and the pools fit together.
//!
//! Pure: two values in, findings out. Each finding has a place, a reason and a fix, and shows no expanded value, because the
//! configuration is read as written. What depends on a variable that is unset here is neither correct nor an error: its severity
//! is [`Severity::Undecided`].

mod chain;
mod fields;
mod file;
mod learning;
mod needs;
mod payload;
pub mod prices;
mod render_tree;
pub mod report;
mod rewrite;
mod routers;

use serde::Serialize;

use balancer::broker::BrokerSettings;
use gecholog_protocol::gl_config::{Fault, GlConfig};
use needs::PoolsNeeds;
use types::mode::OperatingMode;

pub use render_tree::render;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It does not work.
    Error,
    /// It depends on a variable that is unset here.
    Undecided,
    /// It works, but not as expected.
    Warning,
}

/// A problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The name of the rule, for scripts.
    pub rule: &'static str,
    /// File, line, column and path; or pool and router.
    pub place: String,
    /// The cause and its effect.
    pub reason: String,
    pub fix: String,
}

/// The settings of the broker that the checks need.
#[derive(Debug, Clone, Copy)]
pub struct LintInput<'a> {
    pub settings: &'a BrokerSettings,
    /// The subject of the requests.
    pub subject: &'a str,
    /// The subject of the gateway's log.
    pub logger_subject: &'a str,
    /// Whether its decisions are applied.
    pub mode: OperatingMode,
    /// Whether it is connected to the bus. If not, calls reach the gateway only from the relay.
    pub bus: bool,
}

impl Finding {
    fn new(
        severity: Severity,
        rule: &'static str,
        place: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity, rule, place: place.into(), reason: reason.into(), fix: fix.into() }
    }

    fn error(rule: &'static str, place: impl Into<String>, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Error, rule, place, reason, fix)
    }

    fn warning(
        rule: &'static str,
        place: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, rule, place, reason, fix)
    }

    /// The finding where `wrong`; as [`Severity::Undecided`] where unknown.
    fn when(self, wrong: Option<bool>) -> Option<Self> {
        match wrong {
            Some(false) => None,
            Some(true) => Some(self),
            None => Some(self.undecided()),
        }
    }

    fn undecided(self) -> Self {
        let reason = format!("{} (perhaps: it depends on a variable that is unset here)", self.reason);
        Self { severity: Severity::Undecided, reason, ..self }
    }

    /// A fault of the gateway's reader.
    fn fault(rule: &'static str, fault: &Fault, effect: &str, fix: &str) -> Self {
        let finding = Self::error(rule, &fault.place, format!("{}: {effect}", fault.problem), fix);
        if fault.sure { finding } else { finding.undecided() }
    }
}

/// The settings, the gateway's configuration and the findings so far.
struct Linter<'a> {
    plan: LintInput<'a>,
    config: &'a GlConfig,
    needs: PoolsNeeds<'a>,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn find(&mut self, finding: impl IntoIterator<Item = Finding>) {
        self.findings.extend(finding);
    }
}

/// All findings, the most severe first. `strict`: unknown ones are errors.
pub fn check(plan: LintInput<'_>, config: &GlConfig, strict: bool) -> Vec<Finding> {
    let mut check = Linter { plan, config, needs: PoolsNeeds::for_settings(plan.settings), findings: Vec::new() };
    check.whole();
    if config.readable {
        check.routers();
    }
    if config.readable && plan.bus {
        check.chain();
        check.payload();
        check.learning();
        check.fields();
        check.rewrites();
    }
    let mut findings = check.findings;
    for finding in findings.iter_mut().filter(|finding| finding.severity == Severity::Undecided) {
        let variables = config.unset_at(&finding.place).join(" and ");
        finding.fix = format!("set {variables}, or give a file with the values: --env-file FILE; then check again");
    }
    for finding in findings.iter_mut().filter(|finding| strict && finding.severity == Severity::Undecided) {
        finding.severity = Severity::Error;
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether the gateway serves a pool, which the broker then balances over the bus.
pub fn needs_gateway(plan: LintInput<'_>) -> bool {
    plan.bus && !PoolsNeeds::for_settings(plan.settings).pools.is_empty()
}

/// The warning, without the gateway's configuration, about routers to which the relay sends calls through the gateway.
pub fn without_gateway(plan: LintInput<'_>) -> Vec<Finding> {
    let unchecked = |(ingress, _): (&_, _)| {
        let reason = "whether the gateway has its routers was not checked";
        Finding::warning("routers-unchecked", format!("pool {ingress}"), reason, "add --gl-config FILE")
    };
    PoolsNeeds::for_settings(plan.settings).pools.into_iter().map(unchecked).collect()
}

/// Either of two, of which one is enough.
fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn not(holds: Option<bool>) -> Option<bool> {
    holds.map(|holds| !holds)
}

#[cfg(test)]
mod tests;
