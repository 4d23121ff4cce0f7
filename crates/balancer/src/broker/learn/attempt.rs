//! Learning from an attempt of this process's own relay, before its log entry.

use super::super::Broker;
use super::super::outcome_dedup::{Key, PendingOutcome};
use super::{HealthChange, HealthEffect};
use crate::in_flight::InFlightCall;
use types::outcome::{Attempt, CallObservation, Class, Outcome};
use types::time::BrokerTime;

impl Broker {
    /// The relay saw the end itself, so it counts at once, with its time and tokens. Behind the gateway the call's log follows, and
    /// only adds what the relay does not know; one that came first has counted already, and only lacks the probe slot.
    pub(super) fn learn_attempt(
        &mut self,
        observation: &CallObservation<'_>,
        attempt: &Attempt<'_>,
        outcome: &Outcome,
        call: Option<InFlightCall>,
        now: BrokerTime,
    ) {
        let key = Key::new(attempt.answer.transaction, outcome.router, outcome.status);
        let log_follows = !self.routers.is_relayed(outcome.router);
        if log_follows && self.dedup.take_earlier_log(key) {
            if attempt.details.probe {
                self.release_probe(outcome.router, attempt.decision);
            }
            return;
        }
        if !self.log_adds(attempt) {
            self.learn_usage(observation, outcome, call, now);
        }
        // The log cannot know better whether this was old news.
        let at_fault = self.is_at_fault(observation, outcome, now);
        let class = if at_fault { Class::Neutral } else { outcome.class };
        // Without tokens the time of a good answer waits for the log, which may have both: speeds are compared by token.
        let latency =
            outcome.latency.filter(|_| !log_follows || outcome.completion_tokens.is_some() || class != Class::Success);
        let outcome = Outcome { class, latency, ..*outcome };
        let mut health_change = self.count_call(observation, &outcome, now);
        if outcome.latency.is_some() {
            self.learn_speed(&outcome, now);
        }
        self.remember_trip(observation, outcome.router, health_change);
        if let Some(HealthChange { effect: effect @ HealthEffect::None, .. }) = &mut health_change {
            *effect = HealthEffect::Counted;
        }
        if log_follows {
            self.dedup.keep(key, PendingOutcome { outcome, at: now, counted: true, health_change }, now);
        }
    }
}
