//! What a replica that starts, or was away from the bus, takes over from the others: which routers are out, and which orders of operators hold.
//!
//! Health is what anybody on the bus could bring about by writing log entries; so it is taken over from anybody, but for no
//! longer than the router's own settings would leave it alone. Orders, and times beyond that, are taken over only if it was
//! proved that they come from a replica with the operators' token.

use super::{Broker, OperatorCommand, Override};
use crate::health::HealthEffect;
use types::outcome::Cause;
use types::router::RouterPath;
use types::time::BrokerTime;

/// What the other replicas know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportedState {
    /// Routers that do not simply serve.
    pub routers: Vec<ImportedRouter>,
    /// Operators' orders that still hold, and ends of such.
    pub orders: Vec<ImportedOverride>,
    /// All of it comes from replicas that proved that they hold the operators' token.
    pub proved: bool,
}

/// A router that another replica knows to be out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRouter {
    /// Its path.
    pub router: RouterPath,
    /// Until when; none: it is on probation.
    pub until: Option<BrokerTime>,
    /// Why it was taken out.
    pub cause: Cause,
}

/// An order that another replica has carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedOverride {
    /// The order.
    pub given: OperatorCommand,
    /// When it was given.
    pub since: BrokerTime,
}

impl Broker {
    /// Takes over what is not known here already. The health of a router about which an operator has given an order to this replica
    /// is left as it is: what the others knew is older. Of two orders about the same the later one holds.
    pub(super) fn import_states(&mut self, takeover: &ImportedState, now: BrokerTime) {
        for ImportedRouter { router, until, cause } in &takeover.routers {
            let Some(id) = self.router_at(router.as_str()).filter(|id| !self.operator.has_command(*id)) else {
                continue;
            };
            self.change_health(id, now, |health, settings| {
                let commanded = takeover.proved && *cause == Cause::Operator;
                if settings.disabled_time.is_zero() && !commanded {
                    return HealthEffect::None;
                }
                let longest = now.after(settings.longest_cooldown());
                let until = until.map(|until| if takeover.proved { until } else { until.min(longest) });
                health.import_state(until, *cause, now)
            });
        }
        for ImportedOverride { given, since } in takeover.orders.iter().filter(|_| takeover.proved) {
            let known = self.router_at(given.command.router().as_str());
            let Some(id) = known.filter(|id| self.operator.is_news(*id, given, *since)) else { continue };
            if given.command.is_end() && self.operator.set_by(id, &given.command).is_none() {
                let (until, by, reason) = (given.until, given.by.clone(), given.reason.clone());
                // Nothing to end; but a replica that still has it must not bring it back.
                self.operator.note_override(&given.command, &Override { since: *since, until, by, reason });
            } else {
                self.carry_out(given, *since, now);
            }
        }
    }
}
