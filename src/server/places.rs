//! Places for connections. When all are taken, the connection that has kept its server waiting longest for the complete head
//! of a request, its first or its next, is asked for its place, and closes unless its request is there: it costs its client a
//! connection that was idle, and a client that opens thousands of idle ones keeps no other client out. A connection whose request
//! is being answered keeps its place.

//!
//! A call costs two writes to what its connection alone has: connections on all threads would wait for each other if each request
//! changed their order. They are put in order only when all places are taken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A connection has at least this time for the head of its request, however many others come: long enough for one that is on
/// its way, and short enough for thousands of connections a second.
const YOUNG: Duration = Duration::from_millis(20);

/// A fixed number of places; clones are about the same ones.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: usize,
    /// Times are counted from here.
    epoch: Instant,
    state: Mutex<State>,
    /// A place is free, or can be asked for sooner or later.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The number of the next connection.
    next: u64,
    /// Connections by the time since when they waited when they were put here, and by their number. They may have had requests
    /// since, but have waited no longer than this says. Those that were found to be answering are not here.
    queue: BTreeMap<(u64, u64), Arc<Connection>>,
    /// The one that is asked for its place.
    asked: Option<u64>,
}

/// What a connection does, which it alone changes, but for the questions that it is asked.
#[derive(Debug)]
struct Connection {
    number: u64,
    /// A [`Phase`].
    phase: AtomicU64,
    /// Where it stands in the queue; changed under the lock.
    queued: AtomicU64,
    asked: Notify,
}

/// What a connection does. Times are in nanoseconds from [`Shared::epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For the head of a request, since then.
    Waiting(u64),
    /// The same, and its place was asked for.
    Asked(u64),
    Answering,
    /// The same, and it is not in the queue.
    Parked,
}

impl Phase {
    const fn to_bits(self) -> u64 {
        match self {
            Self::Waiting(since) => since << 2,
            Self::Asked(since) => since << 2 | 1,
            Self::Answering => 2,
            Self::Parked => 3,
        }
    }

    const fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Waiting(bits >> 2),
            1 => Self::Asked(bits >> 2),
            2 => Self::Answering,
            _ => Self::Parked,
        }
    }
}

impl Connection {
    fn phase(&self) -> Phase {
        Phase::from_bits(self.phase.load(Ordering::Acquire))
    }

    /// The phase before.
    fn enter(&self, phase: Phase) -> Phase {
        Phase::from_bits(self.phase.swap(phase.to_bits(), Ordering::AcqRel))
    }

    /// False if it is in another phase meanwhile.
    fn change(&self, from: Phase, to: Phase) -> bool {
        let exchanged = self.phase.compare_exchange(from.to_bits(), to.to_bits(), Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }
}

/// How long it may take until there is a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until then one that waits is old enough to be asked.
    Until(Instant),
    /// One is asked, and closes or has its request once it is polled.
    Asked,
    /// All are being answered.
    ForEnd,
}

/// One place, given back on drop.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl Places {
    /// So many, all of them free.
    pub fn new(all: usize) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { all, epoch: Instant::now(), state, changed }))
    }

    /// A free place. Where there is none, the connection that has waited longest for a request is asked for its own.
    ///
    /// # Errors
    /// There is none yet.
    pub fn take(&self) -> Result<Arc<Place>, Wait> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<Arc<Place>, Wait> {
        let now = self.0.nanos(now);
        let mut state = self.0.lock();
        if state.taken >= self.0.all {
            return Err(state.ask(now, self.0.epoch));
        }
        let connection = Arc::new(Connection {
            number: state.next,
            phase: AtomicU64::new(Phase::Waiting(now).to_bits()),
            queued: AtomicU64::default(),
            asked: Notify::new(),
        });
        state.taken += 1;
        state.next += 1;
        state.put(now, Arc::clone(&connection));
        drop(state);
        Ok(Arc::new(Place { shared: Arc::clone(&self.0), connection }))
    }

    /// Lets it become known which requests are here before a connection is asked for its place: on a busy thread a request seems
    /// late although its client is not. Only where all are taken: with many calls in progress, a turn of the others is some
    /// milliseconds, and new connections would be accepted at a hundred a second.
    pub async fn notice_requests(&self) {
        if self.are_taken() {
            // tokio asks the system for events before it polls again who yielded.
            tokio::task::yield_now().await;
        }
    }

    /// Whether the next connection has to take the place of another one, or to wait.
    fn are_taken(&self) -> bool {
        self.0.lock().taken >= self.0.all
    }

    /// Waits until it makes sense to try again; for one task at a time.
    pub async fn changed(&self, wait: Wait) {
        match wait {
            Wait::ForEnd | Wait::Asked => self.0.changed.notified().await,
            Wait::Until(moment) => {
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

    /// A moment as phases have it.
    fn nanos(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn put(&mut self, since: u64, connection: Arc<Connection>) {
        connection.queued.store(since, Ordering::Relaxed);
        self.queue.insert((since, connection.number), connection);
    }

    /// Asks the connection that has waited longest for its place. Those that were called since they were put into the queue get
    /// their right place there: once for each request, however often places are asked for. Returns what to wait for.
    fn ask(&mut self, now: u64, epoch: Instant) -> Wait {
        if self.asked.is_some() {
            return Wait::Asked;
        }
        while let Some((key, connection)) = self.queue.pop_first() {
            let phase = connection.phase();
            match phase {
                Phase::Waiting(since) if since == key.0 => {
                    let old_enough = since.saturating_add(u64::try_from(YOUNG.as_nanos()).unwrap_or(u64::MAX));
                    let is_young = now < old_enough;
                    let is_asked = !is_young && connection.change(phase, Phase::Asked(since));
                    self.queue.insert(key, Arc::clone(&connection));
                    if is_young {
                        return Wait::Until(epoch + Duration::from_nanos(old_enough));
                    }
                    if is_asked {
                        self.asked = Some(connection.number);
                        connection.asked.notify_one();
                        return Wait::Asked;
                    }
                }
                Phase::Waiting(since) => self.put(since, connection),
                Phase::Answering if !connection.change(phase, Phase::Parked) => {
                    self.queue.insert(key, connection);
                }
                Phase::Answering | Phase::Parked | Phase::Asked(_) => {}
            }
        }
        Wait::ForEnd
    }
}

impl Place {
    /// The head of a request is here: from now on the place is kept.
    pub(super) fn answer(&self) {
        if matches!(self.connection.phase(), Phase::Waiting(_) | Phase::Asked(_))
            && let Phase::Asked(_) = self.connection.enter(Phase::Answering)
        {
            self.shared.lock().asked = None;
            self.shared.changed.notify_one();
        }
    }

    /// The answer is with the system: the connection waits for its next request.
    pub(super) fn wait(&self) {
        if matches!(self.connection.phase(), Phase::Waiting(_) | Phase::Asked(_)) {
            return;
        }
        let since = self.shared.nanos(Instant::now());
        if self.connection.enter(Phase::Waiting(since)) == Phase::Parked {
            self.shared.lock().put(since, Arc::clone(&self.connection));
            self.shared.changed.notify_one();
        }
    }

    /// Ends when the place is asked for and the connection waits for a request; it is to be closed then. Poll the connection
    /// first: its request may be there.
    pub async fn evicted(&self) {
        while !matches!(self.connection.phase(), Phase::Asked(_)) {
            self.connection.asked.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Connection { number, queued, .. } = &*self.connection;
        let mut state = self.shared.lock();
        state.queue.remove(&(queued.load(Ordering::Relaxed), *number));
        if state.asked == Some(*number) {
            state.asked = None;
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

    /// When all that wait now are old enough.
    fn later() -> Instant {
        Instant::now() + YOUNG
    }

    fn is_evicted(place: &Place) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[test]
    fn all_are_taken_once_the_last_is_and_until_one_is_given_back() {
        let places = Places::new(2);
        let first = places.take().unwrap();
        assert!(!places.are_taken());
        let second = places.take().unwrap();
        assert!(places.are_taken());
        drop(second);
        assert!(!places.are_taken());
        drop(first);
    }

    #[test]
    fn the_one_that_has_waited_longest_goes_first() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        assert!(matches!(places.take(), Err(Wait::Until(_))), "all are young");
        first.answer();
        assert_eq!(places.take_at(later()).err(), Some(Wait::Asked));
        assert_eq!([&first, &second, &third].map(|place| is_evicted(place)), [false, true, false]);
        assert_eq!(places.take_at(later()).err(), Some(Wait::Asked), "one is asked at a time");
        drop(second);
        let fourth = places.take_at(later()).unwrap();
        assert_eq!([&first, &third, &fourth].map(|place| is_evicted(place)), [false; 3]);
        third.answer();
        fourth.answer();
        assert_eq!(places.take_at(later()).err(), Some(Wait::ForEnd), "no answer is cut off");
        first.wait();
        assert_eq!(places.take_at(later()).err(), Some(Wait::Asked));
        assert!(is_evicted(&first), "between two requests it waits again");
    }

    #[tokio::test]
    async fn one_whose_request_is_there_when_it_is_asked_keeps_its_place_and_the_next_is_asked() {
        let places = Places::new(2);
        let [first, second] = [(); 2].map(|()| places.take().unwrap());
        let wait = places.take_at(later()).unwrap_err();
        first.answer();
        assert!(!is_evicted(&first), "its answer is not cut off");
        places.changed(wait).await;
        assert_eq!(places.take_at(later()).err(), Some(Wait::Asked));
        assert!(is_evicted(&second));
        first.wait();
        assert!(!is_evicted(&first), "what it was asked before is over");
    }

    #[test]
    fn a_place_is_given_back_once_however_it_ends() {
        let places = Places::new(2);
        for _ in 0..10 {
            let [waits, answers] = [(); 2].map(|()| places.take().unwrap());
            answers.answer();
            assert_eq!(places.take_at(later()).err(), Some(Wait::Asked));
            drop(waits);
            let instead = places.take_at(later()).unwrap();
            drop((answers, instead));
            let [one, two] = [(); 2].map(|()| places.take().unwrap());
            assert!(places.take().is_err(), "never more than there are");
            drop(one);
            drop(two);
        }
    }

    #[tokio::test]
    async fn a_waiter_is_notified_of_a_free_place() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        place.answer();
        let wait = places.take().unwrap_err();
        let mut changed = std::pin::pin!(places.changed(wait));
        assert!(changed.as_mut().now_or_never().is_none());
        place.wait();
        changed.await;
        let Err(wait @ Wait::Until(_)) = places.take() else { panic!("it is young") };
        places.changed(wait).await;
        let wait = places.take().unwrap_err();
        assert_eq!(wait, Wait::Asked, "by then it is old enough");
        place.evicted().await;
        drop(place);
        places.changed(wait).await;
        assert!(places.take().is_ok());
    }
}
