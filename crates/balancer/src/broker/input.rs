//! What happens to the broker: its state is a fold over these.

use super::{BrokerSettings, ImportedState, OperatorCommand, Pass, Route};
use types::outcome::CallObservation;

/// Something that happened. `apply` is the only way into the broker's state.
#[derive(Debug, Clone, Copy)]
pub enum BrokerInput<'a> {
    /// A decision was answered.
    Chosen(&'a Route),
    /// A request got nothing.
    Passed(&'a Pass),
    /// A message told of a finished request.
    Observed(&'a CallObservation<'a>),
    /// What was chosen came to nothing that anybody is to blame for: the client went away.
    Abandoned(&'a Route),
    /// An operator said so.
    Command(&'a OperatorCommand),
    /// This replica starts, and others answered what they know.
    Imported(&'a ImportedState),
    /// Time has passed.
    Tick,
    /// Other settings are in force from now on.
    Configured(&'a BrokerSettings),
}
