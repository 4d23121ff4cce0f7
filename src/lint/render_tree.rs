//! A pool's tree as text: the shares of random and round-robin policies, the order of a fallback, and the fields that a key or a
//! condition reads.
//!
//! The shares are those with all targets available. They are multiplied from branch to branch as long as only weights decide;
//! below a condition they are shares of the calls that reach it, whose number is unknown.

use std::fmt::Write;

use balancer::broker::PoolSettings;
use balancer::strategy::{Condition, Policy, Target, TargetKind};

/// The tree of a pool, one target a line.
pub fn render(pool: &PoolSettings) -> String {
    let mut out = pool.ingress.to_string();
    if let TargetKind::Branch { policy, targets } = &pool.root.kind {
        let _ = writeln!(out, "  {}", name(policy));
        branch(&mut out, policy, targets, Some(1.0), "");
    }
    out
}

/// The targets of a branch with this share of the calls; `None` below a condition.
fn branch(out: &mut String, policy: &Policy, targets: &[Target], share: Option<f64>, indent: &str) {
    let weight = |target: &Target| if gives_nothing(target) { 0.0 } else { target.weight };
    let total: f64 = targets.iter().map(weight).sum();
    let serving = targets.iter().position(|target| !gives_nothing(target));
    for (place, target) in targets.iter().enumerate() {
        let (share, note) = match policy {
            Policy::LoadBalance | Policy::RoundRobin | Policy::Sticky(_) => {
                let part = if total > 0.0 { weight(target) / total } else { 0.0 };
                (share.map(|share| share * part), String::new())
            }
            Policy::Fallback => {
                let part = if serving == Some(place) { 1.0 } else { 0.0 };
                (share.map(|share| share * part), format!("{}. ", place + 1))
            }
            Policy::Fastest | Policy::LeastBusy => (None, String::new()),
            Policy::Conditional { conditions, default } => (None, when(conditions, *default, place)),
        };
        let last = place + 1 == targets.len();
        let shown = share.map_or_else(String::new, |share| format!("{:>5.1} %  ", share * 100.0));
        let _ = writeln!(out, "{indent}{} {shown}{note}{}", if last { "└─" } else { "├─" }, label(target));
        if let TargetKind::Branch { policy: inner, targets } = &target.kind {
            // Where the number of calls is unknown, shares start again at 1.
            let below = share.or(Some(1.0));
            branch(out, inner, targets, below, &format!("{indent}{}", if last { "   " } else { "│  " }));
        }
    }
}

/// When a target of a `conditional` is chosen.
fn when(conditions: &[Condition], default: Option<u16>, place: usize) -> String {
    let is = |target: u16| usize::from(target) == place;
    let mut parts = Vec::new();
    for (number, condition) in conditions.iter().enumerate().filter(|(_, condition)| is(condition.then)) {
        let mut fields: Vec<String> = condition.query.fields().iter().map(ToString::to_string).collect();
        fields.dedup();
        parts.push(format!("condition {} on {}", number + 1, fields.join(", ")));
    }
    if default.is_some_and(is) {
        parts.push("otherwise".to_owned());
    }
    if parts.is_empty() {
        parts.push("never".to_owned());
    }
    format!("{}: ", parts.join("; "))
}

/// Whether it, or every target in it, is drained.
fn gives_nothing(target: &Target) -> bool {
    target.drained
        || match &target.kind {
            TargetKind::Router(_) => false,
            TargetKind::Branch { policy, targets } => {
                targets.iter().all(|target| gives_nothing(target) || (policy.uses_weights() && target.weight <= 0.0))
            }
        }
}

fn label(target: &Target) -> String {
    let mut label = match (&target.kind, &target.name) {
        (TargetKind::Router(path), Some(name)) => format!("{name} {path}"),
        (TargetKind::Router(path), None) => path.to_string(),
        (TargetKind::Branch { policy, .. }, Some(given)) => format!("{given}  {}", name(policy)),
        (TargetKind::Branch { policy, .. }, None) => name(policy),
    };
    if target.drained {
        label.push_str("  drained");
    }
    let patch = &target.patch;
    let named = |removed: bool| {
        patch.merge.iter().filter(move |(_, value)| value.is_null() == removed).map(|(name, _)| &**name)
    };
    let mut sets: Vec<&str> = named(false).collect();
    if !patch.model_map.is_empty() {
        sets.push("model (by model_map)");
    }
    let removes: Vec<&str> = named(true).collect();
    for (does, fields) in [("sets", sets), ("removes", removes)] {
        if !fields.is_empty() {
            let _ = write!(label, "  {does} {}", fields.join(", "));
        }
    }
    label
}

fn name(policy: &Policy) -> String {
    let note: &str = match policy {
        Policy::LoadBalance | Policy::RoundRobin => "",
        Policy::Fallback => ", the first that is available",
        Policy::Fastest => ", no shares: by expected time",
        Policy::LeastBusy => ", no shares: by the calls in progress",
        Policy::Sticky(field) => &format!(" by {field}"),
        Policy::Conditional { .. } => ", shares below are of the calls that reach it",
    };
    format!("{}{note}", policy.as_str())
}
