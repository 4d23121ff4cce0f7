//! What happens to the broker: its state is a fold over these.

use super::{Given, Pass, Route, Settings, Takeover};
use crate::outcome::Report;

/// Something that happened. `apply` is the only way into the broker's state.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A decision was answered.
    Chosen(&'a Route),
    /// A request got nothing.
    Passed(&'a Pass),
    /// A message told of a finished request.
    Report(&'a Report<'a>),
    /// What was chosen came to nothing that anybody is to blame for: the client went away.
    Abandoned(&'a Route),
    /// An operator said so.
    Command(&'a Given),
    /// This replica starts, and others answered what they know.
    TakenOver(&'a Takeover),
    /// Time has passed.
    Tick,
    /// Other settings are in force from now on.
    Configured(&'a Settings),
}
