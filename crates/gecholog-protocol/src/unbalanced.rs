//! What the gateway says of processors that did not do their work (`request.error`, GATEWAY.md 1.4): whether one of them was
//! ours, and so the call went by without us. Only a log tells, and rarely.

use serde::Deserialize;

/// More than the gateway writes of a few processors.
const LARGEST: usize = 16 << 10;

/// Why a call went by without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unbalanced {
    /// No broker answered in time.
    Timeout,
    /// No broker was there.
    Absent,
    /// The message was too large for the bus.
    TooLarge,
    /// Something else.
    Other,
}

impl Unbalanced {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Absent, Self::TooLarge, Self::Other];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Absent => "absent",
            Self::TooLarge => "too_large",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no broker answered in time",
            Self::Absent => "no broker was there",
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

/// Why our own processor, `name`, or its second row, `name_apply`, did not do its work; nothing if both did.
pub fn read(errors: &[u8], name: &str) -> Option<Unbalanced> {
    if errors.len() > LARGEST {
        return None;
    }
    let entries: Vec<Entry> = serde_json::from_slice(errors).ok()?;
    let ours = |entry: &&Entry| entry.name == name || entry.name.strip_suffix("_apply") == Some(name);
    let details = entries.iter().find(ours).map(|entry| entry.details.as_str())?;
    Some(match details {
        "context deadline exceeded" => Unbalanced::Timeout,
        "nats: no responders available for request" => Unbalanced::Absent,
        "nats: maximum payload exceeded" => Unbalanced::TooLarge,
        _ => Unbalanced::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_nobody_elses() {
        let of = |name: &str, details: &str| format!(r#"[{{"name":"{name}","details":"{details}"}}]"#);
        for (errors, expected) in [
            (of("broker", "context deadline exceeded"), Some(Unbalanced::Timeout)),
            (of("broker", "nats: no responders available for request"), Some(Unbalanced::Absent)),
            (of("broker_apply", "nats: maximum payload exceeded"), Some(Unbalanced::TooLarge)),
            (of("broker", "invalid character"), Some(Unbalanced::Other)),
            (of("other", "context deadline exceeded"), None),
            (of("broker_outcome", "context deadline exceeded"), None),
            ("[]".to_owned(), None),
            ("{}".to_owned(), None),
            (r#"[{"name":1}]"#.to_owned(), None),
        ] {
            assert_eq!(read(errors.as_bytes(), "broker"), expected, "{errors}");
        }
        assert_eq!(read(of("mine_apply", "x").as_bytes(), "mine"), Some(Unbalanced::Other));
    }
}
