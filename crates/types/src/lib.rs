//! Vocabulary that the broker's crates share: plain values, no behaviour that needs a clock, randomness or I/O.

pub mod mode;
mod named_enum;
pub mod outcome;
pub mod request;
pub mod router;
pub mod time;
pub mod transition;
