//! The cost of a call: the only place where prices are applied to usages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::CallRecord;
use crate::prices::PriceBook;
use llm::Usage;
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

/// The cost of a call with this usage; `None` if unknown. `router` served it, `provider` is the vendor of its models, as named in the
/// price table, if known, and `models` are the names of its model, the best first.
pub fn cost_of<'a>(
    book: &PriceBook,
    router: &str,
    provider: Option<&str>,
    mut models: impl Iterator<Item = &'a str>,
    usage: &Usage,
) -> Option<Cost> {
    let router = if book.has_own_prices() { RouterPath::parse(router).ok() } else { None };
    // A price of a target needs no model.
    if let Some(prices) = router.and_then(|router| book.target_price(&router)) {
        return Some(Cost { nano_usd: prices.cost(usage)?.nano_dollars, price: "target".into(), ..Cost::default() });
    }
    let (cost, row) = models.find_map(|model| book.table().quote(provider, model, usage))?;
    let (table, priced) = (Some(Arc::clone(&row.source.name)), row.source.day.clone());
    Some(Cost { nano_usd: cost.nano_dollars, price: Arc::clone(&row.name), table, priced })
}

/// Adds to a record what the call cost, and the row of the price table for its model, by which metrics name it: the row that the
/// cost was computed with, or the first with one of the model's names.
pub fn price(record: &mut CallRecord, book: &PriceBook, provider: Option<&str>) {
    if let (Some(router), Some(usage)) = (&record.router, &record.usage) {
        record.cost = cost_of(book, router, provider, record.models(), usage);
    }
    let provider = provider.or_else(|| record.attempts.last()?.context.provider);
    let priced = record.cost.as_ref().filter(|cost| cost.table.is_some()).map(|cost| Arc::clone(&cost.price));
    let find = || record.models().find_map(|model| book.table().find(provider, model)).map(|row| Arc::clone(&row.name));
    record.context.price_row = priced.or_else(find);
}

/// The host of a URL, without port and user.
pub fn host_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
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
    use crate::prices::LivePrices;
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
            cost_of(&book, "/a/", provider, models.iter().copied(), &usage()).map(|cost| (cost.nano_usd, cost.price))
        };
        // $2.50 and $10 per million.
        let expected = Some((3_500_000, Arc::from("openai/gpt-4o")));
        assert_eq!(priced(Some("openai"), &["gpt-4o"]), expected);
        assert_eq!(priced(Some("openai"), &["nobody-knows-this", "gpt-4o"]), expected);
        assert_eq!(priced(None, &["gpt-4o"]), expected);
        assert_eq!(&*priced(Some("azure"), &["gpt-4o"]).unwrap().1, "azure/gpt-4o");
        assert_eq!(priced(None, &["nobody-knows-this"]), None);
        assert_eq!(priced(None, &[]), None);
        let cost = cost_of(&book, "/a/", None, ["gpt-4o"].into_iter(), &usage()).unwrap();
        assert_eq!((cost.table.as_deref(), cost.priced.is_some()), (Some("shipped"), true));
    }

    #[test]
    fn a_targets_price_stands_over_all_tables_and_needs_no_model() {
        let cost = |price: &[u8], models: &[&str]| {
            let prices = LivePrices::default();
            let price = llm::prices::target_price(price).unwrap();
            prices.set_targets([(RouterPath::parse("/a/").unwrap(), Arc::new(price))].into());
            cost_of(&prices.book(), "/a/", Some("openai"), models.iter().copied(), &usage())
        };
        let expected = Some(Cost { nano_usd: 7_700_000, price: "target".into(), ..Cost::default() });
        for models in [&["gpt-4o"][..], &["unknown"], &[]] {
            assert_eq!(cost(br#"{"input": 7, "output": 7}"#, models), expected);
        }
        assert_eq!(cost(br#"{"input": 7}"#, &["gpt-4o"]), None, "it counts also where it says too little");
    }

    #[test]
    fn the_tier_that_served_a_call_has_its_own_price() {
        let book = PriceBook::default();
        let cost = |service_tier| {
            let usage = Usage { service_tier, ..usage() };
            cost_of(&book, "/a/", Some("openai"), ["gpt-5"].into_iter(), &usage).map(|cost| cost.nano_usd)
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
