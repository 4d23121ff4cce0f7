//! What the servers of this process share, the relay and HTTP: slots for connections, whose idle ones make room for new
//! ones, and TLS for clients.

mod answering;
mod connection_slots;
mod head_timeout;
mod observed;
mod self_wakes;
mod socket;
mod tls;

pub use answering::{AnsweringGuard, GuardedBody, SlotReporter};
pub use connection_slots::{ConnectionSlot, ConnectionSlots, Wait};
pub use head_timeout::HeadTimeout;
pub use observed::{Observed, StreamObserver};
pub use self_wakes::SelfWakes;
pub use socket::{ClientSocket, LingerFlag, ResetFlag};
pub use tls::{ClientStream, ServerTls, TlsFault, handshake};

use std::time::Duration;

/// Accepting fails when descriptors run out, which no event announces the end of.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
