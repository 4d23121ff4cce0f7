//! The names of our variables, and those that look like them.
//!
//! A misspelt name would otherwise be a setting that silently does nothing. But not every unknown `BROKER_` variable is
//! ours: for a service called broker, Kubernetes sets `BROKER_PORT`, `BROKER_SERVICE_HOST` and more by itself.

use super::Fault;

/// Every variable that we read.
pub(super) const KNOWN: [&str; 55] = [
    "NATS_TOKEN",
    "NATS_TOKEN_FILE",
    "GECHOLOG_HOST",
    "NATS_URL",
    "NATS_CREDS",
    "NATS_CA",
    "BROKER_BUS",
    "DISABLED_TIME",
    "BROKER_CONFIG",
    "BROKER_PRICES",
    "BROKER_INGRESS",
    "BROKER_ROUTERS",
    "BROKER_SUBJECT",
    "BROKER_LOGGER_SUBJECT",
    "BROKER_QUEUE",
    "BROKER_PROCESSOR",
    "BROKER_FAILURE_STATUS",
    "BROKER_HEALTH",
    "BROKER_RETRY_AFTER",
    "BROKER_MODE",
    "BROKER_HTTP",
    "BROKER_RELAY",
    "BROKER_GATEWAY",
    "BROKER_RELAY_CA",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "BROKER_RELAY_CALLS",
    "BROKER_RELAY_BODY",
    "BROKER_CORS",
    "BROKER_RELAY_PATIENCE",
    "BROKER_RELAY_GRACE",
    "BROKER_HTTP_HOSTS",
    "BROKER_TLS_CERT",
    "BROKER_TLS_KEY",
    "BROKER_ADMIN_TOKEN",
    "BROKER_ADMIN_TOKEN_FILE",
    "BROKER_CALLS",
    "BROKER_CALLS_SIZE",
    "BROKER_RECENT_CALLS",
    "BROKER_TRACE_HEADER",
    "BROKER_TRACE_SAMPLED",
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "BROKER_LOG",
    "BROKER_LOG_FORMAT",
];

/// The flag of a variable: the same with dashes, but the one that everybody guesses for the pools file.
pub(super) fn flag(name: &str) -> String {
    match name {
        "BROKER_CONFIG" => "--config".to_owned(),
        _ => format!("--{}", name.to_ascii_lowercase().replace('_', "-")),
    }
}

/// The most single-letter edits at which a name is a misspelling and not another name; one for a short name (after `BROKER_`):
/// `BROKER_PORT` is not meant for `BROKER_CORS`.
const MAX_EDIT_DISTANCE: usize = 2;
const SHORT: usize = 4;

/// What is to be said of a name that is set and not ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A misspelling of ours.
    Fault(Fault),
    Warning(Fault),
}

/// Judges the name of a variable.
pub(super) fn judge(name: &str) -> Option<Unknown> {
    if KNOWN.contains(&name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let ours = |known: &&&str| known.starts_with("BROKER_") || **known == "DISABLED_TIME";
    let near = KNOWN.iter().filter(ours).map(|known| (strsim::osa_distance(&upper, known), *known)).min();
    let limit = |known: &str| {
        let is_short = known.strip_prefix("BROKER_").is_some_and(|rest| rest.len() <= SHORT);
        if is_short { 1 } else { MAX_EDIT_DISTANCE }
    };
    match near {
        Some((edits, known)) if edits <= limit(known) => {
            Some(Unknown::Fault(fault(name, format!("no such setting; did you mean {known}?"))))
        }
        _ if upper.starts_with("BROKER_") => {
            Some(Unknown::Warning(fault(name, "no setting of ours: ignored".to_owned())))
        }
        _ => None,
    }
}

fn fault(name: &str, problem: String) -> Fault {
    Fault { place: name.to_owned(), value: None, problem }
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
            let Some(Unknown::Fault(fault)) = judge(name) else { panic!("{name} passes") };
            assert!(fault.problem.contains(meant), "{name}: {}", fault.problem);
        }
        for name in ["BROKER_PORT", "BROKER_SERVICE_HOST", "BROKER_PORT_5381_TCP_ADDR", "BROKER_SERVICE_PORT_HTTP"] {
            assert!(matches!(judge(name), Some(Unknown::Warning(_))), "{name}");
        }
        for name in ["PATH", "HOME", "BROKER_MODE", "DISPLAY"] {
            assert_eq!(judge(name), None, "{name}");
        }
    }
}
