//! How long a client may take for the head of a request: counted from its first byte, and of the first request from when the
//! connection is there. Between two requests a connection may be idle for much longer, since a client that sends the next one just as it
//! is closed sees an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::answering::AwaitedInput;
use super::{SlotReporter, StreamObserver};

/// Ends a client's connection whose server waits for too long.
#[derive(Debug)]
pub struct HeadTimeout {
    heads: SlotReporter,
    /// For a head.
    head: Duration,
    /// For the first byte of the next one.
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    /// What the timer runs for.
    timed: Option<AwaitedInput>,
}

impl HeadTimeout {
    /// Also reports to the slot of `heads`.
    pub fn new(heads: SlotReporter, head: Duration, idle: Duration) -> Self {
        Self { heads, head, idle, timer: Box::pin(sleep(head)), timed: None }
    }
}

impl StreamObserver for HeadTimeout {
    fn on_read(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && self.heads.awaits() == AwaitedInput::Next {
            self.heads.begins_head();
            self.timed = None;
        }
    }

    fn on_flushed(&mut self) {
        self.heads.on_flushed();
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let awaits = self.heads.awaits();
        let limit = match awaits {
            AwaitedInput::Nothing => {
                self.timed = None;
                return Poll::Pending;
            }
            AwaitedInput::Head => self.head,
            AwaitedInput::Next => self.idle,
        };
        if self.timed != Some(awaits) {
            self.timed = Some(awaits);
            self.timer.as_mut().reset(Instant::now() + limit);
        }
        match self.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if awaits == AwaitedInput::Head => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            // As if the client had closed it.
            Poll::Ready(()) => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::server::{ConnectionSlots, Observed};

    const SECOND: Duration = Duration::from_secs(1);

    fn connection() -> (Observed<DuplexStream, HeadTimeout>, SlotReporter, DuplexStream) {
        let heads = SlotReporter::for_slot(ConnectionSlots::new(1).take().unwrap());
        let (near, far) = duplex(64);
        (Observed::new(near, HeadTimeout::new(heads.clone(), 30 * SECOND, 650 * SECOND)), heads, far)
    }

    /// How reading ended, and after how many seconds.
    async fn read(stream: &mut Observed<DuplexStream, HeadTimeout>) -> (Result<usize, io::ErrorKind>, u64) {
        let began = Instant::now();
        let read = stream.read(&mut [0; 64]).await;
        (read.map_err(|error| error.kind()), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte_and_a_first_one_from_the_start() {
        let (mut stream, _, _far) = connection();
        assert_eq!(read(&mut stream).await, (Err(io::ErrorKind::TimedOut), 30));
        let (mut stream, heads, mut far) = connection();
        far.write_all(b"GET").await.unwrap();
        assert_eq!(read(&mut stream).await, (Ok(3), 0));
        drop(heads.begin());
        tokio::spawn(async move {
            for pause in [600, 20, 20] {
                sleep(pause * SECOND).await;
                far.write_all(b"G").await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        assert_eq!(read(&mut stream).await, (Ok(1), 600), "a connection that is kept may be idle");
        assert_eq!(read(&mut stream).await, (Ok(1), 20));
        assert_eq!(read(&mut stream).await, (Err(io::ErrorKind::TimedOut), 10), "bytes now and then do not help");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_as_if_its_client_had_closed_it_and_an_answer_takes_its_time() {
        let (mut stream, heads, mut far) = connection();
        let serving = heads.begin();
        tokio::spawn(async move {
            sleep(3_000 * SECOND).await;
            far.write_all(b"body").await.unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(read(&mut stream).await, (Ok(4), 3_000));
        drop(serving);
        assert_eq!(read(&mut stream).await, (Ok(0), 650));
    }
}
