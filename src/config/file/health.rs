//! `health`: it may stand at the file, a pool, a branch or a target, and belongs to the router.
//!
//! The nearest wins, each setting for itself. A place that says nothing gives nothing: of two leaves with one router, only
//! those count that say something, and if they do not say the same, nobody could know which of them was meant.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::reader::{Item, Place, Reader};
use crate::broker::RouterSettings;
use crate::outcome::FailureRule;
use crate::router::RouterPath;

/// The keys of `health`.
pub(super) const KEYS: [&str; 5] = ["disabled_time", "failure_status", "consecutive", "retry_after", "probe"];
/// The keys of `retry_after`.
pub(super) const RETRY_AFTER_KEYS: [&str; 2] = ["honor", "max"];
/// The keys of `probe`.
pub(super) const PROBE_KEYS: [&str; 2] = ["concurrency", "timeout"];
/// The longest time that a text can say, in seconds: a year. What is longer is a mistake.
const LONGEST: u64 = 366 * 86_400;

/// A setting, and where it was said.
#[derive(Debug, Clone)]
struct Said<T> {
    value: T,
    place: Rc<Place>,
}

/// What was said above a target, the nearest of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    disabled_time: Option<Said<Duration>>,
    failures: Option<Said<Rc<FailureRule>>>,
    consecutive: Option<Said<u32>>,
    honor: Option<Said<bool>>,
    longest_hint: Option<Said<Duration>>,
    probes: Option<Said<u32>>,
    probe_timeout: Option<Said<Duration>>,
}

/// What was said of each router.
#[derive(Debug, Default)]
pub(super) struct Routers(BTreeMap<RouterPath, Health>);

impl Health {
    /// What holds below a place that may say something of its own.
    pub(super) fn below(&self, reader: &mut Reader<'_>, item: Option<Item<'_>>) -> Self {
        let mut health = self.clone();
        let Some(item) = item else { return health };
        if !reader.object(&item, &KEYS, "{\"disabled_time\": 5}") {
            return health;
        }
        take(reader, &item, "disabled_time", disabled_time, &mut health.disabled_time);
        take(reader, &item, "failure_status", failure_status, &mut health.failures);
        take(reader, &item, "consecutive", count, &mut health.consecutive);
        if let Some(item) = item.get("retry_after")
            && reader.object(&item, &RETRY_AFTER_KEYS, "{\"honor\": true, \"max\": \"1h\"}")
        {
            take(reader, &item, "honor", |reader, item| reader.flag(item), &mut health.honor);
            take(reader, &item, "max", span, &mut health.longest_hint);
        }
        if let Some(item) = item.get("probe")
            && reader.object(&item, &PROBE_KEYS, "{\"concurrency\": 1, \"timeout\": \"120s\"}")
        {
            take(reader, &item, "concurrency", count, &mut health.probes);
            take(reader, &item, "timeout", span, &mut health.probe_timeout);
        }
        health
    }

    /// The settings, with these defaults for what nobody said.
    pub(super) fn settings(&self, defaults: &RouterSettings) -> RouterSettings {
        fn put<T: Clone>(said: Option<&Said<T>>, setting: &mut T) {
            if let Some(said) = said {
                *setting = said.value.clone();
            }
        }
        let mut settings = defaults.clone();
        let health = &mut settings.health;
        put(self.disabled_time.as_ref(), &mut health.disabled_time);
        put(self.consecutive.as_ref(), &mut health.consecutive);
        put(self.honor.as_ref(), &mut health.retry_after.honor);
        put(self.longest_hint.as_ref(), &mut health.retry_after.max);
        put(self.probes.as_ref(), &mut health.probe.concurrency);
        put(self.probe_timeout.as_ref(), &mut health.probe.timeout);
        if let Some(said) = &self.failures {
            settings.failures = FailureRule::clone(&said.value);
        }
        settings
    }
}

/// Reads a setting, if it stands there.
fn take<T>(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    key: &str,
    read: impl Fn(&mut Reader<'_>, &Item<'_>) -> Option<T>,
    said: &mut Option<Said<T>>,
) {
    let Some(item) = item.get(key) else { return };
    if let Some(value) = read(reader, &item) {
        *said = Some(Said { value, place: Rc::new(item.place()) });
    }
}

impl Routers {
    /// One leaf of a router.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, router: &RouterPath, health: &Health) {
        let before = self.0.entry(router.clone()).or_default();
        agree(reader, router, "disabled_time", &mut before.disabled_time, health.disabled_time.as_ref());
        agree(reader, router, "failure_status", &mut before.failures, health.failures.as_ref());
        agree(reader, router, "consecutive", &mut before.consecutive, health.consecutive.as_ref());
        agree(reader, router, "retry_after.honor", &mut before.honor, health.honor.as_ref());
        agree(reader, router, "retry_after.max", &mut before.longest_hint, health.longest_hint.as_ref());
        agree(reader, router, "probe.concurrency", &mut before.probes, health.probes.as_ref());
        agree(reader, router, "probe.timeout", &mut before.probe_timeout, health.probe_timeout.as_ref());
    }

    /// Those whose settings are not the defaults.
    pub(super) fn settings(&self, defaults: &RouterSettings) -> BTreeMap<RouterPath, RouterSettings> {
        let settings = self.0.iter().map(|(router, health)| (router.clone(), health.settings(defaults)));
        settings.filter(|(_, settings)| settings != defaults).collect()
    }
}

fn agree<T: Clone + PartialEq>(
    reader: &mut Reader<'_>,
    router: &RouterPath,
    name: &str,
    before: &mut Option<Said<T>>,
    now: Option<&Said<T>>,
) {
    match (&before, now) {
        (Some(before), Some(now)) if before.value != now.value => {
            let first = reader.tell(&before.place);
            let problem = format!("gives {router} another {name} than {first}: a router has one, wherever it stands");
            reader.push(&now.place, None, problem);
        }
        (None, Some(now)) => *before = Some(now.clone()),
        _ => {}
    }
}

fn disabled_time(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Duration> {
    let wanted = "minutes: a number such as 10 or 0.5 (0 never disables)";
    let minutes = reader.amount(item, wanted)?;
    let time = Duration::try_from_secs_f64(minutes * 60.0).ok();
    if time.is_none() {
        reader.fault(item, "is longer than any time can be");
    }
    time
}

/// A whole number from 1 on.
pub(super) fn count(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<u32> {
    let wanted = "a whole number from 1 on";
    let amount = reader.amount(item, wanted)?;
    let whole = amount.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&amount);
    if !whole {
        reader.fault(item, format!("must be {wanted}"));
    }
    whole.then_some(amount as u32)
}

/// A time with its unit.
pub(super) fn span(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Duration> {
    let text = reader.word(item)?;
    let time = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    let time = time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(LONGEST));
    if time.is_none() {
        reader.fault(item, "must be a time with its unit, such as \"500ms\", \"90s\" or \"1h 30m\", up to a year");
    }
    time
}

fn failure_status(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Rc<FailureRule>> {
    listed(reader, item).map(Rc::new)
}

fn listed(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<FailureRule> {
    match item.value {
        Value::Array(_) => {
            if !reader.list(item, "statuses such as 429 or \"5xx\"") {
                return None;
            }
            let parts: Vec<_> = item.elements().map(|element| status(reader, &element)).collect();
            let parts: Vec<String> = parts.into_iter().collect::<Option<_>>()?;
            FailureRule::parse(&parts.join(",")).ok()
        }
        Value::StringLit(text) => rule(reader, item, &text.value),
        _ => {
            reader.fault(item, "must be a text such as \"429,5xx\" or \"any\", or a list such as [404, 429, \"5xx\"]");
            None
        }
    }
}

/// One element of a list, as it stands in a text.
fn status(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = match item.value {
        Value::NumberLit(number) => number.value,
        Value::StringLit(text) => &text.value,
        _ => "",
    };
    if text.trim().eq_ignore_ascii_case("any") {
        reader.fault(item, "is everything and needs no list: \"failure_status\": \"any\"");
        return None;
    }
    rule(reader, item, text).map(|_| text.to_owned())
}

fn rule(reader: &mut Reader<'_>, item: &Item<'_>, text: &str) -> Option<FailureRule> {
    match FailureRule::parse(text) {
        Ok(rule) => Some(rule),
        Err(faults) => {
            for fault in faults {
                reader.fault(item, fault.to_string());
            }
            None
        }
    }
}
