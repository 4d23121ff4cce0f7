//! `relay`: limits for one call of the relay, and for all together. Time limits may be set at a pool, a branch and a target
//! too; each is taken from the nearest place that has it.

use std::time::Duration;

use super::health::{count, span};
use super::reader::{Item, Reader};
use super::schema::relay as schema;
use balancer::retry::{Backoff, RetryBudgetSettings, RetryLimits, TimeLimits};

/// The limits as written, with defaults for those that are absent.
pub(super) fn read(reader: &mut Reader<'_>, item: Option<Item<'_>>) -> (RetryLimits, TimeLimits, RetryBudgetSettings) {
    let (mut limits, mut retry_budget) = (RetryLimits::default(), RetryBudgetSettings::default());
    let mut times = TimeLimits::default();
    let Some(item) = item else { return (limits, times, retry_budget) };
    if !reader.object::<schema::Relay>(&item, "{\"attempts\": 4, \"timeout\": \"60s\"}") {
        return (limits, times, retry_budget);
    }
    if let Some(attempts) = item.get("attempts").and_then(|item| count(reader, &item)) {
        limits.attempts = attempts;
    }
    read_times(reader, &item, &mut times);
    limits.timeout = times.timeout;
    if let Some(item) = item.get("backoff") {
        backoff(reader, &item, &mut limits.backoff);
    }
    if let Some(item) = item.get("retry_budget") {
        budget(reader, &item, &mut retry_budget);
    }
    (limits, times, retry_budget)
}

/// The time limits below a pool, a branch or a target that may set some of them.
pub(super) fn times_below(reader: &mut Reader<'_>, item: Option<Item<'_>>, above: TimeLimits) -> TimeLimits {
    let mut times = above;
    if let Some(item) = item
        && reader.object::<schema::TimeLimits>(&item, "{\"first_byte\": \"30s\", \"timeout\": \"120s\"}")
    {
        read_times(reader, &item, &mut times);
    }
    times
}

/// The setting `affinity`: by default on for pools with a target that has a url. Only the relay sees the ids in answers.
pub(super) fn affinity(reader: &mut Reader<'_>, pool: &Item<'_>, has_addresses: bool, is_relayed: bool) -> bool {
    let Some(flag) = pool.get("affinity") else { return has_addresses };
    let is_on = reader.flag(&flag) == Some(true);
    if is_on && !is_relayed {
        let needs = "needs \"relay\": true or a target with a \"url\": only the relay sees what answers make";
        reader.key_fault(&flag, needs);
    }
    is_on
}

/// The setting `client_config`: whether clients may send a strategy.
pub(super) fn client_config(reader: &mut Reader<'_>, pool: &Item<'_>, is_relayed: bool) -> bool {
    let Some(flag) = pool.get("client_config") else { return false };
    let is_on = reader.flag(&flag) == Some(true);
    if is_on && !is_relayed {
        let needs = "needs \"relay\": true or a target with a \"url\": only the relay reads what clients send along";
        reader.key_fault(&flag, needs);
    }
    is_on
}

fn read_times(reader: &mut Reader<'_>, item: &Item<'_>, times: &mut TimeLimits) {
    time(reader, item, "connect", &mut times.connect);
    if let Some(time) = item.get("first_byte").and_then(|item| span(reader, &item)) {
        times.first_byte = Some(time);
    }
    time(reader, item, "idle", &mut times.idle);
    time(reader, item, "timeout", &mut times.timeout);
    time(reader, item, "hold", &mut times.hold);
}

fn backoff(reader: &mut Reader<'_>, item: &Item<'_>, backoff: &mut Backoff) {
    if reader.object::<schema::Backoff>(item, "{\"base\": \"500ms\", \"cap\": \"8s\"}") {
        time(reader, item, "base", &mut backoff.base);
        time(reader, item, "cap", &mut backoff.cap);
    }
}

fn budget(reader: &mut Reader<'_>, item: &Item<'_>, retry_budget: &mut RetryBudgetSettings) {
    if !reader.object::<schema::RetryBudget>(item, "{\"ratio\": 0.2, \"per_second\": 10}") {
        return;
    }
    if let Some(ratio) = item.get("ratio").and_then(|item| reader.amount(&item, "a number such as 0.2")) {
        retry_budget.ratio = ratio;
    }
    if let Some(item) = item.get("per_second") {
        let wanted = "a whole number such as 10, at most 1000000";
        let amount = reader.amount(&item, wanted);
        match amount.filter(|amount| amount.fract() == 0.0 && *amount <= 1e6) {
            Some(amount) => retry_budget.per_second = amount as u32,
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
