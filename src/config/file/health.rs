//! `health`: a key of the file, a pool, a branch or a target; it belongs to the router.
//!
//! Each setting is taken from the nearest place that has it; but a preset sets all of them, so nothing is inherited from above
//! it. Of two leaves with the same router only those with health settings count, and it is a fault if they differ.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::reader::{Item, Location, Reader, nearest};
use super::schema::health as schema;
use crate::clock::read_time;
use balancer::broker::RouterSettings;
use balancer::health::{Preset, Ratio};
use types::outcome::{ErrorClass, FailureRule};
use types::router::RouterPath;

/// The longest time: a year. A longer one is a mistake.
const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);
/// The largest `factor` of a cooldown.
const MAX_FACTOR: f64 = 100.0;

/// A setting, and where it is in the file.
#[derive(Clone)]
struct LocatedSetting {
    name: &'static str,
    place: Rc<Location>,
    put: Rc<dyn Fn(&mut RouterSettings)>,
}

impl fmt::Debug for LocatedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl LocatedSetting {
    /// What it sets, with defaults for all the rest.
    fn alone(&self) -> RouterSettings {
        let mut settings = RouterSettings::default();
        (self.put)(&mut settings);
        settings
    }
}

/// The settings inherited by a target, each from the nearest place.
#[derive(Debug, Clone, Default)]
pub(super) struct HealthOverrides(Vec<LocatedSetting>);

/// The settings of each router.
#[derive(Debug, Default)]
pub(super) struct RouterOverrides(BTreeMap<RouterPath, HealthOverrides>);

impl HealthOverrides {
    /// The settings below a place that may have its own.
    pub(super) fn below(&self, reader: &mut Reader<'_>, item: Option<Item<'_>>) -> Self {
        let mut health = self.clone();
        let Some(item) = item else { return health };
        if !reader.object::<schema::Health>(&item, "{\"disabled_time\": 5}") {
            return health;
        }
        if item.get("preset").is_some() {
            health.0.retain(|said| said.name == "failure_status");
        }
        health.take(reader, &item, "preset", preset, |all, preset| all.health = preset.settings());
        health.take(reader, &item, "disabled_time", disabled_time, |all, time| all.health.disabled_time = time);
        health.take(reader, &item, "failure_status", failure_status, |all, rule| all.failures = rule);
        health.take(reader, &item, "consecutive", count, |all, count| {
            (all.health.consecutive, all.health.timeout_ejects) = (count, false);
        });
        health.take(reader, &item, "ratio", ratio, |all, ratio| all.health.ratio = ratio);
        health.take(reader, &item, "ramp", span_or_off, |all, ramp| all.health.slow_start = ramp.unwrap_or_default());
        health.take(reader, &item, "slow_is_failure_after", span_or_off, |all, slow| all.health.slow = slow);
        health.take(reader, &item, "poison", flag, |all, poison| all.health.poison = poison);
        if let Some(cooldown) = item.get("cooldown") {
            health.cooldown(reader, &cooldown);
            if let Some(base) = cooldown.get("base").filter(|_| item.get("disabled_time").is_some()) {
                reader.fault(&base, "is another name for disabled_time, which is set here too: give one of them");
            }
        }
        if let Some(item) = item.get("retry_after")
            && reader.object::<schema::RetryAfter>(&item, "{\"honor\": true, \"max\": \"1h\"}")
        {
            health.take(reader, &item, "retry_after.honor", flag, |all, honor| all.health.retry_after.honor = honor);
            health.take(reader, &item, "retry_after.max", span, |all, max| all.health.retry_after.max = max);
            health.take(reader, &item, "retry_after.assume", span_or_off, |all, time| {
                all.health.retry_after.assume = time
            });
            health.take(reader, &item, "retry_after.preempt", flag, |all, is| all.health.retry_after.preempt = is);
        }
        if let Some(item) = item.get("probe")
            && reader.object::<schema::Probe>(&item, "{\"concurrency\": 1, \"timeout\": \"120s\"}")
        {
            health.take(reader, &item, "probe.concurrency", count, |all, count| all.health.probe.concurrency = count);
            health.take(reader, &item, "probe.timeout", span, |all, time| all.health.probe.timeout = time);
        }
        health
    }

    fn cooldown(&mut self, reader: &mut Reader<'_>, item: &Item<'_>) {
        if !reader.object::<schema::Cooldown>(item, "{\"base\": \"5s\", \"factor\": 2, \"max\": \"5m\"}") {
            return;
        }
        // Two spellings of one setting.
        self.take_as("disabled_time", reader, item, "base", span, |all, time| all.health.disabled_time = time);
        let factor = |reader: &mut Reader<'_>, item: &Item<'_>| within(reader, item, 1.0..=MAX_FACTOR);
        self.take(reader, item, "cooldown.factor", factor, |all, factor| all.health.cooldown.factor = factor);
        self.take(reader, item, "cooldown.max", span, |all, max| all.health.cooldown.max = max);
        let jitter = |reader: &mut Reader<'_>, item: &Item<'_>| within(reader, item, 0.0..=1.0);
        self.take(reader, item, "cooldown.jitter", jitter, |all, jitter| all.health.cooldown.jitter = jitter);
    }

    /// Reads the setting of this name, if it is present.
    pub(super) fn take<T: Clone + 'static>(
        &mut self,
        reader: &mut Reader<'_>,
        item: &Item<'_>,
        name: &'static str,
        read: impl Fn(&mut Reader<'_>, &Item<'_>) -> Option<T>,
        put: fn(&mut RouterSettings, T),
    ) {
        let key = name.rsplit('.').next().unwrap_or(name);
        self.take_as(name, reader, item, key, read, put);
    }

    fn take_as<T: Clone + 'static>(
        &mut self,
        name: &'static str,
        reader: &mut Reader<'_>,
        item: &Item<'_>,
        key: &str,
        read: impl Fn(&mut Reader<'_>, &Item<'_>) -> Option<T>,
        put: fn(&mut RouterSettings, T),
    ) {
        let Some(item) = item.get(key) else { return };
        let Some(value) = read(reader, &item) else { return };
        self.0.retain(|said| said.name != name);
        let (place, put) = (Rc::new(item.place()), Rc::new(move |all: &mut _| put(all, value.clone())));
        self.0.push(LocatedSetting { name, place, put });
    }

    /// Adds the settings of another place of the same target.
    pub(super) fn extend(&mut self, other: &Self) {
        let new = other.0.iter().filter(|setting| !self.0.iter().any(|known| known.name == setting.name));
        let new: Vec<_> = new.cloned().collect();
        self.0.extend(new);
    }

    /// The settings of a target with a url: the last one that serves is not disabled, unless a preset is set.
    pub(super) fn direct_settings(&self, defaults: &RouterSettings) -> RouterSettings {
        let mut settings = self.settings(defaults);
        if let Some(preset) = self.0.iter().find(|said| said.name == "preset") {
            settings.health.keep_last = preset.alone().health == Preset::Resilient.settings();
        }
        settings
    }

    /// The settings, with these defaults for those that are absent.
    pub(super) fn settings(&self, defaults: &RouterSettings) -> RouterSettings {
        let mut settings = defaults.clone();
        let (presets, others): (Vec<_>, Vec<_>) = self.0.iter().partition(|said| said.name == "preset");
        for said in presets.into_iter().chain(others) {
            (said.put)(&mut settings);
        }
        settings
    }
}

impl RouterOverrides {
    /// One leaf of a router.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, router: &RouterPath, health: &HealthOverrides) {
        let HealthOverrides(before) = self.0.entry(router.clone()).or_default();
        for now in &health.0 {
            match before.iter().find(|said| said.name == now.name) {
                None => before.push(now.clone()),
                Some(said) if said.alone() == now.alone() => {}
                Some(said) => {
                    let (name, first) = (now.name, reader.location(&said.place));
                    let problem =
                        format!("gives {router} another {name} than {first}: a router has the same in all places");
                    reader.push(&now.place, None, problem);
                }
            }
        }
    }

    /// The routers whose settings are not the defaults.
    pub(super) fn settings(&self, defaults: &RouterSettings) -> BTreeMap<RouterPath, RouterSettings> {
        let settings = self.0.iter().map(|(router, health)| (router.clone(), health.settings(defaults)));
        settings.filter(|(_, settings)| settings != defaults).collect()
    }
}

fn disabled_time(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Duration> {
    let wanted = "minutes: a number such as 10 or 0.5 (0 never disables)";
    let minutes = reader.amount(item, wanted)?;
    let time = Duration::try_from_secs_f64(minutes * 60.0).ok();
    if time.is_none() {
        reader.fault(item, "is too long a time");
    }
    time
}

/// A whole number, at least 1.
pub(super) fn count(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<u32> {
    let wanted = "a whole number, at least 1";
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
    let time = read_time(text, MAX_TIME);
    if time.is_none() {
        reader.fault(item, "must be a time with its unit, such as \"500ms\", \"90s\" or \"1h 30m\", up to a year");
    }
    time
}

/// A time with its unit, or `false` for off.
fn span_or_off(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Option<Duration>> {
    match item.value {
        Value::BooleanLit(flag) if !flag.value => Some(None),
        _ => span(reader, item).map(Some),
    }
}

fn flag(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<bool> {
    reader.flag(item)
}

fn within(reader: &mut Reader<'_>, item: &Item<'_>, range: RangeInclusive<f64>) -> Option<f64> {
    let wanted = format!("a number from {} to {}", range.start(), range.end());
    let amount = reader.amount(item, &wanted)?;
    let inside = range.contains(&amount);
    if !inside {
        reader.fault(item, format!("must be {wanted}"));
    }
    inside.then_some(amount)
}

fn preset(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Preset> {
    reader.one_of(item, &Preset::ALL.map(|preset| (preset.name(), preset)))
}

/// The share, the window and the least number of answers; or `false` for off.
fn ratio(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Option<Ratio>> {
    if matches!(item.value, Value::BooleanLit(flag) if !flag.value) {
        return Some(None);
    }
    if !reader.object::<schema::Ratio>(item, "{\"below\": 0.5, \"over\": \"60s\", \"min\": 10}, or false") {
        return None;
    }
    let usual = Ratio::default();
    let below = item.get("below").map_or(Some(usual.below), |item| within(reader, &item, 0.0..=1.0));
    let over = item.get("over").map_or(Some(usual.over), |item| span(reader, &item));
    let min = item.get("min").map_or(Some(usual.min), |item| count(reader, &item));
    Some(Some(Ratio { below: below?, over: over?, min: min? }))
}

/// A list of statuses.
pub(super) fn failure_status(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<FailureRule> {
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

/// One element of a list, as written in a text.
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
                let classes = ErrorClass::ALL.map(ErrorClass::name);
                let near = nearest(&fault.part, &classes).map(|near| format!("; did you mean {near}?"));
                reader.fault(item, format!("{fault}{}", near.unwrap_or_default()));
            }
            None
        }
    }
}
