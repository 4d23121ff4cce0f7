//! What the settings say of each ingress and no request changes: what is read of a request before a router is chosen for it, and
//! the models of its pool. Shared and never changed, so that it is asked without the broker.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::description::Paths;
use super::{Broker, Pool, PoolDescription, PoolSettings};
use crate::strategy::{Models, ReadRequest, RequestInputs};
use crate::table::Table;
use types::request::Request;
use types::router::{MAX_PATH_BYTES, PoolId, RouterPath};

/// The ingresses of all pools.
#[derive(Debug, Default)]
pub struct Ingresses {
    /// Which settings these are of: see [`Broker::config_generation`].
    generation: u64,
    by_path: FxHashMap<RouterPath, PoolId>,
    pools: Table<PoolId, Ingress>,
}

#[derive(Debug)]
struct Ingress {
    /// Absent where the pool asks for nothing.
    inputs: Option<Arc<RequestInputs>>,
    /// Whether a request's size is needed, for rate limits.
    how_large: bool,
    models: Models,
    description: PoolDescription,
}

impl Ingresses {
    /// Of pools by their ids, each with its settings; and the paths of all routers.
    pub(super) fn new<'p>(
        generation: u64,
        pools: impl Iterator<Item = (&'p PoolSettings, &'p Pool)>,
        paths: &Paths,
    ) -> Self {
        let mut ingresses = Self { generation, ..Self::default() };
        for (settings, pool) in pools {
            let ingress = Ingress {
                inputs: pool.tree().inputs().cloned(),
                how_large: pool.has_rate_limits(),
                models: Models::from_tree(&settings.root),
                description: PoolDescription::new(pool, paths),
            };
            if let Some(id) = ingresses.pools.push(ingress) {
                ingresses.by_path.insert(pool.ingress().clone(), id);
            }
        }
        ingresses
    }

    fn at(&self, path: &str) -> Option<&Ingress> {
        self.pools.get(*self.by_path.get(path)?)
    }

    /// What the settings say of a pool of this id.
    pub fn description(&self, pool: PoolId) -> Option<&PoolDescription> {
        self.pools.get(pool).map(|ingress| &ingress.description)
    }

    /// Which settings these are of: see [`Broker::config_generation`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Reads what the pool at this path asks of a request, in time proportional to the request's length.
    pub fn read<'a>(&'a self, request: &'a impl Request) -> ReadRequest<'a> {
        let ingress = self.at(request.path());
        let how_large = ingress.is_some_and(|ingress| ingress.how_large);
        ReadRequest::new(request, ingress.and_then(|ingress| ingress.inputs.as_deref()), how_large)
    }

    /// The longest ingress that a path is at or below, as the gateway matches.
    pub fn of(&self, path: &str) -> Option<&RouterPath> {
        let ends = path.bytes().take(MAX_PATH_BYTES).enumerate().filter(|(_, byte)| *byte == b'/');
        let mut above = ends.filter_map(|(end, _)| self.by_path.get_key_value(path.get(..=end)?));
        above.next_back().map(|(ingress, _)| ingress)
    }

    /// The models that clients may ask the pool at this ingress for, in order, if its settings name those of all targets.
    pub fn models(&self, ingress: &RouterPath) -> Option<&Arc<[String]>> {
        self.at(ingress.as_str())?.models.names()
    }

    /// The models of the pool at this ingress, if the one that is asked for is none of those that its targets serve.
    pub fn models_instead_of(&self, ingress: &RouterPath, asked: &str) -> Option<&Arc<[String]>> {
        self.at(ingress.as_str())?.models.instead_of(asked)
    }
}

impl Broker {
    /// The ingresses under the settings in force.
    pub const fn ingresses(&self) -> &Arc<Ingresses> {
        &self.ingresses
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
