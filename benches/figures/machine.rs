//! Where and with what the figures were taken.

use std::process::Command;
use std::thread::available_parallelism;

const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));

/// The machine and the versions, in a few lines.
pub(crate) fn describe() -> String {
    let cores = available_parallelism().map_or(0, usize::from);
    let system = [std::env::consts::OS, std::env::consts::ARCH].join(" ");
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = read("/proc/loadavg").and_then(|load| load.split(' ').next().map(str::to_owned));
    format!(
        "Machine: {} cores of {}, {system} {}; load before the run {}\n\
         Versions: gecholog_broker {}, async-nats {}, {}, {}",
        cores,
        model().unwrap_or_else(|| "an unnamed processor".to_owned()),
        kernel.trim(),
        load.as_deref().unwrap_or("unknown"),
        env!("CARGO_PKG_VERSION"),
        locked("async-nats").unwrap_or("unknown"),
        version(&gateway_sim::nats_server::program()),
        version("rustc".as_ref()),
    )
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

fn model() -> Option<String> {
    let table = read("/proc/cpuinfo")?;
    let line = table.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim().to_owned())
}

/// The version of a dependency that this was built with.
fn locked(package: &str) -> Option<&'static str> {
    let (_, behind) = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    behind.split('"').next()
}

/// The version that a program prints, without what follows it.
fn version(program: &std::path::Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().take(2).map(|word| word.trim_end_matches(':')).collect();
    if words.is_empty() { format!("{} of unknown version", program.display()) } else { words.join(" ") }
}
