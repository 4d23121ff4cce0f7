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
pub(super) const KEYS: [&str; 2] = ["disabled_time", "failure_status"];

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
        if let Some(item) = item.get("disabled_time")
            && let Some(value) = disabled_time(reader, &item)
        {
            health.disabled_time = Some(Said { value, place: Rc::new(item.place()) });
        }
        if let Some(item) = item.get("failure_status")
            && let Some(value) = failure_status(reader, &item)
        {
            health.failures = Some(Said { value: Rc::new(value), place: Rc::new(item.place()) });
        }
        health
    }

    /// The settings, with these defaults for what nobody said.
    pub(super) fn settings(&self, defaults: &RouterSettings) -> RouterSettings {
        let mut settings = defaults.clone();
        if let Some(said) = &self.disabled_time {
            settings.health.disabled_time = said.value;
        }
        if let Some(said) = &self.failures {
            settings.failures = FailureRule::clone(&said.value);
        }
        settings
    }
}

impl Routers {
    /// One leaf of a router.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, router: &RouterPath, health: &Health) {
        let before = self.0.entry(router.clone()).or_default();
        agree(reader, router, "disabled_time", &mut before.disabled_time, health.disabled_time.as_ref());
        agree(reader, router, "failure_status", &mut before.failures, health.failures.as_ref());
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

fn failure_status(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<FailureRule> {
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
