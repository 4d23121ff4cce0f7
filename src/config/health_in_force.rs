//! Which health settings of the environment are in force. The pools file may replace one of them by a key or by a whole preset,
//! at any place, so the file is read with another value: the routers that do not change do not use it.

use std::time::Duration;

use super::Config;
use super::file::HealthDefaults;
use balancer::broker::RouterSettings;
use balancer::health::Preset;
use balancer::strategy::{Target, TargetKind};
use types::outcome::FailureRule;
use types::router::RouterPath;

/// The routers of a config with the settings of each.
type Routers = Vec<(RouterPath, RouterSettings)>;

/// For which routers a setting of the environment, or its default, is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// For routers of the gateway.
    routers: bool,
    /// For targets with a url.
    direct: bool,
    /// The file has another value for some.
    pub(super) in_part: bool,
}

impl Reach {
    /// The file replaces it for all routers.
    pub(super) const fn is_empty(self) -> bool {
        !self.routers && !self.direct
    }
}

/// Where a setting of health is in force; `None` for all other settings.
pub(super) fn reach(name: &str, config: &Config) -> Option<Reach> {
    let change = another(name)?;
    let Some(file) = &config.pools else { return Some(Reach { routers: true, ..Reach::default() }) };
    let mut defaults = file.defaults.clone();
    change(&mut defaults.routers);
    change(&mut defaults.direct);
    let (before, after) = (routers(config, &file.defaults), routers(config, &defaults));
    let mut reach = Reach::default();
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        match before == after {
            true => reach.in_part = true,
            false if config.relay.rules.direct.contains_key(path) => reach.direct = true,
            false => reach.routers = true,
        }
    }
    Some(reach)
}

/// The default of `DISABLED_TIME`, which is that of the preset in force, in minutes, and where it is from.
pub(super) fn disabled_time(config: &Config, reach: Reach) -> (String, String) {
    let (routers, direct) = match &config.pools {
        Some(file) => (file.defaults.routers.health, file.defaults.direct.health),
        None => (config.broker.defaults.health, config.broker.defaults.health),
    };
    let time = if reach.routers { routers.disabled_time } else { direct.disabled_time };
    let is_usual = time == Preset::default().settings().disabled_time;
    let preset = Preset::ALL.into_iter().find(|preset| !is_usual && preset.settings().disabled_time == time);
    let mut from = preset.map_or("default".to_owned(), |preset| format!("default of {}: {time:?}", preset.name()));
    if reach.routers && reach.direct && time != direct.disabled_time {
        from += &format!("; {:?} for targets with a url", direct.disabled_time);
    }
    (minutes(time), from)
}

/// Gives a setting another value.
fn another(name: &str) -> Option<fn(&mut RouterSettings)> {
    match name {
        "BROKER_HEALTH" => Some(|all| {
            let is_other = |preset: &Preset| preset.settings().consecutive != all.health.consecutive;
            let other = Preset::ALL.into_iter().find(is_other).unwrap_or_default();
            all.health = other.settings();
        }),
        "DISABLED_TIME" => Some(|all| all.health.disabled_time = all.health.disabled_time.saturating_add(SECOND)),
        "BROKER_RETRY_AFTER" => Some(|all| all.health.retry_after.honor = !all.health.retry_after.honor),
        "BROKER_FAILURE_STATUS" => Some(|all| {
            all.failures = match all.failures {
                FailureRule::AnyButSuccess => FailureRule::Standard,
                _ => FailureRule::AnyButSuccess,
            }
        }),
        _ => None,
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// The routers of the pools file with these defaults.
fn routers(config: &Config, defaults: &HealthDefaults) -> Routers {
    let Some(Ok((settings, _))) = config.pools.as_ref().map(|file| file.load_with(defaults)) else { return Vec::new() };
    let mut paths = Vec::new();
    settings.pools.iter().for_each(|pool| leaves(&pool.root, &mut paths));
    paths.into_iter().map(|path| (path.clone(), settings.for_router(path).clone())).collect()
}

fn leaves<'a>(target: &'a Target, found: &mut Vec<&'a RouterPath>) {
    match &target.kind {
        TargetKind::Router(path) => found.push(path),
        TargetKind::Branch { targets, .. } => targets.iter().for_each(|target| leaves(target, found)),
    }
}

/// A time in minutes with as few digits as are read as the same time.
fn minutes(time: Duration) -> String {
    let minutes = time.as_secs_f64() / 60.0;
    let is_same = |text: &String| {
        let read = text.parse().ok().and_then(|minutes: f64| Duration::try_from_secs_f64(minutes * 60.0).ok());
        read == Some(time)
    };
    (0..16).map(|digits| format!("{minutes:.digits$}")).find(is_same).unwrap_or_else(|| minutes.to_string())
}
