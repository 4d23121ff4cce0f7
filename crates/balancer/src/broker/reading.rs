//! What is to be read of a request before a router is chosen for it.

use std::sync::Arc;

use super::{Broker, PathRole};
use crate::strategy::{Asks, Read};
use types::request::Request;
use types::router::RouterPath;

/// What one pool asks of requests, as long as its settings are in force.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub(super) asks: Option<Arc<Asks>>,
    /// Whether it matters how large they are.
    pub(super) how_large: bool,
}

impl Reading {
    /// Reads a request. Takes as long as there is of it.
    pub fn read<'a>(&'a self, request: &'a impl Request) -> Read<'a> {
        Read::new(request, self.asks.as_deref(), self.how_large)
    }
}

impl Broker {
    /// The models that clients may ask the pool at this ingress for, in order, if its settings name those of all targets.
    pub fn models(&self, ingress: &RouterPath) -> Option<&Arc<[String]>> {
        let Some(PathRole::Ingress(id) | PathRole::Relayed(id)) = self.path_roles.get(ingress).copied() else {
            return None;
        };
        self.pool(id)?.tree().models()
    }
}

/// Whether the same is asked, by the same settings.
impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.asks, &other.asks) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same && self.how_large == other.how_large
    }
}
