//! Slots for connections: a server has a fixed number of them, and each of its connections holds one until it is closed.
//!
//! When a new connection comes and no slot is free, an idle connection is evicted: the one that has kept its server waiting
//! longest for the complete head of a request, its first or its next. So a client that opens thousands of idle connections does
//! not keep other clients out, and eviction costs a client only a connection without a request. A connection whose request is
//! being answered is never evicted.
//!
//! One connection is evicted at a time, and by its own task: where the head of a request has just arrived, it keeps its slot, and
//! another connection is evicted.
//!
//! A call costs two writes to memory of its own connection. An order that each request changed would make all connections of all
//! threads wait for one lock, so they are put in order only when no slot is free.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection is not evicted before it was idle for this long, however many others come: long enough for the head of a request
/// that is on its way, and short enough for thousands of new connections a second.
const MIN_IDLE_TIME: Duration = Duration::from_millis(20);

/// A fixed number of slots; clones share them.
#[derive(Debug, Clone)]
pub struct ConnectionSlots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    /// The zero of all times in [`Phase`].
    epoch: Instant,
    state: Mutex<State>,
    /// A slot is free, or another connection can be evicted now or later.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The number of the next connection.
    next: u64,
    /// Connections by the time since which they were idle when they were put here, and by their number. They may have had
    /// requests since, so this time is the earliest possible one. Those that were found to be answering are not here.
    queue: BTreeMap<(u64, u64), Arc<Connection>>,
    /// The number of the connection that is requested to close.
    evicting: Option<u64>,
}

/// The state of one connection. Only the connection changes it, except for requests of eviction and for leaving the queue.
#[derive(Debug)]
struct Connection {
    number: u64,
    /// A [`Phase`].
    phase: AtomicU64,
    /// The time in its key in the queue; changed under the lock.
    queued: AtomicU64,
    /// Notified when its eviction is requested.
    eviction: Notify,
}

/// What a connection does. Times are in nanoseconds from [`Shared::epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It waits for the head of a request, since then.
    Idle(u64),
    /// The same, and its eviction was requested.
    EvictionRequested(u64),
    /// Its request is being answered.
    Answering,
    /// The same, and it was taken out of the queue.
    Dequeued,
}

impl Phase {
    const fn to_bits(self) -> u64 {
        match self {
            Self::Idle(since) => since << 2,
            Self::EvictionRequested(since) => since << 2 | 1,
            Self::Answering => 2,
            Self::Dequeued => 3,
        }
    }

    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Idle(bits >> 2),
            1 => Self::EvictionRequested(bits >> 2),
            2 => Self::Answering,
            _ => Self::Dequeued,
        }
    }
}

impl Connection {
    fn phase(&self) -> Phase {
        Phase::from_bits(self.phase.load(Ordering::Acquire))
    }

    /// Returns the previous phase.
    fn enter(&self, phase: Phase) -> Phase {
        Phase::from_bits(self.phase.swap(phase.to_bits(), Ordering::AcqRel))
    }

    /// Returns false, and changes nothing, if it is not in the phase `from`.
    fn change(&self, from: Phase, to: Phase) -> bool {
        let exchanged = self.phase.compare_exchange(from.to_bits(), to.to_bits(), Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }
}

/// What to wait for until a slot may be free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// From this moment on the connection that is idle for longest may be evicted.
    UntilEvictable(Instant),
    /// One is being evicted: it closes, or begins to answer a request, when it is polled.
    ForEviction,
    /// All are answering.
    ForAnswers,
}

/// The slot of one connection, free again when this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl ConnectionSlots {
    pub fn new(capacity: usize) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { capacity, epoch: Instant::now(), state, changed }))
    }

    /// Takes a free slot. If there is none, requests the eviction of the connection that is idle for longest.
    ///
    /// # Errors
    /// No slot is free; with what to wait for before the next try.
    pub fn take(&self) -> Result<Arc<ConnectionSlot>, Wait> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<Arc<ConnectionSlot>, Wait> {
        let now = self.0.nanos(now);
        let mut state = self.0.lock();
        if state.taken >= self.0.capacity {
            return Err(state.request_eviction(now, self.0.epoch));
        }
        let connection = Arc::new(Connection {
            number: state.next,
            phase: AtomicU64::new(Phase::Idle(now).to_bits()),
            queued: AtomicU64::default(),
            eviction: Notify::new(),
        });
        state.taken += 1;
        state.next += 1;
        state.enqueue(now, Arc::clone(&connection));
        drop(state);
        Ok(Arc::new(ConnectionSlot { shared: Arc::clone(&self.0), connection }))
    }

    /// Lets the other connections read what has arrived before one is evicted: on a busy thread a request may have arrived and
    /// not been read yet. Does nothing while a slot is free: with many calls in progress a round through all tasks takes some
    /// milliseconds, which would limit the server to a few hundred new connections a second.
    pub async fn notice_requests(&self) {
        if self.are_all_taken() {
            // tokio asks the system for events before it polls a task again that has yielded.
            tokio::task::yield_now().await;
        }
    }

    /// Whether the next connection needs the slot of another one.
    fn are_all_taken(&self) -> bool {
        self.0.lock().taken >= self.0.capacity
    }

    /// Waits until [`Self::take`] may succeed. Only one task may wait at a time.
    pub async fn changed(&self, wait: Wait) {
        match wait {
            Wait::ForAnswers | Wait::ForEviction => self.0.changed.notified().await,
            Wait::UntilEvictable(moment) => {
                tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = tokio::time::sleep_until(moment) => {}
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds from `epoch`.
    fn nanos(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn enqueue(&mut self, since: u64, connection: Arc<Connection>) {
        connection.queued.store(since, Ordering::Relaxed);
        self.queue.insert((since, connection.number), connection);
    }

    /// Requests the eviction of the connection that is idle for longest, if it is for [`MIN_IDLE_TIME`]. On the way it moves
    /// connections that had requests since they were queued to their right position, which happens at most once for each request.
    fn request_eviction(&mut self, now: u64, epoch: Instant) -> Wait {
        if self.evicting.is_some() {
            return Wait::ForEviction;
        }
        while let Some((key, connection)) = self.queue.pop_first() {
            let phase = connection.phase();
            match phase {
                Phase::Idle(since) if since == key.0 => {
                    let evictable_at =
                        since.saturating_add(u64::try_from(MIN_IDLE_TIME.as_nanos()).unwrap_or(u64::MAX));
                    let is_too_new = now < evictable_at;
                    let is_requested = !is_too_new && connection.change(phase, Phase::EvictionRequested(since));
                    self.queue.insert(key, Arc::clone(&connection));
                    if is_too_new {
                        return Wait::UntilEvictable(epoch + Duration::from_nanos(evictable_at));
                    }
                    if is_requested {
                        self.evicting = Some(connection.number);
                        connection.eviction.notify_one();
                        return Wait::ForEviction;
                    }
                }
                Phase::Idle(since) => self.enqueue(since, connection),
                Phase::Answering if !connection.change(phase, Phase::Dequeued) => {
                    self.queue.insert(key, connection);
                }
                Phase::Answering | Phase::Dequeued | Phase::EvictionRequested(_) => {}
            }
        }
        Wait::ForAnswers
    }
}

impl ConnectionSlot {
    /// Whether no request of the connection is being answered.
    pub fn is_idle(&self) -> bool {
        matches!(self.connection.phase(), Phase::Idle(_) | Phase::EvictionRequested(_))
    }

    /// The head of a request is complete: the connection is not evicted from now on.
    pub(super) fn mark_answering(&self) {
        if self.is_idle()
            && let Phase::EvictionRequested(_) = self.connection.enter(Phase::Answering)
        {
            self.shared.lock().evicting = None;
            self.shared.changed.notify_one();
        }
    }

    /// The answer was handed to the system: the connection waits for its next request.
    pub(super) fn mark_idle(&self) {
        if self.is_idle() {
            return;
        }
        let since = self.shared.nanos(Instant::now());
        if self.connection.enter(Phase::Idle(since)) == Phase::Dequeued {
            self.shared.lock().enqueue(since, Arc::clone(&self.connection));
            self.shared.changed.notify_one();
        }
    }

    /// Completes when the connection is to be closed. Poll the connection first: the head of a request may have arrived, which
    /// ends the eviction.
    pub async fn evicted(&self) {
        while !matches!(self.connection.phase(), Phase::EvictionRequested(_)) {
            self.connection.eviction.notified().await;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let Connection { number, queued, .. } = &*self.connection;
        let mut state = self.shared.lock();
        state.queue.remove(&(queued.load(Ordering::Relaxed), *number));
        if state.evicting == Some(*number) {
            state.evicting = None;
        }
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// A moment at which every connection that is idle now may be evicted.
    fn once_evictable() -> Instant {
        Instant::now() + MIN_IDLE_TIME
    }

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[test]
    fn all_are_taken_once_the_last_is_and_until_one_is_freed() {
        let slots = ConnectionSlots::new(2);
        let first = slots.take().unwrap();
        assert!(!slots.are_all_taken());
        let second = slots.take().unwrap();
        assert!(slots.are_all_taken());
        drop(second);
        assert!(!slots.are_all_taken());
        drop(first);
    }

    #[test]
    fn the_connection_that_is_idle_for_longest_is_evicted_first() {
        let slots = ConnectionSlots::new(3);
        let [first, second, third] = [(); 3].map(|()| slots.take().unwrap());
        assert!(matches!(slots.take(), Err(Wait::UntilEvictable(_))), "all are too new");
        first.mark_answering();
        assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForEviction));
        assert_eq!([&first, &second, &third].map(|slot| is_evicted(slot)), [false, true, false]);
        assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForEviction), "one is evicted at a time");
        drop(second);
        let fourth = slots.take_at(once_evictable()).unwrap();
        assert_eq!([&first, &third, &fourth].map(|slot| is_evicted(slot)), [false; 3]);
        third.mark_answering();
        fourth.mark_answering();
        assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForAnswers), "no answer is cut off");
        first.mark_idle();
        assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForEviction));
        assert!(is_evicted(&first), "between two requests it is idle again");
    }

    #[tokio::test]
    async fn one_whose_request_arrives_during_its_eviction_keeps_its_slot_and_the_next_is_evicted() {
        let slots = ConnectionSlots::new(2);
        let [first, second] = [(); 2].map(|()| slots.take().unwrap());
        let wait = slots.take_at(once_evictable()).unwrap_err();
        first.mark_answering();
        assert!(!is_evicted(&first), "its answer is not cut off");
        slots.changed(wait).await;
        assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForEviction));
        assert!(is_evicted(&second));
        first.mark_idle();
        assert!(!is_evicted(&first), "the earlier request of eviction is over");
    }

    #[test]
    fn a_slot_is_freed_once_however_its_connection_ends() {
        let slots = ConnectionSlots::new(2);
        for _ in 0..10 {
            let [idle, answering] = [(); 2].map(|()| slots.take().unwrap());
            answering.mark_answering();
            assert_eq!(slots.take_at(once_evictable()).err(), Some(Wait::ForEviction));
            drop(idle);
            let instead = slots.take_at(once_evictable()).unwrap();
            drop((answering, instead));
            let [one, two] = [(); 2].map(|()| slots.take().unwrap());
            assert!(slots.take().is_err(), "never more than there are");
            drop(one);
            drop(two);
        }
    }

    #[tokio::test]
    async fn a_waiter_is_notified_of_a_free_slot() {
        let slots = ConnectionSlots::new(1);
        let slot = slots.take().unwrap();
        slot.mark_answering();
        let wait = slots.take().unwrap_err();
        let mut changed = std::pin::pin!(slots.changed(wait));
        assert!(changed.as_mut().now_or_never().is_none());
        slot.mark_idle();
        changed.await;
        let Err(wait @ Wait::UntilEvictable(_)) = slots.take() else { panic!("it is too new") };
        slots.changed(wait).await;
        let wait = slots.take().unwrap_err();
        assert_eq!(wait, Wait::ForEviction, "by then it may be evicted");
        slot.evicted().await;
        drop(slot);
        slots.changed(wait).await;
        assert!(slots.take().is_ok());
    }
}
