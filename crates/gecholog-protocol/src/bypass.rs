//! What the gateway logs about processors that did not answer (`request.error`, docs/gateway-protocol.md 1.4): whether one of
//! them was this broker, so that the call was not balanced. Only log entries have it, and few of them.

use serde::Deserialize;

/// Longer lists are not parsed; the gateway writes less about a few processors.
const MAX_ERRORS_BYTES: usize = 16 << 10;

types::named_enum! {
    /// Why a call was not balanced.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Bypass {
        Timeout = "timeout",
        NoResponders = "absent",
        TooLarge = "too_large",
        /// Any other error of the gateway.
        Other = "other",
    }
}

impl std::fmt::Display for Bypass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no broker answered in time",
            Self::NoResponders => "no broker was there",
            Self::TooLarge => "the message was too large for the bus",
            Self::Other => "the gateway could not use the answer",
        })
    }
}

/// One entry of the list.
#[derive(Deserialize)]
struct Entry {
    name: String,
    details: String,
}

/// Why our processor, `name`, or its second row, `name_apply`, did not answer; `None` if both did.
pub fn read(errors: &[u8], name: &str) -> Option<Bypass> {
    if errors.len() > MAX_ERRORS_BYTES {
        return None;
    }
    let entries: Vec<Entry> = serde_json::from_slice(errors).ok()?;
    let ours = |entry: &&Entry| entry.name == name || entry.name.strip_suffix("_apply") == Some(name);
    let details = entries.iter().find(ours).map(|entry| entry.details.as_str())?;
    Some(match details {
        "context deadline exceeded" => Bypass::Timeout,
        "nats: no responders available for request" => Bypass::NoResponders,
        "nats: maximum payload exceeded" => Bypass::TooLarge,
        _ => Bypass::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_processors_count() {
        let of = |name: &str, details: &str| format!(r#"[{{"name":"{name}","details":"{details}"}}]"#);
        for (errors, expected) in [
            (of("broker", "context deadline exceeded"), Some(Bypass::Timeout)),
            (of("broker", "nats: no responders available for request"), Some(Bypass::NoResponders)),
            (of("broker_apply", "nats: maximum payload exceeded"), Some(Bypass::TooLarge)),
            (of("broker", "invalid character"), Some(Bypass::Other)),
            (of("other", "context deadline exceeded"), None),
            (of("broker_outcome", "context deadline exceeded"), None),
            ("[]".to_owned(), None),
            ("{}".to_owned(), None),
            (r#"[{"name":1}]"#.to_owned(), None),
        ] {
            assert_eq!(read(errors.as_bytes(), "broker"), expected, "{errors}");
        }
        assert_eq!(read(of("mine_apply", "x").as_bytes(), "mine"), Some(Bypass::Other));
    }
}
