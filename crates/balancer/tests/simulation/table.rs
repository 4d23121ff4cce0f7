//! The figures as Markdown, and where they stand in the documents. The one place that touches a file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::figures::{Figures, Spans};
use crate::policies;
use crate::results::{Results, seed};
use crate::scenario;

/// Between these lines the figures stand.
const BEGIN: &str = "<!-- make simulate writes from here -->";
const END: &str = "<!-- to here -->";

/// Of how many seeds the document shows the mean.
const SEEDS: u64 = 20;

/// How one figure is written into a cell.
type Cell = fn(&Figures) -> String;

/// What is shown, one table each; the last three only of scenarios with outages.
const TABLES: [(&str, Cell); 5] = [
    ("Requests that failed, tries of the client included", |figures| percent(figures.failed_share())),
    (
        "Capacity wasted: the time in which a router could serve and was kept from it, as a share of the pool's time",
        |figures| percent(figures.wasted_share()),
    ),
    ("Calls per run to a dead router after its first failure was answered", |figures| {
        format!("{:.1}", figures.to_known_bad as f64 / f64::from(figures.runs))
    }),
    ("From the beginning of an outage until the router is out", |figures| match figures.detect.count {
        0 if figures.unnoticed > 0 => "never".to_owned(),
        _ => span(figures.detect),
    }),
    ("From the end of an outage until the router serves again", |figures| span(figures.back)),
];

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// The mean of some spans; a lower bound if the run or the next outage cut one short.
fn span(spans: Spans) -> String {
    let least = if spans.unended > 0 { "≥ " } else { "" };
    match spans.mean() {
        None => "–".to_owned(),
        Some(mean) if mean >= Duration::from_secs(7_200) => format!("{least}{:.1} h", mean.as_secs_f64() / 3_600.0),
        Some(mean) => format!("{least}{:.1} s", mean.as_secs_f64()),
    }
}

/// The scenarios in the table of this number.
fn shown_in(table: usize) -> Vec<&'static str> {
    let shown = scenario::all().into_iter().filter(|scenario| table < 2 || scenario.has_outages());
    shown.map(|scenario| scenario.name).collect()
}

/// All tables.
fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for (number, (title, cell)) in TABLES.into_iter().enumerate() {
        let names: Vec<_> = policies::ALL.iter().map(|(name, _)| *name).collect();
        let _ = writeln!(
            text,
            "\n**{title}**\n\n| scenario | {} |\n|---|{}",
            names.join(" | "),
            "--:|".repeat(names.len())
        );
        let shown = shown_in(number);
        for (scenario, of_all) in results.0.iter().filter(|(scenario, _)| shown.contains(scenario)) {
            let cells: Vec<_> = of_all.iter().map(cell).collect();
            let _ = writeln!(text, "| {scenario} | {} |", cells.join(" | "));
        }
    }
    text
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/health.md")
}

/// The page's text before, between and after the two lines.
fn parts(page: &str) -> (&str, &str, &str) {
    let (before, rest) = page.split_once(BEGIN).expect("the page has the line where the figures begin");
    let (between, after) = rest.split_once(END).expect("the page has the line where the figures end");
    (before, between, after)
}

#[test]
#[ignore = "`make simulate` runs it: it writes docs/health.md"]
fn the_page_is_written() {
    let (seed, results) = (seed(), Results::play(SEEDS));
    let old = std::fs::read_to_string(page()).unwrap();
    let (before, _, after) = parts(&old);
    let command =
        format!("`make simulate SEED={seed}`: the mean of {SEEDS} runs, seeds {seed} to {}.", seed + SEEDS - 1);
    let figures = markdown(&results);
    std::fs::write(page(), format!("{before}{BEGIN}\n\n{command}\n{figures}\n{END}{after}")).unwrap();
    println!("{command}\n{figures}");
}

#[test]
fn the_page_has_every_scenario_and_policy_in_each_table() {
    let page = std::fs::read_to_string(page()).unwrap();
    let (_, figures, _) = parts(&page);
    assert!(figures.contains("`make simulate SEED="), "it says how it was made");
    let names: Vec<_> = policies::ALL.iter().map(|(name, _)| *name).collect();
    let tables: Vec<_> = figures.split("| scenario |").skip(1).collect();
    assert_eq!(tables.len(), TABLES.len(), "run `make simulate`");
    for (number, table) in tables.into_iter().enumerate() {
        let mut lines = table.lines().take_while(|line| line.contains('|'));
        assert_eq!(lines.next().unwrap().trim(), format!("{} |", names.join(" | ")));
        let rows = lines.filter(|line| !line.starts_with("|---"));
        let shown: Vec<_> = rows.map(|row| row.split('|').nth(1).unwrap().trim()).collect();
        assert_eq!(shown, shown_in(number), "run `make simulate`");
    }
    for (title, _) in TABLES {
        assert!(figures.contains(title), "{title}");
    }
}
