//! `price` of a target as types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The prices per kind of token, and the keys beside them.
macro_rules! prices {
    ($(#[$about:meta])* $name:ident { $($(#[$more_about:meta])* $more:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Uncached input.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub input: Option<f64>,
            /// Output.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub output: Option<f64>,
            /// Input from the provider's cache. Without: as input.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub cache_read: Option<f64>,
            /// Input that is written to the provider's cache. Without: as input.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub cache_write: Option<f64>,
            /// The same for an hour. Without: as cache_write.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub cache_write_1h: Option<f64>,
            /// Reasoning. Without: as output.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub reasoning: Option<f64>,
            /// Audio in the input. Without: as input.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub audio_input: Option<f64>,
            /// Audio in the output. Without: as output.
            #[schemars(range(min = 0, max = 1_000_000))]
            pub audio_output: Option<f64>,
            $($(#[$more_about])* pub $more: $kind,)*
        }
    };
}

prices! {
    /// Prices in dollars per million tokens.
    Price {
        /// Other prices of calls with more input tokens than this: {"200000": {"input": 5, "output": 15}}.
        above: Option<BTreeMap<String, KindPrices>>,
        /// Of calls that are served as a batch.
        batch: Option<TierPrice>,
        /// Of calls whose answer says that they were served at the tier flex.
        flex: Option<TierPrice>,
        /// Of calls whose answer says that they were served at the tier priority.
        priority: Option<TierPrice>,
    }
}

prices! {
    /// Prices of one service tier, in dollars per million tokens.
    TierPrice {
        /// Other prices of calls with more input tokens than this.
        above: Option<BTreeMap<String, KindPrices>>,
    }
}

prices! {
    /// Prices in dollars per million tokens.
    KindPrices {}
}
