//! What the servers of this process share, the relay and HTTP: places for connections, of which one that keeps its server
//! waiting for a request is given to another connection, and TLS for their clients.

mod observed;
mod places;
mod serving;
mod socket;
mod tls;

pub use observed::{Observed, StreamObserver};
pub use places::{Place, Places, Wait};
pub use serving::{Heads, ServedBody, Serving};
pub use socket::{ClientSocket, ResetFlag};
pub use tls::{ClientStream, ServerTls, TlsFault, handshake};
