//! What vendors send, as tables: errors, waits, streams, whole answers, usage, requests.

#![expect(clippy::too_many_lines, reason = "tables are long")]

mod affinity;
mod answers;
mod botocore;
mod errors;
mod figures;
mod golden;
mod invoke_streams;
mod prepared;
mod prices;
mod requests;
mod signatures;
mod streams;
mod translate_anthropic;
mod usages;
mod waits;
