//! The broker's inputs: its state is a fold over these and the decisions that are counted.

use super::{BrokerSettings, ImportedState, OperatorCommand, Route};
use types::outcome::CallObservation;
use types::router::RouterPath;

/// An input; besides [`Broker::commit`](super::Broker::commit), applying it is the only way to change the broker's state.
#[derive(Debug, Clone, Copy)]
pub enum BrokerInput<'a> {
    /// A finished request was observed.
    Observed(&'a CallObservation<'a>),
    /// The call to the chosen router ended without anyone at fault: the client disconnected, or it was passed over.
    Abandoned {
        route: &'a Route,
        /// The request was on its way: its upstream counts it.
        was_sent: bool,
    },
    /// An operator's command.
    Command(&'a OperatorCommand),
    /// This replica starts, and others answered what they know.
    Imported(&'a ImportedState),
    /// Time has passed.
    Tick,
    /// New settings.
    Configured(&'a BrokerSettings),
    /// The addresses or keys behind these paths changed: what is known to fail is not what is called from now on.
    TargetsReplaced(&'a [RouterPath]),
}
