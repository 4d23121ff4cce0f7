//! What vendors send, as tables: errors, waits, streams, whole answers, usage, requests.

#![expect(clippy::too_many_lines, reason = "tables are long")]

mod answers;
mod errors;
mod prices;
mod requests;
mod streams;
mod usages;
mod waits;
