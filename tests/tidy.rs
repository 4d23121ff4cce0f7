//! The rooms stay apart, and what is written about the house is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and those it may name; all of them stand before it, so there can be no circle.
const ROOMS: [(&str, &[&str]); 28] = [
    ("time", &[]),
    ("router", &[]),
    ("request", &[]),
    ("outcome", &["time", "router"]),
    ("event", &["time", "router", "outcome"]),
    ("health", VOCABULARY),
    ("load", VOCABULARY),
    ("strategy", &["time", "router", "request", "outcome", "event", "load"]),
    ("broker", &["time", "router", "request", "outcome", "event", "health", "load", "strategy"]),
    ("attempt", &["time", "router", "outcome", "broker"]),
    ("wire", &["time", "router", "request", "outcome", "event", "strategy", "broker"]),
    ("check", &["router", "request", "outcome", "strategy", "broker", "wire"]),
    ("journal", &["time", "router", "outcome", "event", "broker", "wire"]),
    ("control", &["time", "router", "outcome", "broker", "wire"]),
    ("clock", &["time"]),
    ("system", &[]),
    ("server", &[]),
    ("telemetry", &["time", "router", "outcome", "event", "wire"]),
    (
        "handle",
        &[
            "time",
            "router",
            "request",
            "outcome",
            "event",
            "health",
            "strategy",
            "broker",
            "attempt",
            "wire",
            "journal",
            "control",
            "clock",
            "telemetry",
        ],
    ),
    ("guesses", &["handle"]),
    ("stats", &["time", "outcome", "health", "strategy", "broker", "wire", "telemetry", "handle"]),
    (
        "nats",
        &[
            "time",
            "outcome",
            "event",
            "broker",
            "wire",
            "control",
            "clock",
            "system",
            "telemetry",
            "handle",
            "guesses",
            "stats",
        ],
    ),
    ("http", &["router", "control", "server", "handle", "guesses", "journal", "stats", "nats"]),
    (
        "relay",
        &[
            "time",
            "router",
            "request",
            "outcome",
            "broker",
            "attempt",
            "wire",
            "control",
            "system",
            "server",
            "telemetry",
            "handle",
            "guesses",
        ],
    ),
    (
        "config",
        &[
            "router",
            "request",
            "outcome",
            "strategy",
            "health",
            "load",
            "broker",
            "attempt",
            "wire",
            "control",
            "system",
            "nats",
            "http",
            "relay",
            "telemetry",
        ],
    ),
    ("reload", &["config", "telemetry", "handle", "relay"]),
    (
        "cli",
        &[
            "time", "router", "outcome", "strategy", "broker", "wire", "check", "control", "clock", "stats", "nats",
            "config",
        ],
    ),
    ("app", EVERYTHING),
];

const VOCABULARY: &[&str] = &["time", "router", "request", "outcome", "event"];

const EVERYTHING: &[&str] = &[
    "time",
    "router",
    "request",
    "outcome",
    "event",
    "health",
    "load",
    "strategy",
    "broker",
    "attempt",
    "wire",
    "journal",
    "control",
    "clock",
    "system",
    "server",
    "telemetry",
    "handle",
    "guesses",
    "stats",
    "nats",
    "http",
    "relay",
    "config",
    "reload",
    "check",
    "cli",
];

/// The rooms that never touch the world.
const CORE: [&str; 14] = [
    "time", "router", "request", "outcome", "event", "health", "load", "strategy", "broker", "attempt", "wire",
    "check", "journal", "control",
];

/// The world.
const WORLD: [&str; 14] = [
    "tokio",
    "async_nats",
    "axum",
    "ureq",
    "clap",
    "envy",
    "tracing",
    "Instant",
    "SystemTime",
    "println",
    "eprintln",
    "thread_rng",
    "Mutex",
    "anyhow",
];

const LONGEST: usize = 400;

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

/// A source file of ours.
struct Source {
    path: PathBuf,
    room: String,
    text: String,
    /// Its lines up to its tests.
    lines: usize,
    /// The same without comments.
    code: String,
}

/// Every source file that is not only tests.
fn sources() -> Vec<Source> {
    let src = root().join("src");
    let all = files(&src, ".rs").into_iter().map(|path| {
        let inside = path.strip_prefix(&src).unwrap();
        let room = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let own: Vec<&str> = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect();
        let code = own.iter().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n"));
        Source { room, lines: own.len(), code: code.collect(), text, path }
    });
    let sources: Vec<_> =
        all.filter(|source| !source.path.iter().any(|part| part == "tests" || part == "tests.rs")).collect();
    assert!(sources.len() > 20, "the sources are found");
    sources
}

/// The names that stand directly behind this prefix: one, or those of a group.
fn behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for (place, _) in code.match_indices(prefix) {
        let rest = &code[place + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut name_comes = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => name_comes = true,
                _ if letter.is_whitespace() => {}
                _ if name_comes && depth == 0 => {
                    names.insert(word(&group[at..]));
                    name_comes = false;
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn words(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

#[test]
fn names_behind_a_prefix_are_found() {
    let code = "use crate::a::B;\nuse crate::{c::{D, e}, f, g::h::{I}};\nlet x = crate::j(crate::k::L);";
    let found: Vec<_> = behind(code, "crate::").into_iter().collect();
    assert_eq!(found, ["a", "c", "f", "g", "j", "k"]);
}

#[test]
fn every_room_names_only_rooms_below_it() {
    for (place, (room, may)) in ROOMS.iter().enumerate() {
        let below: Vec<_> = ROOMS[..place].iter().map(|(room, _)| *room).collect();
        assert!(may.iter().all(|name| below.contains(name)), "{room} may name only what stands before it");
    }
    for source in sources() {
        let shown = source.path.display();
        let (may, named) = match source.room.as_str() {
            "lib" => continue,
            "main" => (&["app", "cli", "config", "telemetry"][..], behind(&source.code, "gecholog_broker::")),
            room => {
                let known = ROOMS.iter().find(|(name, _)| *name == room);
                let (_, may) = known.unwrap_or_else(|| panic!("{shown}: a room that tidy.rs does not know"));
                (*may, behind(&source.code, "crate::"))
            }
        };
        for name in named {
            assert!(name == source.room || may.contains(&name.as_str()), "{shown} names {name}");
        }
    }
}

#[test]
fn http_asks_nats_for_its_links_and_peers_and_nothing_else() {
    for source in sources().iter().filter(|source| source.room == "http") {
        let named = behind(&source.code, "nats::");
        assert!(named.iter().all(|name| name == "Link" || name == "Peers"), "{}: {named:?}", source.path.display());
    }
}

#[test]
fn the_core_never_touches_the_world() {
    for source in sources().iter().filter(|source| CORE.contains(&source.room.as_str())) {
        let words = words(&source.code);
        for world in WORLD {
            assert!(!words.contains(world), "{} names {world}", source.path.display());
        }
        for path in
            ["rand::rng()", "rand::random", "std::fs", "std::net", "std::env", "std::io", "std::thread", "async fn"]
        {
            // To write into one's own buffer is no input and no output.
            let code = source.code.replace("std::io::Write as _", "");
            assert!(!code.contains(path), "{} names {path}", source.path.display());
        }
    }
}

#[test]
fn only_the_bus_names_the_buss_library_and_only_http_its_own() {
    for source in sources() {
        let words = words(&source.code);
        for (library, rooms) in [
            ("async_nats", &["nats", "config", "telemetry", "cli"][..]),
            ("axum", &["http"]),
            ("hyper", &["server", "http", "relay"]),
            ("hyper_util", &["relay", "http"]),
            ("rustls", &["relay"]),
            ("prometheus_client", &["stats"]),
            ("ureq", &["cli"]),
            ("envy", &["config"]),
        ] {
            let may = rooms.contains(&source.room.as_str());
            assert!(may || !words.contains(library), "{} names {library}", source.path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let members = ["standin/src", "crates/llm/src"];
    let members = members.into_iter().flat_map(|folder| files(&root().join(folder), ".rs")).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        (path, text, lines)
    });
    let ours = sources().into_iter().map(|source| (source.path, source.text, source.lines));
    for (path, text, lines) in ours.chain(members) {
        assert!(text.starts_with("//!"), "{} does not say what it is", path.display());
        assert!(
            lines <= LONGEST,
            "{} has {lines} lines without its tests: a concept is missing, name it",
            path.display()
        );
    }
}

#[test]
fn the_members_know_nothing_of_the_broker() {
    let members = ["standin", "crates/llm"].map(|member| root().join(member));
    let sources = members.iter().flat_map(|member| {
        let folders = ["src", "tests"].into_iter();
        folders.flat_map(|folder| files(&member.join(folder), ".rs")).chain([member.join("Cargo.toml")])
    });
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("gecholog_broker") && !text.contains("gecholog-broker"), "{}", path.display());
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
    let folders = ["src/", "tests/", "standin/", "examples/", "benches/", "fuzz/", "script/", "docs/"];
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
