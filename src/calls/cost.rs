//! What a call cost. The only place where a price meets a usage.

use serde::{Deserialize, Serialize};

use llm::Usage;

/// What a call cost, and by which price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Billionths of a US dollar.
    pub nano_usd: u64,
    /// The row of the price table.
    pub price: String,
    /// The date of the table, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priced: Option<String>,
}

impl Cost {
    pub(super) fn heap_bytes(&self) -> usize {
        self.price.capacity() + self.priced.as_ref().map_or(0, String::capacity)
    }
}

/// What a call cost that used this of a model at a router; `None`: unknown, which is not nothing. `models` are the names by
/// which the model is known, the best first.
pub fn of<'a>(_router: &str, _models: impl Iterator<Item = &'a str>, _usage: &Usage) -> Option<Cost> {
    None
}

/// An amount in US dollars, as precise as it is and at least with cents: `$0.000125`.
pub fn dollars(nano_usd: u64) -> String {
    let (whole, rest) = (nano_usd / 1_000_000_000, nano_usd % 1_000_000_000);
    let digits = format!("{rest:09}");
    let digits = digits.trim_end_matches('0');
    format!("${whole}.{digits:0<2}")
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn amounts_are_exact() {
        for (nano, shown) in [
            (0, "$0.00"),
            (1, "$0.000000001"),
            (125_000, "$0.000125"),
            (1_500_000_000, "$1.50"),
            (u64::MAX, "$18446744073.709551615"),
        ] {
            assert_eq!(dollars(nano), shown);
        }
    }
}
