//! Log lines, and counters of events that are too frequent for a line each.
//!
//! Changes have a line each; what can happen a thousand times a second is counted, and logged at most once a second per kind
//! ([`Counter`]). No secret is ever passed to this module.

mod counter;
mod counts;
pub mod gen_ai;
mod lines;
mod output;
mod relay_counters;

pub use counter::Counter;
pub use counts::{Counts, ExportResult, NeededFor, ReloadResult, TokenInterface};
pub use lines::log_event;
pub use output::{dropped_log_lines, end_log};
pub use relay_counters::RelayCounters;

use std::ffi::OsStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

/// The format of log lines: `BROKER_LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    /// One object per line.
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// Filter directives: `BROKER_LOG`. Empty: `info`.
    pub filter: String,
    pub format: Format,
}

/// Why a filter is invalid; the text is appended to the value.
#[derive(Debug, thiserror::Error)]
pub enum FilterFault {
    /// It cannot be parsed.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// Neither a level nor a target that writes log lines: it would silently do nothing, or hide every line.
    #[error("{0:?} is neither a level (off, error, warn, info, debug, trace) nor a target of ours ({OWN} and below)")]
    Unknown(String),
}

/// Our own lines come from this target and those below it.
const OWN: &str = env!("CARGO_CRATE_NAME");
/// The most single-letter edits at which a target is a misspelling of ours, and not a library's.
const MAX_EDIT_DISTANCE: usize = 3;

/// Checks filter directives, separated by commas: a level, a target of ours, or `target=level`, where the target may be a
/// library's. What has a span in brackets is only parsed.
///
/// # Errors
/// The first of them that cannot be parsed or selects nothing.
pub fn check_filter(directives: &str) -> Result<(), FilterFault> {
    EnvFilter::try_new(directives)?;
    if directives.contains('[') {
        return Ok(());
    }
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) =
            directive.split_once('=').map_or((directive, None), |(target, level)| (target, Some(level)));
        let root = target.split("::").next().unwrap_or_default();
        let is_misspelt = OWN.contains(root) || strsim::osa_distance(root, OWN) <= MAX_EDIT_DISTANCE;
        let is_known = match level {
            None => target.parse::<LevelFilter>().is_ok(),
            Some(_) => !is_misspelt,
        };
        if root != OWN && !is_known {
            return Err(FilterFault::Unknown(directive.to_owned()));
        }
    }
    Ok(())
}

/// Logs to the standard output from now on, until [`end_log`]. Only the first call has an effect.
pub fn init(settings: &LogSettings) {
    // The bus library logs every reconnect; our own lines report it once.
    let quiet = format!("async_nats=off,{}", if settings.filter.is_empty() { "info" } else { &settings.filter });
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let ansi = has_colors(is_terminal, std::env::var_os("NO_COLOR").as_deref());
    output::start();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(ansi);
    // By default each line that cannot be written would write one to the standard error.
    let lines = lines.log_internal_errors(false).with_writer(|| output::Line);
    let _ = match settings.format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    if cfg!(panic = "abort") {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // The lines before it say what led to it; the process ends after this.
            end_log();
            report(panic);
        }));
    }
}

/// Whether lines are coloured: on a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>).
fn has_colors(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_colors_unless_they_are_not_wanted() {
        for (no_color, expected) in [(None, true), (Some(""), true), (Some("1"), false), (Some("0"), false)] {
            assert_eq!(has_colors(true, no_color.map(OsStr::new)), expected, "{no_color:?}");
            assert!(!has_colors(false, no_color.map(OsStr::new)));
        }
    }

    #[test]
    fn a_filter_that_selects_nothing_is_refused() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "3",
            "warn,gecholog_broker=trace",
            "gecholog_broker::nats=debug,info",
            "gecholog_broker",
            "a_library=info",
            " warn , info",
            "info,[call{id=1}]=debug",
        ] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for bad in [
            "debg",
            "inof",
            "warn,debg",
            "gecholog_brokr=trace",
            "broker=debug",
            "gecholog_broker=debg",
            "info,=,=",
            "verbose",
            "gecholog-broker=debug",
            "7",
        ] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
