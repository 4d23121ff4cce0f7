//! The shipped table of prices is what its script makes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{content, file, has};

const FIXTURE: &str = "crates/llm/tests/fixtures/litellm_prices.json";

/// The lines of a table, by the names of their models.
fn lines(table: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let line = line.trim_end_matches(',');
        let (name, _) = line.split_once("\": {")?;
        Some((name.to_owned(), line.to_owned()))
    };
    table.lines().filter_map(row).filter(|(name, _)| name.contains('/')).collect()
}

#[test]
fn the_shipped_table_has_the_rows_that_the_script_makes() {
    if !has("python3", "apt-get install python3") {
        return;
    }
    let make = || content("python3", &["script/prices", FIXTURE, "a fixture", "2026-11-28"]);
    let made = make();
    assert_eq!(made, make(), "the same arguments, the same bytes");
    let table: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((table["source"].as_str(), table["date"].as_str()), (Some("a fixture"), Some("2026-11-28")));
    let shipped = file("data/prices.json");
    assert_eq!(table["notice"], serde_json::from_str::<Value>(&shipped).unwrap()["notice"]);
    let (made, shipped) = (lines(&made), lines(&shipped));
    assert!(made.len() > 30, "{}", made.len());
    for (name, row) in &made {
        assert_eq!(shipped.get(name), Some(row));
    }
}
