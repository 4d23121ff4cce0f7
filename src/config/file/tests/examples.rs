//! The examples work, and the schema that is committed says the same as the reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use jsonc_parser::parse_to_ast;
use serde_json::Value;

use super::super::reader::{Item, Reader};
use super::super::{FORM, HealthDefaults, PoolsFile, query, schema};
use crate::config::keys::keys;
use balancer::broker::{Decision, RouterSettings};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/broker.schema.json");

fn examples() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pools");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A file as serde sees it.
fn plain(text: &str) -> Value {
    let parsed = parse_to_ast(text, &Default::default(), &FORM).unwrap();
    Reader::new("broker.json", text).json(&Item::root(&parsed.value.unwrap())).unwrap()
}

#[test]
fn every_example_loads_and_routes_and_says_what_it_is() {
    let files = examples();
    assert!(files.len() >= 10);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("// "), "{} begins with what it is", file.display());
        let settings = PoolsFile::open(file.clone(), HealthDefaults::new(RouterSettings::default())).load();
        let (settings, _) =
            settings.unwrap_or_else(|faults| panic!("{}", faults.iter().map(ToString::to_string).collect::<String>()));
        let broker = balancer::broker::Broker::new(settings.clone());
        for pool in &settings.pools {
            let decision = broker.choose(&pool.ingress.as_str(), &mut rand::rng());
            assert!(matches!(decision, Decision::Route(_)), "{}: {} routes", file.display(), pool.ingress);
        }
    }
}

#[test]
fn every_example_is_shown_in_the_documents() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    for file in examples() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(page.contains(name), "docs/configuration.md does not name {name}");
    }
}

#[test]
fn the_types_read_what_the_reader_reads() {
    for file in examples() {
        let text = fs::read_to_string(&file).unwrap();
        let read = serde_json::from_value::<schema::PoolsFile>(plain(&text));
        assert!(read.is_ok(), "{}: {read:?}", file.display());
    }
    for bad in [
        "{}",
        r#"{"pools": [], "pool": []}"#,
        r#"{"pools": [{"ingress": "/in/", "targets": [{"router": "/a/", "weigth": 1}]}]}"#,
        r#"{"pools": [{"ingress": "/in/", "strategy": {"mode": "random"}, "targets": [{"router": "/a/"}]}]}"#,
        r#"{"pools": [{"ingress": "/in/", "targets": [{"router": "/a/", "model_map": {"a": 1}}]}]}"#,
        r#"{"health": {"disabled_time": "10"}, "pools": [{"ingress": "/in/", "targets": [{"router": "/a/"}]}]}"#,
    ] {
        super::faults(bad);
        assert!(serde_json::from_value::<schema::PoolsFile>(plain(bad)).is_err(), "{bad}");
    }
}

/// Run `cargo run -- schema > broker.schema.json` when this fails because the format grew.
#[test]
fn the_committed_schema_is_true() {
    assert_eq!(fs::read_to_string(COMMITTED).unwrap(), schema::schema());
}

/// The names in code of a cell.
fn coded(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_keys_in_the_documents_is_that_of_the_schema() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
    let table = page.lines().skip_while(|line| *line != "## Keys").filter(|line| line.starts_with('|'));
    let mut rows: BTreeMap<&str, Vec<[BTreeSet<&str>; 2]>> = BTreeMap::new();
    let mut place = "";
    for line in table.skip(2).take_while(|line| !line.starts_with("| mode |")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        place = if cells[1].is_empty() { place } else { cells[1] };
        rows.entry(place).or_default().push([coded(cells[2]), coded(cells[3])]);
    }
    for (place, keys) in [
        ("file", keys::<schema::PoolsFile>()),
        ("pool", keys::<schema::Pool>()),
        ("target", keys::<schema::Target>()),
        ("strategy", keys::<schema::Strategy>()),
        ("health", keys::<schema::Health>()),
    ] {
        let rows = rows.remove(place).unwrap();
        let keys: BTreeSet<_> = keys.iter().copied().collect();
        for [named, _] in &rows {
            assert!(named.is_subset(&keys), "no keys of {place}: {:?}", named.difference(&keys));
        }
        // Keys that belong to another one may stand in its row.
        let described: BTreeSet<_> = rows.iter().flat_map(|[named, means]| named | means).collect();
        assert!(keys.is_subset(&described), "not described of {place}: {:?}", keys.difference(&described));
    }
    assert_eq!(rows.keys().collect::<Vec<_>>(), [&""; 0], "of no object");
}

#[test]
fn the_schema_has_the_keys_that_the_reader_takes_and_no_others() {
    let schema: Value = serde_json::from_str(&schema::schema()).unwrap();
    let of = |properties: &Value| properties.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(of(&schema["properties"]), set(keys::<schema::PoolsFile>()));
    assert_eq!(of(&schema["$defs"]["Target"]["properties"]), set(keys::<schema::Target>()));
    assert_eq!(of(&schema["$defs"]["Operators"]["properties"]), set(keys::<schema::Operators>()));
    assert_eq!(of(&schema["$defs"]["Query"]["properties"]), set(&query::AROUND));
    for (name, defined) in schema["$defs"].as_object().unwrap() {
        let is_open = defined["properties"].is_object() && defined["additionalProperties"] != Value::Bool(false);
        assert!(!is_open || name == "Query", "{name} takes no other keys");
    }
    let modes = schema["$defs"]["Mode"]["oneOf"].as_array().unwrap();
    let modes: BTreeSet<_> = modes.iter().map(|mode| mode["const"].as_str().unwrap().to_owned()).collect();
    assert_eq!(modes, set(keys::<schema::Mode>()));
    assert!(!schema::schema().contains("\"null\"\n      ]"), "what may be left out may not be null");
}
