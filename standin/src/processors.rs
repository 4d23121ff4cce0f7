//! Rows of processors: members of a row are asked at once with the same snapshot, rows one after the other.

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::bus::{Bus, Silence};
use crate::clock::{Clock, Moment};
use crate::config::Processor;
use crate::object::read_reply;
use crate::side::{Call, Phase, Side};

/// What a required processor leaves in place of its entry.
const REQUIRED: &str = "required processor didn't run";

/// A required processor was not completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequiredFailed;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) clock: Clock,
    pub(crate) phase: Phase,
}

struct Answer {
    member: usize,
    reply: Result<Bytes, Silence>,
    between: (Moment, Moment),
}

impl Asker<'_> {
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

    /// Response side: a required processor that fails is noted, and the other rows run.
    pub(crate) async fn run_all(&self, rows: &[Vec<Processor>], side: &mut Side) {
        for row in rows {
            if self.run_row(row, side).await.is_err() {
                tracing::debug!("{REQUIRED}");
            }
        }
    }

    async fn run_row(&self, row: &[Processor], side: &mut Side) -> Result<(), RequiredFailed> {
        let mut calls = vec![Call::default(); row.len()];
        let mut answers: FuturesUnordered<_> = row
            .iter()
            .enumerate()
            .filter_map(|(member, processor)| Some((member, processor, side.object.select(&processor.input)?)))
            .map(|(member, processor, input)| self.ask(member, processor, input.into()))
            .collect();
        while let Some(Answer { member, reply, between }) = answers.next().await {
            let completed = apply(&row[member], reply, side);
            calls[member] = Call { completed, between: Some(between) };
        }
        note(self.phase, row, &calls, side)
    }

    async fn ask(&self, member: usize, processor: &Processor, input: Bytes) -> Answer {
        let start = self.clock.now();
        let reply = self.bus.ask(&processor.subject, input, processor.timeout).await;
        Answer { member, reply, between: (start, self.clock.now()) }
    }
}

/// Writes what the processor answered and tells whether it counts as completed: any field will do, writable or not.
fn apply(processor: &Processor, reply: Result<Bytes, Silence>, side: &mut Side) -> bool {
    let reply = reply.map_err(|silence| silence.details().to_owned()).and_then(|bytes| read_reply(&bytes));
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

/// A required member that was not completed hides its own entry and those behind it.
fn note(phase: Phase, row: &[Processor], calls: &[Call], side: &mut Side) -> Result<(), RequiredFailed> {
    for (processor, call) in row.iter().zip(calls) {
        if processor.required && !call.completed {
            side.error(&processor.name, REQUIRED);
            return Err(RequiredFailed);
        }
        side.called(phase, processor, *call);
    }
    Ok(())
}
