//! What people read: log lines, and counts of what is not worth a line each.
//!
//! Lines are for changes; what can happen a thousand times a second is counted and said at most once a second per kind
//! ([`Counter`]). Nothing here decides anything, and nothing here is ever given a secret.

mod counter;
mod counts;
mod lines;
mod relay_counters;

pub use counter::Counter;
pub use counts::{Counts, ReloadResult};
pub use lines::log_event;
pub use relay_counters::RelayCounters;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The spelling of log lines: `BROKER_LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Filter directives: `BROKER_LOG`. Empty: `info`.
    pub filter: String,
    /// `BROKER_LOG_FORMAT`.
    pub format: Format,
}

/// Checks filter directives.
///
/// # Errors
/// What cannot be read in them.
pub fn check_filter(directives: &str) -> Result<(), ParseError> {
    EnvFilter::try_new(directives).map(drop)
}

/// Begins to log to the standard output. A second call changes nothing.
pub fn init(settings: &Settings) {
    // The bus library speaks of every reconnect; our own lines say it once.
    let quiet = format!("async_nats=off,{}", if settings.filter.is_empty() { "info" } else { &settings.filter });
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(ansi);
    let _ = match settings.format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
