//! `price`: what the tokens of one router cost. It is a key of routers only, since the targets of a branch have prices of their
//! own.

use std::collections::BTreeMap;
use std::sync::Arc;

use llm::prices::{Prices, target_price};

use super::reader::{Item, Location, Reader};
use balancer::strategy::TargetKind;
use types::router::RouterPath;

/// The prices of a file, by router.
#[derive(Debug, Default)]
pub(super) struct TargetPrices {
    found: BTreeMap<RouterPath, (Location, Arc<Prices>)>,
}

impl TargetPrices {
    pub(super) fn into_found(self) -> BTreeMap<RouterPath, Arc<Prices>> {
        self.found.into_iter().map(|(router, (_, prices))| (router, prices)).collect()
    }

    /// Reads the price of a target; `None` if it is invalid.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, target: &Item<'_>, kind: Option<&TargetKind>) {
        let Some(item) = target.get("price") else { return };
        if target.get("targets").is_some() {
            reader.key_fault(
                &item,
                "belongs to a router or a url, and this is a branch: say what each target in it costs",
            );
        }
        if !reader.map(&item, "{\"input\": 2.5, \"output\": 10}, dollars per million tokens") {
            return;
        }
        let Some(json) = reader.json(&item) else { return };
        let prices = match target_price(json.to_string().as_bytes()) {
            Ok(prices) => Arc::new(prices),
            Err(faults) => {
                for fault in faults {
                    let colon = if fault.path.is_empty() { "" } else { ": " };
                    reader.missing(&item, format!("{}{colon}{}", fault.path, fault.problem));
                }
                return;
            }
        };
        let Some(TargetKind::Router(router)) = kind else { return };
        match self.found.get(router) {
            Some((place, other)) if *other != prices => {
                let place = reader.location(place);
                reader
                    .missing(&item, format!("gives {router} another price than it has already ({place}): it has one"));
            }
            _ => drop(self.found.insert(router.clone(), (item.place(), prices))),
        }
    }
}
