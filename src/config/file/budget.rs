//! `budget`: the rate limits of one router per minute. It is a key of routers only: at a branch it would be ambiguous whether
//! it is meant for the branch or for each of its routers.

use super::health::{HealthOverrides, count};
use super::reader::{Item, Reader};
use super::schema;
use balancer::load::rate_limit::RateLimit;

/// Reads the budget of a target. Like its health it belongs to the router, so two of its leaves must not differ in it.
pub(super) fn take(reader: &mut Reader<'_>, target: &Item<'_>, settings: &mut HealthOverrides) {
    if let Some(item) = target.get("budget").filter(|_| target.get("targets").is_some()) {
        reader.key_fault(&item, "belongs to a router, and this is a branch: set it for each router in it");
    }
    settings.take(reader, target, "budget", budget, |all, budget| all.rate_limit = Some(budget));
}

/// Without keys: what the upstream says is left, and nothing else.
fn budget(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<RateLimit> {
    if !reader.object::<schema::Budget>(item, "{\"rpm\": 600, \"tpm\": 100000}") {
        return None;
    }
    let mut limit = |key| match item.get(key) {
        Some(item) => count(reader, &item).map(Some),
        None => Some(None),
    };
    let (rpm, tpm) = (limit("rpm"), limit("tpm"));
    Some(RateLimit { rpm: rpm?, tpm: tpm? })
}
