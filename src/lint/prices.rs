//! The models that the pools name: those that retire soon, and those whose price is unknown where it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;
use llm::Usage;
use llm::prices::PriceRow;
use serde_json::Value;

use super::Finding;
use crate::calls::cost::cost_of;
use crate::prices::PriceBook;
use crate::relay::DirectUpstream;
use balancer::broker::BrokerSettings;
use balancer::strategy::{Target, TargetKind};
use types::router::RouterPath;

/// A model that retires within this many days gets a warning.
const RETIRES_WITHIN_DAYS: i32 = 60;

/// The input of the check.
#[derive(Debug, Clone, Copy)]
pub struct ModelPlan<'a> {
    pub settings: &'a BrokerSettings,
    /// The targets with an address, which shows their provider.
    pub direct: &'a BTreeMap<RouterPath, Arc<DirectUpstream>>,
    pub book: &'a PriceBook,
    pub today: Date,
}

/// A model of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct NamedModel<'a> {
    router: &'a RouterPath,
    model: &'a str,
}

/// The models that the settings name, each with the names by which clients request it; `None` where the settings do not have
/// them.
type NamedModels<'a> = BTreeMap<NamedModel<'a>, BTreeSet<Option<&'a str>>>;

/// All findings. They are warnings: only the models of the settings are known, and clients may request others.
pub fn check(plan: &ModelPlan<'_>) -> Vec<Finding> {
    let mut named = NamedModels::new();
    for pool in &plan.settings.pools {
        models(&pool.root, &mut named);
    }
    let findings = named.iter().flat_map(|(named, asked)| [plan.retirement(named), plan.unknown_price(named, asked)]);
    findings.flatten().collect()
}

/// The models that the settings of a target and of those below it name.
fn models<'a>(target: &'a Target, named: &mut NamedModels<'a>) {
    match &target.kind {
        TargetKind::Branch { targets, .. } => targets.iter().for_each(|target| models(target, named)),
        TargetKind::Router(router) => {
            let mut add = |asked, model| {
                named.entry(NamedModel { router, model }).or_default().insert(asked);
            };
            // A model that is set wins over one that is renamed.
            match target.patch.merge.get("model") {
                Some(Value::String(model)) => add(None, model),
                Some(_) => {}
                None => target.patch.mapped_models().for_each(|(asked, model)| add(asked, model)),
            }
        }
    }
}

impl ModelPlan<'_> {
    /// The row with the date on which a model retires: of the provider of this host or of the pools file. `None` for a
    /// self-hosted server; a router of the gateway may be of any provider.
    fn row(&self, named: &NamedModel<'_>) -> Option<&Arc<PriceRow>> {
        let provider = match self.direct.get(named.router) {
            Some(direct) => Some(direct.host_provider().or_else(|| direct.provider_name())?),
            None => None,
        };
        self.book.table().find(provider, named.model)
    }

    fn retirement(&self, named: &NamedModel<'_>) -> Option<Finding> {
        let row = self.row(named)?;
        let retires = row.retires?;
        let days = self.today.until(retires).ok()?.get_days();
        let when = match days {
            ..=0 => format!("was retired on {retires}"),
            1 => format!("is retired tomorrow, on {retires}"),
            2..=RETIRES_WITHIN_DAYS => format!("is retired on {retires}, in {days} days"),
            _ => return None,
        };
        let (name, source) = (&row.name, &row.source.name);
        Some(Finding::warning(
            "model-retires",
            named.router.as_str(),
            format!(
                "the model {:?} {when}, as the prices ({source}) have it for {name}; calls to it then fail",
                named.model
            ),
            "name its successor in \"model_map\" or \"override_params\"",
        ))
    }

    /// A model without a price.
    fn unknown_price(&self, named: &NamedModel<'_>, asked: &BTreeSet<Option<&str>>) -> Option<Finding> {
        let provider = self.direct.get(named.router).and_then(|direct| direct.host_provider());
        // The price of a target may be for embeddings, which have no output.
        let output = u64::from(self.book.target_price(named.router).is_none());
        let usage = Usage { input_uncached: 1, output, ..Usage::default() };
        let is_known = |asked: &Option<&str>| {
            let models = [named.model].into_iter().chain(*asked);
            cost_of(self.book, named.router.as_str(), provider, models, &usage).is_some()
        };
        (self.book.has_own_prices() && !asked.iter().all(is_known)).then(|| {
            Finding::warning(
                "price-unknown",
                named.router.as_str(),
                format!("the price of the model {:?} is unknown here: its calls have no cost", named.model),
                "give the target a \"price\", or name the model in the file of BROKER_PRICES",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use llm::prices::PriceTable;

    use super::*;
    use crate::config::file::{HealthDefaults, Variables, read};
    use crate::prices::LivePrices;
    use balancer::broker::RouterSettings;

    const PRICES: &str = r#"{"models": {"openai/old": {"input": 1, "output": 1, "retires": "2026-12-31"}, "openai/new": {"input": 1, "output": 1}}}"#;

    fn found(targets: &str, prices: Option<&str>, today: &str) -> Vec<(String, &'static str, String)> {
        let text = format!(r#"{{"pools": [{{"ingress": "/llm/", "targets": [{targets}]}}]}}"#);
        let defaults = HealthDefaults::new(RouterSettings::default());
        let (settings, rules) = read(Path::new("b.json"), text.as_bytes(), &defaults, &Variables::default()).unwrap();
        let live = LivePrices::default();
        live.set_targets(rules.prices.clone());
        if let Some(prices) = prices {
            live.set_table(PriceTable::parse("mine", prices.as_bytes()).unwrap());
        }
        let book = live.book();
        let today = today.parse().unwrap();
        let plan = ModelPlan { settings: &settings, direct: &rules.direct, book: &book, today };
        check(&plan).into_iter().map(|finding| (finding.place, finding.rule, finding.reason)).collect()
    }

    #[test]
    fn models_that_retire_within_sixty_days() {
        let router = r#"{"router": "/azure/a/", "model_map": {"x": "old", "y": "new"}}"#;
        for (today, says) in [
            ("2026-11-01", Some("is retired on 2026-12-31, in 60 days")),
            ("2026-10-31", None),
            ("2026-12-30", Some("tomorrow")),
            ("2027-02-01", Some("was retired on 2026-12-31")),
        ] {
            let found = found(router, Some(PRICES), today);
            assert_eq!(found.len(), usize::from(says.is_some()), "{today}: {found:?}");
            if let Some(says) = says {
                let (place, rule, reason) = &found[0];
                assert_eq!((place.as_str(), *rule), ("/azure/a/", "model-retires"));
                assert!(reason.contains(says) && reason.contains("openai/old") && reason.contains("mine"), "{reason}");
            }
        }
        let nested = r#"{"strategy": {"mode": "fallback"}, "override_params": {"model": "old"}, "targets": [{"url": "https://api.openai.com/v1/"}, {"url": "http://my-own-server:8000/v1/"}]}"#;
        let found = found(nested, Some(PRICES), "2026-12-01");
        let own = found.iter().filter(|(_, rule, _)| *rule == "model-retires").count();
        assert_eq!(own, 1, "a server of one's own retires nothing: {found:?}");
    }

    #[test]
    fn prices_that_are_unknown_where_prices_matter() {
        let target = |model: &str, more: &str| {
            format!(r#"{{"url": "https://api.openai.com/v1/", "override_params": {{"model": "{model}"}}{more}}}"#)
        };
        let rules = |targets: &str, prices| {
            found(targets, prices, "2026-11-29").into_iter().map(|(_, rule, _)| rule).collect::<Vec<_>>()
        };
        assert!(rules(&target("nobodys", ""), None).is_empty(), "no costs are shown");
        assert_eq!(rules(&target("nobodys", ""), Some(PRICES)), ["price-unknown"]);
        assert!(rules(&target("nobodys", r#", "price": {"input": 1}"#), Some(PRICES)).is_empty());
        assert!(rules(&target("new", ""), Some(PRICES)).is_empty());
        assert_eq!(rules(&target("nobodys", r#", "price": {"output": 1}"#), Some(PRICES)), ["price-unknown"]);
        for (map, unknown) in [
            (r#"{"a": "new"}"#, 0),
            (r#"{"a": "nobodys"}"#, 1),
            // The relay falls back on the name that was asked for.
            (r#"{"new": "nobodys"}"#, 0),
            (r#"{"new": "nobodys", "a": "nobodys"}"#, 1),
            (r#"{"*": "nobodys"}"#, 1),
            (r#"{"*": "*", "new": "*"}"#, 0),
        ] {
            let own = format!(r#"{{"url": "http://gpu:8000/v1/", "model_map": {map}}}"#);
            assert_eq!(rules(&own, Some(PRICES)).len(), unknown, "{map}");
        }
    }

    #[test]
    fn a_provider_at_an_address_of_ones_own() {
        let rules = |target: &str| {
            found(target, Some(PRICES), "2026-12-01").into_iter().map(|(_, rule, _)| rule).collect::<Vec<_>>()
        };
        let target = |provider: &str, model: &str, url: &str| {
            format!(r#"{{"provider": "{provider}", "url": "{url}", "api_key": "k", "model": "{model}"}}"#)
        };
        let own = "http://proxy.example:8000/v1/";
        assert!(rules(&target("openai", "new", own)).is_empty(), "the relay prices it by the row of any provider");
        assert_eq!(rules(&target("openai", "nobodys", own)), ["price-unknown"]);
        assert_eq!(rules(&target("openai", "old", own)), ["model-retires"]);
        assert!(rules(&target("gemini", "old", own)).is_empty(), "another provider's model of this name");
        // The host says more than the name: Mistral has no price for it.
        assert_eq!(rules(&target("openai", "old", "https://api.mistral.ai/v1/")), ["price-unknown"]);
    }
}
