//! The settings in one form: a JSON document for `broker config` and, with what is the user's alone, the text that the
//! fingerprint is computed of.
//!
//! The form: objects with their keys in alphabetical order, without white space; times in seconds; rules and fields of requests
//! as the settings spell them; a setting that is absent is `null`. Any change of it needs another [`VERSION`].

use std::hash::Hasher as _;

use serde_json::{Map, Value, json};

use super::{BrokerSettings, PoolSettings, RouterSettings};
use crate::health::{Cooldown, HealthSettings, Probe, Ratio, RetryAfterSettings};
use crate::strategy::{Condition, Field, Policy, Query, Target, TargetKind, Test};
use types::outcome::FailureRule;
use types::request::Patch;

/// The version of the form; fingerprints of two versions cannot be compared.
const VERSION: u32 = 1;

/// Whether the values that the user put into requests and compares them with are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Only that there are some.
    Hidden,
    /// All of them.
    Written,
}

impl BrokerSettings {
    /// The version of the form, a dash, and the upper half of the 64-bit FNV-1a hash of its text, values written: eight
    /// hexadecimal digits. The same in all replicas of the same settings, if their versions of the form are the same.
    pub fn fingerprint(&self) -> String {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(Value::Object(self.canonical(Values::Written)).to_string().as_bytes());
        format!("{VERSION}-{:08x}", hasher.finish() >> 32)
    }

    /// The settings as an object of `pools`, `defaults`, `routers` and `relayed`.
    pub fn canonical(&self, values: Values) -> Map<String, Value> {
        // Field by field, here and below, so that a new one cannot be left out.
        let Self { pools, defaults, routers, relayed } = self;
        let pools: Vec<_> = pools.iter().map(|one| pool(one, values)).collect();
        let routers: Map<_, _> = routers.iter().map(|(path, own)| (path.to_string(), router(own))).collect();
        let all = json!({"pools": pools, "defaults": router(defaults), "routers": routers, "relayed": relayed});
        if let Value::Object(all) = all { all } else { Map::new() }
    }
}

fn pool(PoolSettings { ingress, root, when_all_disabled }: &PoolSettings, values: Values) -> Value {
    let mut shown = target(root, values);
    shown["ingress"] = json!(ingress);
    shown["when_all_disabled"] = json!(when_all_disabled);
    shown
}

fn router(RouterSettings { failures, health, rate_limit }: &RouterSettings) -> Value {
    let HealthSettings {
        disabled_time,
        cooldown: Cooldown { factor, max, jitter },
        consecutive,
        ratio,
        retry_after: RetryAfterSettings { honor, max: longest, assume, preempt },
        probe: Probe { concurrency, timeout },
        slow_start,
        slow,
        poison,
        timeout_ejects,
        keep_last,
    } = *health;
    let ratio =
        ratio.map(|Ratio { below, over, min }| json!({"below": below, "over_seconds": over.as_secs_f64(), "min": min}));
    let assume = assume.map(|wait| wait.as_secs_f64());
    json!({
        "failures": failures.to_string(),
        "disabled_seconds": disabled_time.as_secs_f64(),
        "consecutive": consecutive,
        "cooldown": {"factor": factor, "max_seconds": max.as_secs_f64(), "jitter": jitter},
        "ratio": ratio,
        "retry_after": {"honor": honor, "max_seconds": longest.as_secs_f64(), "assume_seconds": assume, "preempt": preempt},
        "ramp_seconds": slow_start.as_secs_f64(),
        "slow_seconds": slow.map(|slow| slow.as_secs_f64()),
        "poison": poison,
        "timeout_ejects": timeout_ejects,
        "keep_last": keep_last,
        "probe": {"concurrency": concurrency, "timeout_seconds": timeout.as_secs_f64()},
        "budget": rate_limit.map(|limit| json!({"rpm": limit.rpm, "tpm": limit.tpm})),
    })
}

fn target(Target { name, weight, drained, patch, retry_on, kind }: &Target, values: Values) -> Value {
    let mut shown = json!({"weight": weight});
    if let Some(name) = name {
        shown["name"] = json!(name);
    }
    if *drained {
        shown["drained"] = json!(true);
    }
    if !patch.is_empty() {
        let Patch { merge, model_map } = &**patch;
        shown["changes_the_request"] = match values {
            Values::Hidden => json!(true),
            Values::Written => json!({"merge": merge, "model_map": model_map}),
        };
    }
    if let Some(rule) = retry_on {
        shown["on_status_codes"] = json!(FailureRule::to_string(rule));
    }
    match kind {
        TargetKind::Router(path) => shown["router"] = json!(path),
        TargetKind::Branch { policy, targets } => {
            shown["mode"] = json!(policy.as_str());
            if values == Values::Written {
                shown["asks"] = asks(policy);
            }
            shown["targets"] = targets.iter().map(|inner| target(inner, values)).collect();
        }
    }
    shown
}

/// What a policy asks of requests.
fn asks(policy: &Policy) -> Value {
    match policy {
        Policy::Sticky(key) => json!(Field::to_string(key)),
        Policy::Conditional { conditions, default } => {
            let conditions: Vec<_> =
                conditions.iter().map(|Condition { query, then }| json!([self::query(query), then])).collect();
            json!({"conditions": conditions, "default": default})
        }
        Policy::LoadBalance | Policy::RoundRobin | Policy::Fallback | Policy::Fastest | Policy::LeastBusy => {
            Value::Null
        }
    }
}

fn query(query: &Query) -> Value {
    let all = |queries: &[Query]| queries.iter().map(self::query).collect::<Vec<_>>();
    match query {
        Query::All(queries) => json!({"$and": all(queries)}),
        Query::Any(queries) => json!({"$or": all(queries)}),
        Query::Not(query) => json!({"$not": self::query(query)}),
        Query::Field(field, tests) => json!([field.to_string(), tests.iter().map(test).collect::<Vec<_>>()]),
    }
}

fn test(test: &Test) -> Value {
    match test {
        Test::Eq(value) => json!({"$eq": value}),
        Test::Ne(value) => json!({"$ne": value}),
        Test::Gt(value) => json!({"$gt": value}),
        Test::Gte(value) => json!({"$gte": value}),
        Test::Lt(value) => json!({"$lt": value}),
        Test::Lte(value) => json!({"$lte": value}),
        Test::In(list) => json!({"$in": list}),
        Test::Nin(list) => json!({"$nin": list}),
        Test::Regex(pattern) => json!({"$regex": pattern.as_str()}),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::broker::WhenAllDisabled;
    use crate::fixtures::path;
    use crate::load::rate_limit::RateLimit;

    /// Settings in which something of every kind stands.
    fn full() -> BrokerSettings {
        let leaf = |name: &str| Target::plain(TargetKind::Router(path(name)));
        let field = |name: &str, tests| Query::Field(Field::parse(name).unwrap(), tests);
        let query = Query::All(vec![
            field("params.model", vec![Test::In(vec![json!("a"), json!(1)]), Test::Regex("^g".parse().unwrap())]),
            Query::Not(Box::new(Query::Any(vec![field("headers.Tier", vec![Test::Gte(json!(2.5))])]))),
        ]);
        let conditions = Arc::from([Condition { query, then: 0 }]);
        let sticky = TargetKind::Branch {
            policy: Policy::Sticky(Field::Session),
            targets: vec![Target { weight: 0.5, drained: true, ..leaf("/c/") }],
        };
        let patch = Patch {
            merge: Map::from_iter([("temperature".to_owned(), json!(0))]),
            model_map: [("a".to_owned(), "b".to_owned())].into(),
        };
        let retry_on = Some(Arc::new(FailureRule::parse("404,5xx").unwrap()));
        let targets = vec![
            Target { name: Some("first".to_owned()), patch: Arc::new(patch), retry_on, ..leaf("/a/") },
            Target::plain(sticky),
        ];
        let root =
            Target::plain(TargetKind::Branch { policy: Policy::Conditional { conditions, default: Some(1) }, targets });
        let health =
            HealthSettings { ratio: Some(Ratio::default()), slow: Some(Duration::from_secs(9)), ..Default::default() };
        let rate_limit = Some(RateLimit { rpm: Some(60), tpm: None });
        BrokerSettings {
            pools: vec![PoolSettings { ingress: path("/in/"), root, when_all_disabled: WhenAllDisabled::Soonest }],
            defaults: RouterSettings::default(),
            routers: [(path("/a/"), RouterSettings { health, rate_limit, ..RouterSettings::default() })].into(),
            relayed: [path("/c/")].into(),
        }
    }

    #[test]
    fn the_form_of_a_version_never_changes() {
        let settings = full();
        let text = Value::Object(settings.canonical(Values::Written)).to_string();
        assert_eq!(text, include_str!("canonical.v1.json").trim_end(), "another form needs another VERSION");
        assert_eq!(settings.fingerprint(), "1-c119c3b9", "another hash needs another VERSION");
    }

    #[test]
    fn every_setting_changes_the_fingerprint() {
        let of = |change: fn(&mut BrokerSettings)| {
            let mut settings = full();
            change(&mut settings);
            settings.fingerprint()
        };
        fn first(settings: &mut BrokerSettings) -> &mut Target {
            let TargetKind::Branch { targets, .. } = &mut settings.pools[0].root.kind else { unreachable!() };
            &mut targets[0]
        }
        let changed: std::collections::BTreeSet<_> = [
            of(|_| {}),
            of(|settings| settings.defaults.health.disabled_time = Duration::from_millis(1)),
            of(|settings| settings.defaults.health.keep_last = true),
            of(|settings| settings.defaults.failures = FailureRule::AnyButSuccess),
            of(|settings| settings.relayed.clear()),
            of(|settings| settings.pools[0].when_all_disabled = WhenAllDisabled::Any),
            of(|settings| first(settings).weight = 2.0),
            of(|settings| first(settings).retry_on = None),
            of(|settings| {
                drop(Arc::make_mut(&mut first(settings).patch).merge.insert("temperature".to_owned(), json!(1)))
            }),
            of(|settings| settings.routers.values_mut().for_each(|router| router.rate_limit = None)),
        ]
        .into();
        assert_eq!(changed.len(), 10, "{changed:?}");
        assert_eq!(full().fingerprint(), full().fingerprint());
    }

    #[test]
    fn values_of_the_user_are_shown_only_where_they_are_asked_for() {
        let text = Value::Object(full().canonical(Values::Hidden)).to_string();
        for private in ["temperature", "model", "Tier", "\"b\""] {
            assert!(!text.contains(private), "{private} in {text}");
        }
    }
}
