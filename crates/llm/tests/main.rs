//! What vendors send, as tables: errors, waits, streams, whole answers, usage, requests.

mod errors;
mod waits;
