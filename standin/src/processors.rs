//! Rows of processors: members of a row are called at the same time with the same snapshot, rows one after the other.

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::bus::{Bus, NoReply};
use crate::clock::{Clock, Moment};
use crate::config::Processor;
use crate::object::read_reply;
use crate::side::{CallRecord, Phase, Side};

/// The error of a required processor that was not completed.
const REQUIRED: &str = "required processor didn't run";

/// A required processor was not completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequiredFailed;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) clock: Clock,
    pub(crate) phase: Phase,
}

struct Finished {
    member: usize,
    reply: Result<Bytes, NoReply>,
    interval: (Moment, Moment),
}

impl Caller<'_> {
    /// Request side: a required processor that fails ends everything after its row.
    pub(crate) async fn run_until_failure(
        &self,
        rows: &[Vec<Processor>],
        side: &mut Side,
    ) -> Result<(), RequiredFailed> {
        for row in rows {
            self.run_row(row, side).await?;
        }
        Ok(())
    }

    /// Response side: a required processor that fails is recorded, and the other rows run.
    pub(crate) async fn run_all(&self, rows: &[Vec<Processor>], side: &mut Side) {
        for row in rows {
            if self.run_row(row, side).await.is_err() {
                tracing::debug!("{REQUIRED}");
            }
        }
    }

    async fn run_row(&self, row: &[Processor], side: &mut Side) -> Result<(), RequiredFailed> {
        let mut records = vec![CallRecord::default(); row.len()];
        let mut finished: FuturesUnordered<_> = row
            .iter()
            .enumerate()
            .filter_map(|(member, processor)| Some((member, processor, side.object.select(&processor.input)?)))
            .map(|(member, processor, input)| self.call(member, processor, input.into()))
            .collect();
        while let Some(Finished { member, reply, interval }) = finished.next().await {
            let completed = apply(&row[member], reply, side);
            records[member] = CallRecord { completed, interval: Some(interval) };
        }
        record_row(self.phase, row, &records, side)
    }

    async fn call(&self, member: usize, processor: &Processor, input: Bytes) -> Finished {
        let start = self.clock.now();
        let reply = self.bus.request(&processor.subject, input, processor.timeout).await;
        Finished { member, reply, interval: (start, self.clock.now()) }
    }
}

/// Writes the reply's fields. Returns whether the processor completed: a reply with any field does, writable or not.
fn apply(processor: &Processor, reply: Result<Bytes, NoReply>, side: &mut Side) -> bool {
    let reply = reply.map_err(|no_reply| no_reply.details().to_owned()).and_then(|bytes| read_reply(&bytes));
    match reply {
        Ok(fields) => {
            let completed = !fields.is_empty();
            side.object.merge(processor, fields);
            completed
        }
        Err(details) => {
            side.error(&processor.name, &details);
            false
        }
    }
}

/// A required member that was not completed has no entry, and neither have the members after it.
fn record_row(phase: Phase, row: &[Processor], records: &[CallRecord], side: &mut Side) -> Result<(), RequiredFailed> {
    for (processor, call) in row.iter().zip(records) {
        if processor.required && !call.completed {
            side.error(&processor.name, REQUIRED);
            return Err(RequiredFailed);
        }
        side.record_call(phase, processor, *call);
    }
    Ok(())
}
