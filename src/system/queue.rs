//! A bounded queue to a thread of its own, for work that calls must not wait for: writing to a disk, sending to a collector.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long the shutdown of the process waits for the queue.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The limits of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub items: usize,
    /// Of the items with a size, those that were taken out of the queue and not yet dropped included.
    pub bytes: u32,
}

/// An item in the queue, or taken out of it.
#[derive(Debug)]
pub struct Queued<T> {
    item: T,
    /// Its share of the bytes.
    _bytes: Option<OwnedSemaphorePermit>,
}

impl<T> Deref for Queued<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

/// Why an item was not added, with the item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected<T> {
    /// The queue is full or closed.
    Items(T),
    /// Its bytes do not fit.
    Bytes(T),
}

/// The sender's end of a queue, and the thread that processes it.
pub struct WorkQueue<T> {
    sender: Mutex<Option<Sender<Queued<T>>>>,
    bytes: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T> fmt::Debug for WorkQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> WorkQueue<T> {
    /// Starts a thread with this name, which ends when `work` returns; that must be when the queue is closed and empty.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        name: &str,
        bounds: Bounds,
        work: impl FnOnce(Receiver<Queued<T>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(bounds.items);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(receiver))?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            bytes: Arc::new(Semaphore::new(bounds.bytes as usize)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Adds an item with this many bytes of its own, and never waits.
    ///
    /// # Errors
    /// It does not fit.
    pub fn push(&self, item: T, bytes: usize) -> Result<(), Rejected<T>> {
        let counted = match u32::try_from(bytes) {
            Ok(0) => None,
            Ok(bytes) => match Arc::clone(&self.bytes).try_acquire_many_owned(bytes) {
                Ok(counted) => Some(counted),
                Err(_) => return Err(Rejected::Bytes(item)),
            },
            Err(_) => return Err(Rejected::Bytes(item)),
        };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return Err(Rejected::Items(item)) };
        sender.try_send(Queued { item, _bytes: counted }).map_err(|full| Rejected::Items(full.into_inner().item))
    }

    /// Closes the queue, and waits until the thread has processed it, for 2 s at most. Returns whether it has.
    pub fn close(&self) -> bool {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        let (ended, end) = sync_channel::<()>(0);
        // A thread that hangs is not awaited; it ends with the process.
        let waiting = thread::Builder::new().spawn(move || {
            drop(thread.join());
            drop(ended);
        });
        waiting.is_ok() && end.recv_timeout(CLOSE_TIMEOUT) != Err(RecvTimeoutError::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_given_back_and_what_is_dropped_makes_room() {
        let (go, wait) = sync_channel::<()>(0);
        let (seen, all) = sync_channel(10);
        let queue = WorkQueue::start("test", Bounds { items: 2, bytes: 10 }, move |mut items| {
            wait.recv().unwrap();
            while let Some(item) = items.blocking_recv() {
                seen.send(*item).unwrap();
            }
        })
        .unwrap();
        assert_eq!(queue.push(1, 7), Ok(()));
        assert_eq!(queue.push(2, 7), Err(Rejected::Bytes(2)));
        assert_eq!(queue.push(2, usize::MAX), Err(Rejected::Bytes(2)));
        assert_eq!(queue.push(2, 3), Ok(()));
        assert_eq!(queue.push(3, 0), Err(Rejected::Items(3)));
        go.send(()).unwrap();
        assert_eq!((all.recv(), all.recv()), (Ok(1), Ok(2)));
        while queue.push(4, 10) != Ok(()) {
            thread::yield_now();
        }
        assert!(queue.close());
        assert_eq!(all.recv(), Ok(4), "what waited is worked off");
        assert_eq!(queue.push(5, 0), Err(Rejected::Items(5)));
        assert!(queue.close(), "once more");
    }

    #[test]
    fn an_item_that_is_not_taken_gives_its_bytes_back() {
        let (go, wait) = sync_channel::<()>(0);
        let bounds = Bounds { items: 1, bytes: 10 };
        let queue = WorkQueue::start("test", bounds, move |items| {
            wait.recv().unwrap();
            drop(items);
        })
        .unwrap();
        assert_eq!(queue.push(1, 4), Ok(()));
        (0..5).for_each(|_| assert_eq!(queue.push(2, 6), Err(Rejected::Items(2))));
        go.send(()).unwrap();
        assert!(queue.close());
    }
}
