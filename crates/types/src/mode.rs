//! Whether the broker's decisions take effect.

use std::fmt;

crate::named_enum! {
    /// Set by `BROKER_MODE`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OperatingMode {
        /// Requests go to the chosen router.
        #[default]
        Balance = "balance",
        /// Requests go where they would without the broker; the stamp says which router the broker would have chosen.
        Observe = "observe",
    }
}

impl fmt::Display for OperatingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
