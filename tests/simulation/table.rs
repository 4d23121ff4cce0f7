//! The table, and where it stands in the documents.

use std::fmt::Write as _;
use std::time::Duration;

use crate::figures::{Figures, Spans};
use crate::policies;
use crate::results::Results;

/// Between these lines of `docs/health.md` the table stands.
pub(crate) const BEGIN: &str = "<!-- make simulate writes from here -->";
pub(crate) const END: &str = "<!-- to here -->";

/// The whole table with its head, as Markdown.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from(
        "| scenario | policy | failed | to a known-bad router | wasted | to detect | to return |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    for (scenario, of_all) in &results.0 {
        for ((policy, _), figures) in policies::ALL.iter().zip(of_all) {
            let _ = writeln!(text, "| {scenario} | {policy} | {} |", cells(figures));
        }
    }
    text
}

fn cells(figures: &Figures) -> String {
    let runs = f64::from(figures.runs);
    [
        format!("{:.2} %", figures.failed_share() * 100.0),
        format!("{:.1}", figures.to_known_bad as f64 / runs),
        format!("{:.2} %", figures.wasted_share() * 100.0),
        if figures.detect.count == 0 && figures.unnoticed > 0 { "never".to_owned() } else { span(figures.detect) },
        span(figures.back),
    ]
    .join(" | ")
}

/// The mean of some spans, or a lower bound of it.
fn span(spans: Spans) -> String {
    let least = if spans.unended > 0 { "≥ " } else { "" };
    match spans.mean() {
        None => "–".to_owned(),
        Some(mean) if mean >= Duration::from_secs(7_200) => format!("{least}{:.1} h", mean.as_secs_f64() / 3_600.0),
        Some(mean) => format!("{least}{:.1} s", mean.as_secs_f64()),
    }
}
