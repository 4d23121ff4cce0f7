//! What the settings say of each ingress and no request changes: what is read of a request before a router is chosen for it, and
//! the models of its pool. Shared and never changed, so that it is asked without the broker.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Broker, Decision, Pass, Pool, PoolSettings};
use crate::strategy::{Asks, Models, Read};
use types::request::{Request, RequestNeeds};
use types::router::{MAX_PATH_BYTES, RouterPath};

/// The ingresses of all pools.
#[derive(Debug, Default)]
pub struct Ingresses {
    /// Which settings these are of: see [`Broker::config_generation`].
    generation: u64,
    pools: FxHashMap<RouterPath, Ingress>,
}

#[derive(Debug)]
struct Ingress {
    /// Absent where the pool asks for nothing.
    asks: Option<Arc<Asks>>,
    /// Whether a request's size is needed, for rate limits.
    how_large: bool,
    models: Models,
}

impl Ingresses {
    /// Of pools, each with its settings.
    pub(super) fn new<'p>(generation: u64, pools: impl Iterator<Item = (&'p PoolSettings, &'p Pool)>) -> Self {
        let ingress = |(settings, pool): (&PoolSettings, &Pool)| Ingress {
            asks: pool.tree().asks().cloned(),
            how_large: pool.has_rate_limits(),
            models: Models::from_tree(&settings.root),
        };
        Self { generation, pools: pools.map(|both| (both.1.ingress().clone(), ingress(both))).collect() }
    }

    /// Which settings these are of: see [`Broker::config_generation`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Reads what the pool at this path asks of a request, in time proportional to the request's length.
    pub fn read<'a>(&'a self, request: &'a impl Request) -> Read<'a> {
        let ingress = self.pools.get(request.path());
        let how_large = ingress.is_some_and(|ingress| ingress.how_large);
        Read::new(request, ingress.and_then(|ingress| ingress.asks.as_deref()), how_large)
    }

    /// The longest ingress that a path is at or below, as the gateway matches.
    pub fn of(&self, path: &str) -> Option<&RouterPath> {
        let ends = path.bytes().take(MAX_PATH_BYTES).enumerate().filter(|(_, byte)| *byte == b'/');
        let mut above = ends.filter_map(|(end, _)| self.pools.get_key_value(path.get(..=end)?));
        above.next_back().map(|(ingress, _)| ingress)
    }

    /// The models that clients may ask the pool at this ingress for, in order, if its settings name those of all targets.
    pub fn models(&self, ingress: &RouterPath) -> Option<&Arc<[String]>> {
        self.pools.get(ingress)?.models.names()
    }

    /// The models of the pool at this ingress, if the one that is asked for is none of those that its targets serve.
    pub fn models_instead_of(&self, ingress: &RouterPath, asked: &str) -> Option<&Arc<[String]>> {
        self.pools.get(ingress)?.models.instead_of(asked)
    }
}

impl Broker {
    /// The ingresses under the settings in force.
    pub const fn ingresses(&self) -> &Arc<Ingresses> {
        &self.ingresses
    }

    /// The parts of a request that the pool of a decision needs to see.
    pub fn needs(&self, decision: &Decision) -> Option<RequestNeeds> {
        let pool = match decision {
            Decision::Route(route) => route.pool,
            Decision::Pass(Pass::NoMatchingTarget(pool, _)) => *pool,
            Decision::Pass(_) => return None,
        };
        self.pool(pool).map(Pool::needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{BrokerSettings, RouterSettings};

    fn path(text: &str) -> RouterPath {
        RouterPath::parse(text).unwrap()
    }

    #[test]
    fn the_longest_ingress_serves_a_path() {
        let long = format!("/{}/", "a".repeat(MAX_PATH_BYTES - 2));
        let pools = ["/azure/", "/azure/fast/", &long].map(|ingress| {
            let of_one = BrokerSettings::flat(path(ingress), vec![path("/router/")], RouterSettings::default());
            of_one.pools.into_iter().next().unwrap()
        });
        let broker = Broker::new(BrokerSettings { pools: pools.into(), ..BrokerSettings::default() });
        for (asked, expected) in [
            ("/azure/v1/chat/completions", Some("/azure/")),
            ("/azure/fast", Some("/azure/")),
            ("/azure/fast/", Some("/azure/fast/")),
            ("/azure/fast/v1//x/", Some("/azure/fast/")),
            (&format!("{long}v1/{}", "/".repeat(100_000)), Some(long.as_str())),
            ("/azure", None),
            ("/azurex/", None),
            ("/", None),
            ("", None),
            ("é/azure/", None),
        ] {
            assert_eq!(broker.ingresses().of(asked).map(RouterPath::as_str), expected, "{asked:.90}");
        }
    }
}
