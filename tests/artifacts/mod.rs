//! What is shipped for other programs to run: alert rules, dashboard, manifests, Compose file, workflows. Read as what they
//! are, and shown to the tools that know them, where those can be had; a tool that is missing is skipped with a notice, or fails under
//! `CI=true`.

mod alerts;
mod dashboard;
mod manifests;
mod prices;
mod release;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::support::tool;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether this machine has a tool; if not, prints how it can be had.
///
/// # Panics
/// If it is missing under `CI=true`.
fn has(tool: &str, how: &str) -> bool {
    let runs = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
    let found = runs.is_ok_and(|said| said.status.success());
    if !found {
        tool::missing(tool, how);
    }
    found
}

/// Runs a tool at the top of the project; it has to be content.
fn content(tool: &str, arguments: &[&str]) -> String {
    let said = Command::new(tool).args(arguments).current_dir(root()).stdin(Stdio::null()).output().unwrap();
    words(tool, arguments, &said)
}

fn words(tool: &str, arguments: &[&str], said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{tool} {}:\n{text}", arguments.join(" "));
    text
}
