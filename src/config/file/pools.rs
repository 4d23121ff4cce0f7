//! Pools and their targets: the tree of a file becomes the tree that the core walks.
//!
//! Settings are inherited: `override_params` and `model_map` field by field, `health` setting by setting, each from the nearest
//! place. A target with a fault is left out only so that the rest is validated: the file is not used.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jsonc_parser::ast::Value;

use super::direct::{self, Directs};
use super::health::{self, HealthOverrides, RouterOverrides};
use super::reader::{Item, Location, Reader};
use super::variables::Variables;
use super::{HealthDefaults, MAX_DEPTH, MAX_TARGETS, budget, limits, patch, price, provider, schema, strategy};
use crate::relay::{PoolRelaySettings, RelayRules};
use balancer::broker::{BrokerSettings, PoolSettings, WhenAllDisabled};
use balancer::retry::TimeLimits;
use balancer::strategy::{Policy, Target, TargetKind};
use types::outcome::FailureRule;
use types::request::Patch;
use types::router::RouterPath;

/// The longest name of a target, in characters: it must fit into reasons and stamps.
const MAX_NAME_CHARS: usize = 80;

/// The settings that targets inherit.
#[derive(Debug, Clone, Default)]
struct Inherited {
    ingress: Option<RouterPath>,
    /// The nesting depth of these targets.
    depth: usize,
    patch: Arc<Patch>,
    retry_on: Option<Arc<FailureRule>>,
    health: HealthOverrides,
    times: TimeLimits,
    /// The pool itself sets `when_all_disabled`, and to `pass`.
    passes: bool,
}

/// The result so far.
#[derive(Debug, Default)]
struct Pools {
    ingresses: HashMap<RouterPath, Location>,
    /// The first place of each router.
    leaves: HashMap<RouterPath, Location>,
    routers: RouterOverrides,
    /// The settings of each target with a url.
    direct_health: BTreeMap<RouterPath, (HealthOverrides, bool)>,
    /// The time limits of each pool.
    times: BTreeMap<RouterPath, PoolRelaySettings>,
    directs: Directs,
    prices: price::TargetPrices,
    /// The ingresses that only the relay serves.
    relayed: BTreeSet<RouterPath>,
    /// The number of pools and targets.
    nodes: usize,
}

/// Reads the whole file. The result is valid only if the reader found no fault.
pub(super) fn read(
    reader: &mut Reader<'_>,
    file: &Item<'_>,
    defaults: &HealthDefaults,
    variables: Variables,
) -> (BrokerSettings, RelayRules) {
    if !reader.object::<schema::PoolsFile>(file, "{\"pools\": [...]}") {
        return Default::default();
    }
    if let Some(schema) = file.get("$schema") {
        reader.text(&schema);
    }
    let health = HealthOverrides::default().below(reader, file.get("health"));
    let direct_defaults = health.direct_settings(&defaults.direct);
    let defaults = health.settings(&defaults.routers);
    let (limits, times, retry_budget) = limits::read(reader, file.get("relay"));
    let mut pools = Pools { directs: Directs::new(variables), ..Pools::default() };
    let mut settings = BrokerSettings::default();
    let needs = "needs \"pools\": [{\"ingress\": \"/azure/\", \"targets\": [...]}]";
    if let Some(list) = reader.needed(file, "pools", needs)
        && reader.list(&list, "pools")
    {
        settings.pools = list.elements().filter_map(|pool| pools.pool(reader, &pool, times)).collect();
    }
    for (router, place) in pools.leaves.iter().filter(|(router, _)| pools.ingresses.contains_key(*router)) {
        let problem = "is the ingress of another pool, and one path cannot be both: name the routers behind it";
        reader.push(place, Some(router.to_string()), problem.to_owned());
    }
    for (router, place) in &pools.leaves {
        if let Some(direct) = pools.directs.place(router) {
            let direct = reader.location(direct);
            let problem = format!("is also what the target with a url is called ({direct}): give that another name");
            reader.push(place, Some(router.to_string()), problem);
        }
    }
    settings.routers = pools.routers.settings(&defaults);
    let direct_settings = pools.direct_health.into_iter().map(|(path, (health, passes))| {
        let mut settings = health.direct_settings(&direct_defaults);
        settings.health.keep_last &= !passes;
        (path, settings)
    });
    settings.routers.extend(direct_settings);
    settings.defaults = defaults;
    let direct = pools.directs.into_found();
    settings.relayed = pools.relayed.into_iter().chain(direct.keys().cloned()).collect();
    (
        settings,
        RelayRules { limits, times, pools: pools.times, retry_budget, direct, prices: pools.prices.into_found() },
    )
}

impl Pools {
    fn pool(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, times: TimeLimits) -> Option<PoolSettings> {
        if !self.room(reader, item)
            || !reader.object::<schema::Pool>(item, "{\"ingress\": \"/azure/\", \"targets\": [...]}")
        {
            return None;
        }
        let ingress = self.ingress(reader, item);
        let health = HealthOverrides::default().below(reader, item.get("health"));
        let relay = item.get("relay");
        let times = match relay.filter(|relay| matches!(relay.value, Value::Object(_))) {
            Some(limits) => limits::times_below(reader, Some(limits), times),
            None => {
                if item.get("relay").and_then(|flag| reader.flag(&flag)) == Some(true) {
                    self.relayed.extend(ingress.clone());
                }
                times
            }
        };
        if let Some(ingress) = &ingress {
            self.times.insert(ingress.clone(), PoolRelaySettings { times, ..PoolRelaySettings::default() });
        }
        let when_all_disabled = when_all_disabled(reader, item);
        let passes = when_all_disabled == Some(Some(WhenAllDisabled::Pass));
        let above = Inherited { ingress: ingress.clone(), health, times, passes, ..Inherited::default() };
        let directs = self.direct_health.len();
        let (policy, targets) = self.branch(reader, item, &above)?;
        let has_addresses = self.direct_health.len() > directs;
        if let Some((path, pool)) = ingress.as_ref().and_then(|path| Some((path, self.times.get_mut(path)?))) {
            pool.affinity = limits::affinity(reader, item, has_addresses, self.relayed.contains(path));
            pool.client_config = limits::client_config(reader, item, self.relayed.contains(path));
        }
        let usual = if has_addresses { WhenAllDisabled::Soonest } else { WhenAllDisabled::default() };
        let root = Target::plain(TargetKind::Branch { policy, targets });
        Some(PoolSettings { ingress: ingress?, root, when_all_disabled: when_all_disabled?.unwrap_or(usual) })
    }

    fn ingress(&mut self, reader: &mut Reader<'_>, pool: &Item<'_>) -> Option<RouterPath> {
        let needs = "needs an \"ingress\": the router that clients call, such as /azure/";
        let item = reader.needed(pool, "ingress", needs)?;
        let path = router(reader, &item)?;
        if let Some(first) = self.ingresses.get(&path) {
            let first = reader.location(first);
            reader.fault(&item, format!("has a pool already: {first}"));
            return None;
        }
        self.ingresses.insert(path.clone(), item.place());
        Some(path)
    }

    /// The strategy and the targets of a pool or a branch.
    fn branch(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, above: &Inherited) -> Option<(Policy, Vec<Target>)> {
        let list = reader.needed(item, "targets", "needs \"targets\": [{\"router\": \"/azure/gpt4/\"}]")?;
        if above.depth == MAX_DEPTH {
            reader.missing(&list, format!("is nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        if !reader.list(&list, "targets") {
            return None;
        }
        let listed = item.get("strategy").and_then(|strategy| retry_on(reader, &strategy));
        let retry_on = listed.or_else(|| above.retry_on.clone());
        let above = Inherited { depth: above.depth + 1, retry_on, ..above.clone() };
        let targets: Vec<_> = list.elements().map(|target| self.target(reader, &target, &above)).collect();
        let elements: Vec<_> = list.elements().collect();
        let names: Vec<_> = elements.iter().map(name).collect();
        let policy = strategy::read(reader, item.get("strategy"), &names);
        unique(reader, &elements, &names);
        let targets: Vec<Target> = targets.into_iter().collect::<Option<_>>()?;
        if !targets.iter().map(|target| target.weight).sum::<f64>().is_finite() {
            reader.missing(&list, "has weights whose sum is too large: write smaller ones");
        }
        Some((policy?, targets))
    }

    fn target(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, above: &Inherited) -> Option<Target> {
        if !self.room(reader, item) || !reader.object::<schema::Target>(item, "{\"router\": \"/azure/gpt4/\"}") {
            return None;
        }
        let name = item.get("name").and_then(|name| label(reader, &name));
        let weight = item.get("weight").map_or(Some(1.0), |weight| reader.amount(&weight, "a number"));
        let drained = item.get("drained").map_or(Some(false), |drained| reader.flag(&drained));
        let patch = patch::read(reader, item, &above.patch);
        let mut health = above.health.below(reader, item.get("health"));
        budget::take(reader, item, &mut health);
        let times = limits::times_below(reader, item.get("relay"), above.times);
        let above = Inherited { patch, health, times, ..above.clone() };
        let kind = self.kind(reader, item, &above);
        self.prices.read(reader, item, kind.as_ref());
        let kind = kind?;
        let is_leaf = matches!(kind, TargetKind::Router(_));
        let retry_on = above.retry_on.filter(|_| is_leaf);
        let patch = if is_leaf { above.patch } else { Arc::default() };
        Some(Target { name: name.map(str::to_owned), weight: weight?, drained: drained?, patch, retry_on, kind })
    }

    fn kind(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, above: &Inherited) -> Option<TargetKind> {
        // A provider's address may be replaced by a url.
        let direct = if item.get("provider").is_some() { "provider" } else { "url" };
        let said: Vec<_> = ["router", direct, "targets"].into_iter().filter(|key| item.get(key).is_some()).collect();
        let kinds: Vec<_> = said.iter().map(|key| self.kind_by(reader, item, key, above)).collect();
        let [key] = said[..] else {
            match said.get(1).and_then(|second| item.get(second)) {
                Some(second) => {
                    let first = said[0];
                    let problem = format!("is beside \"{first}\": a target is either a router, a url or a branch");
                    reader.key_fault(&second, problem);
                }
                None => reader.missing(
                    item,
                    "needs a \"router\", such as /azure/gpt4/, a \"provider\", a \"url\", or a \"strategy\" over \"targets\"",
                ),
            }
            return None;
        };
        if let Some(strategy) = item.get("strategy").filter(|_| key != "targets") {
            reader.key_fault(&strategy, format!("belongs to a branch with \"targets\", and this is a {key}"));
        }
        let of_provider = item.fields().filter(|(name, _)| provider::KEYS.contains(name) && key != "provider");
        for (name, field) in of_provider {
            reader
                .key_fault(&field, format!("belongs to a target with \"provider\": without one {name} means nothing"));
        }
        let is_direct = matches!(key, "url" | "provider");
        for (name, field) in item.fields().filter(|(name, _)| direct::KEYS.contains(name) && !is_direct) {
            reader.key_fault(
                &field,
                format!("belongs to a target with \"url\"; the {name} of a router is in the gateway's configuration"),
            );
        }
        kinds.into_iter().next().flatten()
    }

    fn kind_by(
        &mut self,
        reader: &mut Reader<'_>,
        item: &Item<'_>,
        key: &str,
        above: &Inherited,
    ) -> Option<TargetKind> {
        match key {
            "router" => self.leaf(reader, &item.get(key)?, above).map(TargetKind::Router),
            "url" | "provider" => self.direct(reader, item, above).map(TargetKind::Router),
            _ => self.branch(reader, item, above).map(|(policy, targets)| TargetKind::Branch { policy, targets }),
        }
    }

    /// A target that only the relay reaches: its whole pool is served by the relay alone.
    fn direct(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, above: &Inherited) -> Option<RouterPath> {
        // Without an ingress there is a fault already; any other one serves to find those of the target.
        let ingress = above.ingress.clone().or_else(|| RouterPath::parse("/ingress/").ok())?;
        let path = self.directs.read(reader, item, &ingress)?;
        self.note_times(reader, item, &path, above);
        self.relayed.insert(ingress);
        self.routers.add(reader, &path, &above.health);
        let (health, passes) = self.direct_health.entry(path.clone()).or_default();
        health.extend(&above.health);
        *passes |= above.passes;
        Some(path)
    }

    fn leaf(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, above: &Inherited) -> Option<RouterPath> {
        let path = router(reader, item)?;
        if above.ingress.as_ref() == Some(&path) {
            reader.fault(item, "is the ingress of this pool itself: name the routers behind it");
        } else {
            self.leaves.entry(path.clone()).or_insert_with(|| item.place());
        }
        self.note_times(reader, item, &path, above);
        self.routers.add(reader, &path, &above.health);
        Some(path)
    }

    /// The time limits of a target, which must be the same in all its places of a pool.
    fn note_times(&mut self, reader: &mut Reader<'_>, item: &Item<'_>, router: &RouterPath, above: &Inherited) {
        let Some(pool) = above.ingress.as_ref().and_then(|ingress| self.times.get_mut(ingress)) else { return };
        let is_known = pool.targets.insert(router.clone(), above.times).is_some_and(|other| other != above.times);
        if is_known {
            let problem =
                format!("gives {router} other time limits than it has in this pool already: they must be the same");
            reader.missing(item, problem);
        }
    }

    /// Counts one more pool or target. The first one beyond the limit is a fault.
    fn room(&mut self, reader: &mut Reader<'_>, item: &Item<'_>) -> bool {
        self.nodes += 1;
        if self.nodes == MAX_TARGETS + 1 {
            reader.missing(item, format!("is one more than the {MAX_TARGETS} pools and targets that a file may have"));
        }
        self.nodes <= MAX_TARGETS
    }
}

/// What the file says of a pool whose routers are all disabled, if it says so; nothing if it cannot be read.
fn when_all_disabled(reader: &mut Reader<'_>, pool: &Item<'_>) -> Option<Option<WhenAllDisabled>> {
    let choices =
        [("pass", WhenAllDisabled::Pass), ("soonest", WhenAllDisabled::Soonest), ("any", WhenAllDisabled::Any)];
    match pool.get("when_all_disabled") {
        Some(item) => reader.one_of(&item, &choices).map(Some),
        None => Some(None),
    }
}

/// The answers after which the relay sends a request elsewhere, if a branch lists them.
fn retry_on(reader: &mut Reader<'_>, strategy: &Item<'_>) -> Option<Arc<FailureRule>> {
    let lists = ["retry_on", "on_status_codes"].into_iter().filter_map(|key| strategy.get(key));
    let rules: Vec<_> = lists.filter_map(|list| health::failure_status(reader, &list)).collect();
    rules.into_iter().reduce(FailureRule::union).map(Arc::new)
}

fn router(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<RouterPath> {
    let text = reader.text(item)?;
    RouterPath::parse(text).inspect_err(|fault| reader.fault(item, fault.to_string())).ok()
}

fn label<'p>(reader: &mut Reader<'_>, item: &Item<'p>) -> Option<&'p str> {
    let name = reader.word(item)?;
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        reader.fault(item, format!("must be a name of at most {MAX_NAME_CHARS} characters in one line"));
    }
    Some(name)
}

/// The name of a target, judged elsewhere.
fn name<'p>(target: &'p Item<'p>) -> Option<&'p str> {
    let name = target.get("name")?;
    name.value.as_string_lit().map(|name| &*name.value)
}

fn unique(reader: &mut Reader<'_>, targets: &[Item<'_>], names: &[Option<&str>]) {
    let mut first = HashMap::new();
    for (target, name) in targets.iter().zip(names) {
        let (Some(name), Some(item)) = (name, target.get("name")) else { continue };
        match first.get(name) {
            None => drop(first.insert(*name, item.place())),
            Some(place) => {
                let place = reader.location(place);
                reader.fault(&item, format!("is the name of another target of this branch: {place}"));
            }
        }
    }
}
