//! What vendors send, as tables: errors, waits, streams, whole answers, usage, requests. What they are sent, as golden files.

#![expect(clippy::too_many_lines, reason = "tables are long")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::print_stdout, reason = "a skipped test says why")]

mod affinity;
mod answers;
mod botocore;
mod dropped;
mod errors;
mod golden;
mod google;
mod histories;
mod invoke_streams;
mod prepared;
mod prices;
mod requests;
mod signatures;
mod streams;
mod translate_anthropic;
mod usages;
mod waits;
