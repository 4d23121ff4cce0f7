//! What neither the compiler nor clippy checks: documents name files that exist, files are short and say what they are, and
//! the modules of the process depend on each other in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The source files of the product and its crates that are not only tests.
fn sources() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let all = crates.chain([root().join("src")]).flat_map(|folder| files(&folder, ".rs"));
    let sources: Vec<_> = all.filter(|path| !path.iter().any(|part| part == "tests" || part == "tests.rs")).collect();
    assert!(sources.len() > 100, "the sources are found");
    sources
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines without its tests: a concept is missing, name it",
            path.display()
        );
    }
}

#[test]
fn a_pure_crate_can_do_no_io() {
    for name in ["types", "balancer", "gecholog-protocol", "llm"] {
        let folder = root().join("crates").join(name);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for library in ["tokio", "tracing", "async-nats", "axum", "hyper", "ureq"] {
            assert!(!dependencies.contains(library), "{name} depends on {library}");
        }
        assert!(folder.join("clippy.toml").exists(), "{name} has no clippy.toml");
        for path in sources().iter().filter(|path| path.starts_with(folder.join("src"))) {
            let code = code(path);
            for part in ["std::fs", "std::net", "std::env", "std::io", "std::thread", "rand::rng()", "async fn"] {
                assert!(!code.contains(part), "{} names {part}", path.display());
            }
        }
    }
}

/// The code of a file, without comments and unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The code of each module of the process, by the module's name.
fn modules() -> BTreeMap<String, String> {
    let mut modules = BTreeMap::<String, String>::new();
    for path in files(&root().join("src"), ".rs") {
        let name = path.strip_prefix(root().join("src")).unwrap().iter().next().unwrap().to_str().unwrap();
        let name = name.trim_end_matches(".rs");
        if !["lib", "main", "fixtures"].contains(&name) && sources().contains(&path) {
            *modules.entry(name.to_owned()).or_default() += &code(&path);
        }
    }
    modules
}

/// The modules behind `crate::` in code: `crate::a::B` and `crate::{a, b::{C, D}}`.
fn named_modules(code: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            named.insert(rest);
            continue;
        };
        let mut depth = 1;
        named.insert(list);
        for (place, letter) in list.char_indices() {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            match (letter, depth) {
                (_, 0) => break,
                (',', 1) => drop(named.insert(list[place + 1..].trim_start())),
                _ => {}
            }
        }
    }
    let end = |c: char| !c.is_alphanumeric() && c != '_';
    named.into_iter().filter_map(|text| text.split(end).next()).collect()
}

#[test]
fn the_modules_behind_a_prefix_are_found() {
    let code = "use crate::a::B;\nuse crate::{c::{D, e}, f, g::h::{I}};\nlet x = crate::j(crate::k::L);";
    assert_eq!(named_modules(code).into_iter().collect::<Vec<_>>(), ["a", "c", "f", "g", "j", "k"]);
}

#[test]
fn the_modules_of_the_process_name_each_other_without_a_circle() {
    let modules = modules();
    let mut names: BTreeMap<&str, BTreeSet<&str>> = modules
        .iter()
        .map(|(module, code)| {
            let named = named_modules(code).into_iter().filter(|name| name != module && modules.contains_key(*name));
            (module.as_str(), named.collect())
        })
        .collect();
    assert!(names["app"].len() > 10, "what a module names is found");
    // Modules that name none are taken away until none is left.
    while !names.is_empty() {
        let lowest: Vec<_> = names.iter().filter(|(_, named)| named.is_empty()).map(|(name, _)| *name).collect();
        assert!(!lowest.is_empty(), "these modules name each other in a circle, or lead to one: {names:?}");
        names.retain(|name, _| !lowest.contains(name));
        names.values_mut().for_each(|named| named.retain(|name| !lowest.contains(name)));
    }
}

#[test]
fn a_library_is_named_only_by_the_modules_that_it_is_for() {
    let modules = modules();
    for (library, its) in [
        ("async_nats", &["nats", "config", "telemetry", "cli"][..]),
        ("axum", &["http"]),
        ("hyper_util", &["relay", "http", "cli"]),
        ("rustls", &["relay", "server", "provider_auth", "cli"]),
        ("prometheus_client", &["status"]),
        ("envy", &["config"]),
        ("notify", &["reload"]),
        ("opentelemetry", &["traces"]),
    ] {
        let users = modules.iter().filter(|(_, code)| code.contains(&format!("{library}::"))).map(|(name, _)| name);
        let users: Vec<_> = users.collect();
        assert!(!users.is_empty(), "{library} is not used");
        assert!(users.iter().all(|user| its.contains(&user.as_str())), "{library} is named by {users:?}");
    }
}

#[test]
fn the_gateway_simulator_is_no_dependency_of_the_release() {
    let manifest = page("Cargo.toml");
    let (release, _) = manifest.split_once("[dev-dependencies]").unwrap();
    assert!(!release.contains("gateway-sim ="), "gateway-sim is for tests and the demo only");
    for folder in ["src", "tests"] {
        for path in files(&root().join("crates/gateway-sim").join(folder), ".rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("gecholog_broker") && !text.contains("balancer::"), "{}", path.display());
        }
    }
}

/// A page of the project's.
fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The pages that name files and commands.
fn pages() -> Vec<String> {
    let docs = files(&root().join("docs"), ".md");
    let docs = docs.iter().map(|path| path.strip_prefix(root()).unwrap().display().to_string());
    ["README.md", "ARCHITECTURE.md"].map(str::to_owned).into_iter().chain(docs).collect()
}

#[test]
fn the_readme_can_be_read_in_one_sitting_and_leads_to_every_document() {
    let readme = page("README.md");
    assert!(readme.lines().count() <= 250, "README.md has {} lines", readme.lines().count());
    for name in pages().iter().filter(|name| *name != "README.md") {
        assert!(readme.contains(&format!("]({name})")), "README.md has no link to {name}");
    }
}

#[test]
fn every_link_of_the_pages_leads_to_a_file_and_a_heading() {
    for name in pages() {
        let text = page(&name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = match file {
                "" => root().join(&name),
                _ => root().join(&name).parent().unwrap().join(file),
            };
            assert!(path.exists(), "{name} links to {link}");
            if !heading.is_empty() && path.extension().is_some_and(|end| end == "md") {
                let headings = headings(&fs::read_to_string(&path).unwrap());
                assert!(headings.contains(heading), "{name} links to {link}; the headings are {headings:?}");
            }
        }
    }
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if !in_code && line.starts_with('#') {
            let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            anchors.insert(words.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect());
        }
    }
    anchors
}

#[test]
fn every_path_that_the_pages_name_exists() {
    page("CHANGELOG.md");
    let folders = ["src/", "tests/", "crates/", "examples/", "benches/", "fuzz/", "script/", "docs/"];
    for name in pages() {
        let page = page(&name);
        let of_a_path = |c: char| c.is_alphanumeric() || "_-./".contains(c);
        let named =
            page.split(|c: char| !of_a_path(c)).filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
        for path in named.map(|path| path.trim_end_matches('.')) {
            assert!(root().join(path).exists(), "{name} names {path}");
        }
    }
}

#[test]
fn every_make_target_that_the_pages_name_exists() {
    let makefile = page("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name)).collect();
    for name in pages() {
        let page = page(&name);
        let mut in_code = false;
        for line in page.lines() {
            in_code ^= line.trim_start().starts_with("```");
            let command = in_code.then(|| line.trim_start().trim_start_matches("$ "));
            let quoted = line.split('`').skip(1).step_by(2);
            for make in quoted.chain(command).flat_map(|text| text.split("&&")) {
                let Some(target) = make.trim().strip_prefix("make ") else { continue };
                let target = target.split_whitespace().find(|word| !word.contains('='));
                let Some(target) = target.filter(|target| target.starts_with(|c: char| c.is_ascii_lowercase())) else {
                    continue;
                };
                assert!(targets.contains(target), "{name}: make {target}");
            }
        }
    }
}
