//! What vendors send, as tables: errors, waits, streams, whole answers, usage, requests.

mod answers;
mod errors;
mod streams;
mod usages;
mod waits;
