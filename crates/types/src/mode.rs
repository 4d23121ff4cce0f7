//! Whether the broker's decisions take effect.

use std::fmt;

/// Set by `BROKER_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatingMode {
    /// Requests go to the chosen router.
    #[default]
    Balance,
    /// Requests go where they would without the broker; the stamp says which router the broker would have chosen.
    Observe,
}

impl OperatingMode {
    /// Each with its name in settings and messages.
    pub const NAMES: [(&'static str, Self); 2] = [("balance", Self::Balance), ("observe", Self::Observe)];

    /// The name in settings and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for OperatingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
