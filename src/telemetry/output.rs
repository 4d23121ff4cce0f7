//! The log's way to the standard output: a bounded queue and a thread that writes.
//!
//! The reader of a log may hang (a full pipe, a container runtime that blocks), and a write then does not return. A decision or a
//! probe that logs must not wait for it: lines that do not fit are dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::Receiver;

use crate::system::queue::{Bounds, Queued, WorkQueue};

/// The lines that may wait: at `info` those of hours, at `debug` those of a short pause of the reader under load.
const BOUNDS: Bounds = Bounds { items: 8_192, bytes: 8 << 20 };

static QUEUE: OnceLock<WorkQueue<Vec<u8>>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Starts the thread that writes. Without one, each line is written where it is logged.
pub(super) fn start() {
    if let Ok(queue) = WorkQueue::start("log", BOUNDS, write_lines) {
        // Of a second call the thread ends at once.
        let _ = QUEUE.set(queue);
    }
}

/// Ends the log before the process does: waits until all lines are written, for 2 s at most.
pub fn end_log() {
    if let Some(queue) = QUEUE.get() {
        queue.close();
    }
}

/// The number of lines that were dropped.
pub fn dropped_log_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Writes until the queue is closed and empty.
fn write_lines(mut lines: Receiver<Queued<Vec<u8>>>) {
    let mut reported = 0;
    while let Some(line) = lines.blocking_recv() {
        // A log without a reader does not stop the broker.
        let _ = io::stdout().write_all(&line);
        drop(line);
        let total = dropped_log_lines();
        // Once the queue is empty, since a reader that is slow all the time would get such a line after each other one.
        if total > reported && lines.is_empty() {
            reported = total;
            tracing::warn!(total, "log lines were dropped: the reader of the log did not take them in time");
        }
    }
}

/// The writer of one line, which arrives in one piece.
#[derive(Debug)]
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) if queue.push(line.to_vec(), line.len()).is_ok() => {}
            Some(_) => drop(DROPPED.fetch_add(1, Ordering::Relaxed)),
            None => io::stdout().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
