//! `relay`: what one call of the relay may cost, and all of them together.

use std::time::Duration;

use super::health::{count, span};
use super::reader::{Item, Reader};
use balancer::retry::{Backoff, RetryBudgetSettings, RetryLimits};

/// The keys of `relay`.
pub(super) const KEYS: [&str; 8] =
    ["attempts", "timeout", "connect", "first_byte", "idle", "hold", "backoff", "retry_budget"];
/// The keys of `backoff`.
pub(super) const BACKOFF_KEYS: [&str; 2] = ["base", "cap"];
/// The keys of `retry_budget`.
pub(super) const BUDGET_KEYS: [&str; 2] = ["ratio", "per_second"];

/// What stands there, with the defaults for what does not.
pub(super) fn read(reader: &mut Reader<'_>, item: Option<Item<'_>>) -> (RetryLimits, RetryBudgetSettings) {
    let (mut limits, mut spending) = (RetryLimits::default(), RetryBudgetSettings::default());
    let Some(item) = item else { return (limits, spending) };
    if !reader.object(&item, &KEYS, "{\"attempts\": 4, \"timeout\": \"60s\"}") {
        return (limits, spending);
    }
    if let Some(attempts) = item.get("attempts").and_then(|item| count(reader, &item)) {
        limits.attempts = attempts;
    }
    time(reader, &item, "timeout", &mut limits.whole);
    time(reader, &item, "connect", &mut limits.connect);
    time(reader, &item, "first_byte", &mut limits.first_byte);
    time(reader, &item, "idle", &mut limits.idle);
    time(reader, &item, "hold", &mut limits.hold);
    if let Some(item) = item.get("backoff") {
        backoff(reader, &item, &mut limits.backoff);
    }
    if let Some(item) = item.get("retry_budget") {
        budget(reader, &item, &mut spending);
    }
    (limits, spending)
}

fn backoff(reader: &mut Reader<'_>, item: &Item<'_>, backoff: &mut Backoff) {
    if reader.object(item, &BACKOFF_KEYS, "{\"base\": \"500ms\", \"cap\": \"8s\"}") {
        time(reader, item, "base", &mut backoff.base);
        time(reader, item, "cap", &mut backoff.cap);
    }
}

fn budget(reader: &mut Reader<'_>, item: &Item<'_>, spending: &mut RetryBudgetSettings) {
    if !reader.object(item, &BUDGET_KEYS, "{\"ratio\": 0.2, \"per_second\": 10}") {
        return;
    }
    if let Some(ratio) = item.get("ratio").and_then(|item| reader.amount(&item, "a number such as 0.2")) {
        spending.ratio = ratio;
    }
    if let Some(item) = item.get("per_second") {
        let wanted = "a whole number such as 10, at most 1000000";
        let amount = reader.amount(&item, wanted);
        match amount.filter(|amount| amount.fract() == 0.0 && *amount <= 1e6) {
            Some(amount) => spending.per_second = amount as u32,
            None if amount.is_some() => reader.fault(&item, format!("must be {wanted}")),
            None => {}
        }
    }
}

fn time(reader: &mut Reader<'_>, item: &Item<'_>, key: &str, limit: &mut Duration) {
    if let Some(time) = item.get(key).and_then(|item| span(reader, &item)) {
        *limit = time;
    }
}
