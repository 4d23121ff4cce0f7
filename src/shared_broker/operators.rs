//! Commands of operators and the state that replicas hand to each other.

use std::sync::{MutexGuard, PoisonError};

use super::{SharedBroker, SharedState};
use crate::admin::{AcceptedNonces, AdminCommand, AdminResult, Nonces, ReplicaState};
use balancer::broker::{Applied, BrokerInput};
use types::time::BrokerTime;
use types::transition::BrokerEvent;

impl SharedState {
    fn execute(&mut self, command: &AdminCommand, now: BrokerTime) -> (AdminResult, Applied) {
        let replica = self.identity.replica().to_owned();
        let given = match command {
            AdminCommand::Mode { mode, .. } => {
                let already =
                    if self.identity.mode() == *mode { format!(" (it was {mode} already)") } else { String::new() };
                self.identity = self.identity.with_mode(*mode);
                self.mode_command = Some((command.clone(), now));
                let done = Some(format!("mode is {mode}{already}"));
                return (AdminResult { replica, done, ..AdminResult::default() }, Applied::default());
            }
            AdminCommand::Broker(given) => given,
        };
        if let Err(why) = self.broker.check(&given.command) {
            let error = Some(why.to_string());
            return (AdminResult { replica, error, ..AdminResult::default() }, Applied::default());
        }
        let applied = self.broker.apply(BrokerInput::Command(given), now);
        // The last one: other overrides may have expired at the same time.
        let done = applied.changes.iter().rev().find_map(|change| match change {
            BrokerEvent::OperatorAction(done) => Some(format!("{} {}", done.router, done.action)),
            _ => None,
        });
        let router = given.command.router();
        let pools_left_empty: Vec<_> = self.broker.pools_left_empty(router).into_iter().cloned().collect();
        let left_without = pools_left_empty.clone();
        let in_flight = self.broker.in_flight(router);
        (AdminResult { replica, done, pools_left_empty, left_without, in_flight, error: None }, applied)
    }
}

impl SharedBroker {
    /// Carries out a command of an operator; the result says why it was rejected, if it was.
    pub fn execute(&self, command: &AdminCommand) -> AdminResult {
        self.execute_at(command, self.now())
    }

    fn execute_at(&self, command: &AdminCommand, now: BrokerTime) -> AdminResult {
        let mut done = None;
        self.change(|state| {
            let (result, applied) = state.execute(command, now);
            done = Some(result);
            if matches!(command, AdminCommand::Mode { .. }) {
                self.publish(state);
            }
            applied
        });
        if let (AdminCommand::Mode { mode, by, reason }, Some(AdminResult { done: Some(_), .. })) = (command, &done) {
            tracing::warn!(%mode, by, reason, "command of an operator");
        }
        done.unwrap_or_default()
    }

    /// Takes over the state of other replicas. Overrides of operators are taken only if the state was `proved` to come from a
    /// replica with the operators' token.
    pub fn import_state(&self, known: ReplicaState, proved: bool) {
        let now = self.now();
        let takeover = known.takeover(now, proved);
        self.change(|state| state.broker.apply(BrokerInput::Imported(&takeover), now));
        if !proved {
            return;
        }
        let commanded = known.mode_command.as_ref().map(|commanded| commanded.command(now));
        let (taken, complete_since) = known.accepted_nonces.moments(now);
        self.nonces().take_over(taken, complete_since);
        let known = self.lock().mode_command.clone();
        // A command that this replica got since then is newer, and one that both got need not be repeated.
        let is_news = |(command, since): &(AdminCommand, BrokerTime)| {
            known.as_ref().is_none_or(|(own, at)| own != command && since > at)
        };
        if let Some((command, since)) = commanded.filter(is_news) {
            self.execute_at(&command, since);
        }
    }

    /// The state that a replica that starts, or was away, takes over from this one.
    pub fn state(&self) -> ReplicaState {
        let (snapshot, identity) = (self.snapshot(), self.identity());
        let (commanded, ended) = {
            let state = self.lock();
            (state.mode_command.clone(), state.broker.ended_overrides().cloned().collect::<Vec<_>>())
        };
        let taken = AcceptedNonces::from_nonces(&self.nonces(), snapshot.at);
        ReplicaState::from_snapshot(identity.replica(), identity.mode(), commanded.as_ref(), &ended, taken, &snapshot)
    }

    /// The signed messages that were accepted.
    pub fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.0.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
