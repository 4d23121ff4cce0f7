//! Whether the broker's decisions take effect.

use std::fmt;

/// Set by `BROKER_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OperatingMode {
    /// Requests go to the chosen router.
    #[default]
    Balance,
    /// Requests go where they would without the broker; the stamp says which router the broker would have chosen.
    Observe,
}

impl fmt::Display for OperatingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Balance => "balance",
            Self::Observe => "observe",
        })
    }
}
