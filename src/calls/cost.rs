//! The cost of a call: the only place where prices are applied to usages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::prices::PriceBook;
use llm::Usage;
use llm::prices::{PriceBasis, PricedCall};
use types::router::RouterPath;

/// The cost of a call, and the price that it was computed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Billionths of a US dollar.
    pub nano_usd: u64,
    /// The row of the price table, such as `openai/gpt-4o`; `target`: the `price` of the target in the pools file.
    pub price: Arc<str>,
    /// The table of that row: `shipped`, or the file of `BROKER_PRICES`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Arc<str>>,
    /// The date of that table, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priced: Option<Arc<str>>,
}

/// The keys by which the price of a call is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Priced<'a> {
    /// The router that served it.
    pub router: &'a str,
    /// The vendor of its models, as named in the price table, if known.
    pub provider: Option<&'a str>,
}

/// The cost of a call with this usage; `None` if unknown. `models` are the names of its model, the best first.
pub fn cost_of<'a>(
    book: &PriceBook,
    priced: Priced<'_>,
    models: impl Iterator<Item = &'a str>,
    usage: &Usage,
) -> Option<Cost> {
    let router = if book.has_own_prices() { RouterPath::parse(priced.router).ok() } else { None };
    let target_price = router.as_ref().and_then(|router| book.target_price(router));
    // A price of a target needs no model.
    let models = models.chain(target_price.map(|_| ""));
    let call = |model| PricedCall { provider: priced.provider, model, target_price };
    let quote = models.into_iter().find_map(|model| book.quote(call(model), usage))?;
    let nano_usd = quote.cost.nano_dollars;
    Some(match quote.basis {
        PriceBasis::Target => Cost { nano_usd, price: "target".into(), ..Cost::default() },
        PriceBasis::Row(row) => {
            let (table, priced) = (Some(Arc::clone(&row.source.name)), row.source.day.clone());
            Cost { nano_usd, price: Arc::clone(&row.name), table, priced }
        }
    })
}

/// The row of the price table for the model of a call, by which metrics name it: the row that the cost was computed with, or
/// the first with one of the model's names.
pub fn price_row<'a>(
    book: &PriceBook,
    cost: Option<&Cost>,
    provider: Option<&str>,
    mut models: impl Iterator<Item = &'a str>,
) -> Option<Arc<str>> {
    let priced = cost.filter(|cost| cost.table.is_some()).map(|cost| Arc::clone(&cost.price));
    priced.or_else(|| models.find_map(|model| book.table().find(provider, model)).map(|row| Arc::clone(&row.name)))
}

/// The path of a URL, with its query.
pub(super) fn path_of(url: &str) -> Option<&str> {
    let behind = behind_scheme(url)?;
    behind.find('/').and_then(|at| behind.get(at..))
}

fn behind_scheme(url: &str) -> Option<&str> {
    url.split_once(':')?.1.strip_prefix("//")
}

/// The host of a URL, without port and user.
pub fn host_of(url: &str) -> Option<&str> {
    let authority = behind_scheme(url)?.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let end = if host.starts_with('[') { host.find(']').map(|end| end + 1) } else { host.find(':') };
    host.get(..end.unwrap_or(host.len()))
}

/// An amount in US dollars, exact, with at least two decimals: `$0.000125`.
pub fn dollars(nano_usd: u64) -> String {
    let (whole, rest) = (nano_usd / 1_000_000_000, nano_usd % 1_000_000_000);
    let digits = format!("{rest:09}");
    let digits = digits.trim_end_matches('0');
    format!("${whole}.{digits:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm::prices::ServiceTier;

    fn usage() -> Usage {
        Usage { input_uncached: 1_000, output: 100, ..Usage::default() }
    }

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

    #[test]
    fn the_best_known_name_has_the_price_and_unknown_is_unknown() {
        let book = PriceBook::default();
        let priced = |provider, models: &[&str]| {
            cost_of(&book, Priced { router: "/a/", provider }, models.iter().copied(), &usage())
                .map(|cost| (cost.nano_usd, cost.price))
        };
        // $2.50 and $10 per million.
        let expected = Some((3_500_000, Arc::from("openai/gpt-4o")));
        assert_eq!(priced(Some("openai"), &["gpt-4o"]), expected);
        assert_eq!(priced(Some("openai"), &["nobody-knows-this", "gpt-4o"]), expected);
        assert_eq!(priced(None, &["gpt-4o"]), expected);
        assert_eq!(&*priced(Some("azure"), &["gpt-4o"]).unwrap().1, "azure/gpt-4o");
        assert_eq!(priced(None, &["nobody-knows-this"]), None);
        assert_eq!(priced(None, &[]), None);
        let cost =
            super::cost_of(&book, Priced { router: "/a/", provider: None }, ["gpt-4o"].into_iter(), &usage()).unwrap();
        assert_eq!((cost.table.as_deref(), cost.priced.is_some()), (Some("shipped"), true));
    }

    #[test]
    fn the_tier_that_served_a_call_has_its_own_price() {
        let book = PriceBook::default();
        let cost = |service_tier| {
            let usage = Usage { service_tier, ..usage() };
            let priced = Priced { router: "/a/", provider: Some("openai") };
            cost_of(&book, priced, ["gpt-5"].into_iter(), &usage).map(|cost| cost.nano_usd)
        };
        // $1.25 and $10 per million; half of it, and twice as much.
        assert_eq!(cost(ServiceTier::Standard), Some(2_250_000));
        assert_eq!(cost(ServiceTier::Flex), Some(1_125_000));
        assert_eq!(cost(ServiceTier::Priority), Some(4_500_000));
        assert_eq!(cost(ServiceTier::Other), None);
    }

    #[test]
    fn hosts_of_urls() {
        for (url, host) in [
            ("https://api.openai.com/v1/chat", Some("api.openai.com")),
            ("http://127.0.0.1:80", Some("127.0.0.1")),
            ("https://[::1]:80/a", Some("[::1]")),
            ("https://u:p@h/", Some("h")),
            ("h", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
