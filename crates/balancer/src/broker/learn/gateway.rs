//! What only the gateway's own messages can mean: answers of processors and of the gateway itself, fields that its filters took
//! away, calls that it cut off or sent elsewhere. None of it applies to a call of the relay.

use super::super::Broker;
use crate::in_flight::MAX_CALL_DURATION;
use types::outcome::{CallObservation, Cause, Class, LogEntry, Outcome, ResponseMessage};
use types::router::{ECHO_PATH, RouterId};
use types::time::BrokerTime;
use types::transition::{Advisory, BrokerEvent, IgnoreReason};

/// The status that a response processor's message says.
///
/// # Errors
/// No router gave the answer, or there is no status.
pub(super) fn status_of_message(message: &ResponseMessage<'_>) -> Result<u16, IgnoreReason> {
    from_upstream(message.processor_generated, message.answer.served_path)?;
    // The client's status replaces the upstream's, except a 500, which the gateway also generates.
    let status = message.answer.status.or(message.egress_status.filter(|status| *status != 500));
    status.ok_or(IgnoreReason::NoStatus)
}

/// The status that a log entry says.
///
/// # Errors
/// No router gave the answer, or there is no status.
pub(super) fn status_of_log(entry: &LogEntry<'_>) -> Result<u16, IgnoreReason> {
    from_upstream(entry.processor_generated, entry.ingress.or(entry.answer.served_path))?;
    entry.answer.status.ok_or(IgnoreReason::NoStatus)
}

fn from_upstream(processor_generated: bool, path: Option<&str>) -> Result<(), IgnoreReason> {
    if processor_generated {
        return Err(IgnoreReason::ProcessorGenerated);
    }
    if path.is_some_and(|path| path.starts_with(ECHO_PATH)) { Err(IgnoreReason::Echo) } else { Ok(()) }
}

impl Broker {
    /// Nothing is learnt from an entry without the fields that matter. Advised once.
    pub(super) fn refuse_filtered(&mut self, observation: &CallObservation<'_>) -> Result<(), IgnoreReason> {
        let CallObservation::Log { entry: LogEntry { filtered: Some(field), .. }, .. } = *observation else {
            return Ok(());
        };
        if !self.filter_reported {
            self.filter_reported = true;
            self.effects.push(BrokerEvent::Advisory(Advisory::LogFiltered(field)));
        }
        Err(IgnoreReason::Filtered)
    }

    /// The router that the stamp names.
    pub(super) fn stamped(&self, entry: &LogEntry<'_>) -> Option<RouterId> {
        entry.stamped_path.and_then(|path| self.router_at(path))
    }

    /// Whether the gateway gave up before the answer was complete: not if a relay made the call and left the entry.
    pub(super) fn is_cut_off(&self, observation: &CallObservation<'_>, router: RouterId) -> bool {
        let CallObservation::Log { entry, .. } = observation else { return false };
        entry.details.latency.is_some_and(|latency| latency >= MAX_CALL_DURATION) && !self.routers.is_relayed(router)
    }

    /// The ingress itself served the call. If a router of a pool was requested, the gateway does not have it; if the
    /// stamp named one that was not requested, row 2 failed.
    pub(super) fn interpret_fallback(
        &self,
        observation: &CallObservation<'_>,
        status: u16,
        now: BrokerTime,
    ) -> Result<Outcome, IgnoreReason> {
        let CallObservation::Log { entry, .. } = observation else { return Err(IgnoreReason::UnknownRouter) };
        if let Some(router) = entry.routed_path.and_then(|path| self.router_at(path)) {
            let outcome = self.outcome(observation, router, status, now);
            let jitter_seed = self.jitter_seed(router, &entry.answer);
            return Ok(Outcome { class: Class::Failure, cause: Cause::UnknownToGateway, jitter_seed, ..outcome });
        }
        Err(if entry.stamped_path.is_some() { IgnoreReason::NotApplied } else { IgnoreReason::UnknownRouter })
    }
}
