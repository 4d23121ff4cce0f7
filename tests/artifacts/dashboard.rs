//! The dashboard: Grafana cannot be had everywhere, so its structure is read here, and its questions by promtool.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::support::PoolsFile;
use super::alerts::promtool;
use super::{content, file};

fn dashboard() -> Value {
    serde_json::from_str(&file("docs/grafana-dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn every_panel_has_a_place_of_its_own_and_a_question() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(number(&panel["id"])), "{title}: an id twice");
        let [x, y, wide, high] = ["x", "y", "w", "h"].map(|name| number(&panel["gridPos"][name]));
        assert!(wide > 0 && high > 0 && x + wide <= 24, "{title} is outside the grid");
        for cell in (x..x + wide).flat_map(|x| (y..y + high).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} overlaps another one");
        }
        match panel["type"].as_str().unwrap() {
            "row" => continue,
            "timeseries" | "table" => {}
            other => panic!("{title}: {other}"),
        }
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len(), "{title}");
        for source in targets.iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]) {
            assert_eq!((&source["type"], &source["uid"]), (&"prometheus".into(), &"${source}".into()), "{title}");
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} says no unit");
    }
    assert!(ids.len() > 10);
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!((&variable["name"], &variable["type"]), (&"source".into(), &"datasource".into()));
    // What the Compose file provisions is the default of the variable.
    let provisioned = file("deploy/observability/datasource.yml");
    assert!(provisioned.contains(&format!("uid: {}\n", variable["current"]["value"].as_str().unwrap())));
}

#[test]
fn promtool_can_read_every_question() {
    if !promtool() {
        return;
    }
    let dashboard = dashboard();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    let targets = panels(&dashboard).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for (number, target) in targets.enumerate() {
        // A JSON text is a YAML text.
        rules += &format!("  - record: question:{number}\n    expr: {}\n", target["expr"]);
    }
    let folder = PoolsFile::none();
    let path = folder.folder().join("questions.yml");
    std::fs::write(&path, rules).unwrap();
    content("promtool", &["check", "rules", &path.display().to_string()]);
}
