//! What the servers of this process share, the relay and HTTP: places for connections, of which one that keeps its server
//! waiting for a request can be taken back.

mod places;
mod serving;

pub use places::{Place, Places, Wait};
pub use serving::{Evicted, Heads, Serving, Watched, Whole};
