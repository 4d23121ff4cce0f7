//! The names of the broker's variables, and names that are similar to them.
//!
//! A misspelt name would otherwise be a setting that silently does nothing. But not every unknown `BROKER_` variable is
//! ours: for a service called broker, Kubernetes sets `BROKER_PORT`, `BROKER_SERVICE_HOST` and more by itself.

use std::sync::LazyLock;

use super::keys::keys;
use super::{Fault, RawSettings};
use crate::fault::nearest;

/// The variables of proxies, which have no flags.
pub(super) const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// Every variable of the broker: the fields of [`RawSettings`], and those of proxies.
static KNOWN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let fields = keys::<RawSettings>().iter().map(|field| field.to_ascii_uppercase());
    fields.chain(PROXIES.map(str::to_owned)).collect()
});

/// The name of every variable that we read.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(String::as_str)
}

pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// The flag of a variable: the same name with dashes, except for `--config`.
pub(super) fn flag(name: &str) -> String {
    match name {
        "BROKER_CONFIG" => "--config".to_owned(),
        _ => format!("--{}", name.to_ascii_lowercase().replace('_', "-")),
    }
}

/// The longest name (after `BROKER_`) of which more than one edit makes another name: `BROKER_PORT` is not meant for `BROKER_CORS`.
const SHORT_NAME_CHARS: usize = 4;

/// The message about a variable that is set and unknown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A misspelling of a known one.
    Fault(Fault),
    Warning(Fault),
}

/// Checks the name of a variable.
pub(super) fn check_name(name: &str) -> Option<Unknown> {
    if is_known(name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let ours = |known: &&str| known.starts_with("BROKER_") || *known == "DISABLED_TIME";
    let is_short = |known: &str| known.strip_prefix("BROKER_").is_some_and(|rest| rest.len() <= SHORT_NAME_CHARS);
    match nearest(&upper, names().filter(ours)) {
        Some((edits, known)) if edits <= 1 || !is_short(known) => {
            Some(Unknown::Fault(Fault::new(name, format!("no such setting; did you mean {known}?"))))
        }
        _ if upper.starts_with("BROKER_") => Some(Unknown::Warning(Fault::new(name, "unknown setting: ignored"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_is_a_fault_and_unknown_a_warning() {
        for (name, meant) in [
            ("BROKER_ROUTER", "BROKER_ROUTERS"),
            ("BROKER_RUOTERS", "BROKER_ROUTERS"),
            ("BROKER_LOGFORMAT", "BROKER_LOG_FORMAT"),
            ("DISABLE_TIME", "DISABLED_TIME"),
            ("DISABLEDTIME", "DISABLED_TIME"),
            ("broker_mode", "BROKER_MODE"),
            ("BROKR_HTTP", "BROKER_HTTP"),
        ] {
            let Some(Unknown::Fault(fault)) = check_name(name) else { panic!("{name} passes") };
            assert!(fault.problem.contains(meant), "{name}: {}", fault.problem);
        }
        for name in ["BROKER_PORT", "BROKER_SERVICE_HOST", "BROKER_PORT_5381_TCP_ADDR", "BROKER_SERVICE_PORT_HTTP"] {
            assert!(matches!(check_name(name), Some(Unknown::Warning(_))), "{name}");
        }
        for name in ["PATH", "HOME", "BROKER_MODE", "DISPLAY"] {
            assert_eq!(check_name(name), None, "{name}");
        }
    }
}
