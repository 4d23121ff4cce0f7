//! Findings as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::{Finding, Severity, render};
use balancer::broker::BrokerSettings;

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    errors: usize,
    cannot_say: usize,
    warnings: usize,
    findings: &'a [Finding],
    pools: Vec<Pool>,
}

#[derive(Serialize)]
struct Pool {
    ingress: String,
    tree: Vec<String>,
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// Whether there are no errors.
pub fn is_ok(findings: &[Finding]) -> bool {
    count(findings, Severity::Error) == 0
}

/// One JSON document.
pub fn json(findings: &[Finding], settings: &BrokerSettings) -> String {
    let pools = settings.pools.iter().map(|pool| Pool {
        ingress: pool.ingress.to_string(),
        tree: render(pool).lines().map(str::to_owned).collect(),
    });
    let report = Report {
        ok: is_ok(findings),
        errors: count(findings, Severity::Error),
        cannot_say: count(findings, Severity::Undecided),
        warnings: count(findings, Severity::Warning),
        findings,
        pools: pools.collect(),
    };
    // Texts, numbers and lists always are JSON.
    let mut out = serde_json::to_string_pretty(&report).unwrap_or_default();
    out.push('\n');
    out
}

/// The findings, the most severe first, and then each pool as it was parsed.
pub fn text(findings: &[Finding], settings: &BrokerSettings) -> String {
    let mut out = String::new();
    for (severity, title) in
        [(Severity::Error, "errors"), (Severity::Undecided, "undecided"), (Severity::Warning, "warnings")]
    {
        let some: Vec<_> = findings.iter().filter(|finding| finding.severity == severity).collect();
        if some.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{title} ({})", some.len());
        for finding in some {
            let Finding { place, rule, reason, fix, .. } = finding;
            let _ = writeln!(out, "  {place}  [{rule}]\n    {reason}\n    to fix: {fix}");
        }
        out.push('\n');
    }
    for pool in &settings.pools {
        let _ = writeln!(out, "{}", render(pool));
    }
    let (errors, undecided) = (count(findings, Severity::Error), count(findings, Severity::Undecided));
    let warnings = count(findings, Severity::Warning);
    let errors = match errors {
        0 => "no errors".to_owned(),
        1 => "1 error".to_owned(),
        _ => format!("{errors} errors"),
    };
    let plural = if warnings == 1 { "" } else { "s" };
    let _ = writeln!(out, "{errors}, {undecided} undecided, {warnings} warning{plural}");
    out
}
