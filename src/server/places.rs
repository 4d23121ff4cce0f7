//! Places for connections. When all are taken, the connection that has kept its server waiting longest for the complete head
//! of a request, its first or its next, gives its place to the one that has just come: it costs its client a connection that
//! was idle, and a client that opens thousands of idle ones keeps no other client out. A connection whose request is being
//! answered is never taken back.

use std::collections::BTreeMap;
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
    state: Mutex<State>,
    /// A place is free, or can be taken back sooner or later.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Counts up, so that the first of those that wait has waited longest.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    evicted: Arc<Notify>,
}

/// How long it may take until there is a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until then one that waits is old enough to be taken back.
    Until(Instant),
    /// All are being answered.
    ForEnd,
}

/// One place, given back on drop.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    evicted: Arc<Notify>,
    state: Mutex<PlaceState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceState {
    /// For the head of a request, under this number.
    Waiting(u64),
    Answering,
    /// The place was taken by another connection.
    Evicted,
}

impl Places {
    /// So many, all of them free.
    pub fn new(all: usize) -> Self {
        Self(Arc::new(Shared { all, state: Mutex::default(), changed: Notify::new() }))
    }

    /// A free place, or that of the connection that has waited longest for a request.
    ///
    /// # Errors
    /// There is none yet.
    pub fn take(&self) -> Result<Arc<Place>, Wait> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<Arc<Place>, Wait> {
        let mut state = self.0.lock();
        if state.taken < self.0.all {
            state.taken += 1;
        } else {
            let oldest = state.waiting.first_entry().ok_or(Wait::ForEnd)?;
            let old_enough = oldest.get().since + YOUNG;
            if now < old_enough {
                return Err(Wait::Until(old_enough));
            }
            oldest.remove().evicted.notify_one();
        }
        let evicted = Arc::new(Notify::new());
        let number = state.wait(&evicted, now);
        drop(state);
        Ok(Arc::new(Place { shared: Arc::clone(&self.0), evicted, state: Mutex::new(PlaceState::Waiting(number)) }))
    }

    /// Lets requests that are here already be read before a connection that has just come takes the place of one that waits: on a
    /// busy thread a request seems late although its client is not. Only where all are taken: with many calls in progress, each
    /// turn of the others is some milliseconds, and new connections would be accepted at a hundred a second.
    pub async fn read_requests_that_came(&self) {
        /// tokio asks the system for events after every 61 tasks, and then polls first who yielded.
        const TURNS: usize = 2;
        for _ in 0..TURNS {
            if self.are_taken() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether the next connection has to take the place of another one, or to wait.
    fn are_taken(&self) -> bool {
        self.0.lock().taken >= self.0.all
    }

    /// Waits until it makes sense to try again; for one task at a time.
    pub async fn changed(&self, wait: Wait) {
        match wait {
            Wait::ForEnd => self.0.changed.notified().await,
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

    fn free(&self) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    fn wait(&mut self, evicted: &Arc<Notify>, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Waiting { since: now, evicted: Arc::clone(evicted) });
        number
    }
}

impl Place {
    /// The head of a request is here: from now on the place cannot be taken back. False if it has been already.
    pub(super) fn answer(&self) -> bool {
        let mut state = self.state();
        if let PlaceState::Waiting(number) = *state {
            let kept = self.shared.lock().waiting.remove(&number).is_some();
            *state = if kept { PlaceState::Answering } else { PlaceState::Evicted };
        }
        *state == PlaceState::Answering
    }

    /// The answer is with the system: the connection waits for its next request.
    pub(super) fn wait(&self) {
        let mut state = self.state();
        if *state == PlaceState::Answering {
            *state = PlaceState::Waiting(self.shared.lock().wait(&self.evicted, Instant::now()));
            self.shared.changed.notify_one();
        }
    }

    /// Ends when the place is taken back; the connection is to be closed then.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, PlaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let holds = match *self.state() {
            PlaceState::Waiting(number) => self.shared.lock().waiting.remove(&number).is_some(),
            PlaceState::Answering => true,
            PlaceState::Evicted => false,
        };
        if holds {
            self.shared.free();
        }
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
        assert!(first.answer());
        let fourth = places.take_at(later()).unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(|place| is_evicted(place)), [false, true, false, false]);
        assert!(!second.answer(), "its request came too late");
        drop(second);
        assert!(third.answer() && fourth.answer());
        assert_eq!(places.take_at(later()).err(), Some(Wait::ForEnd), "no answer is cut off");
        first.wait();
        assert!(places.take_at(later()).is_ok() && is_evicted(&first), "between two requests it waits again");
    }

    #[test]
    fn a_place_is_given_back_once_however_it_ends() {
        let places = Places::new(2);
        for _ in 0..10 {
            let [waits, answers] = [(); 2].map(|()| places.take().unwrap());
            assert!(answers.answer());
            let instead = places.take_at(later()).unwrap();
            drop((waits, answers, instead));
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
        assert!(place.answer());
        let wait = places.take().unwrap_err();
        let mut changed = std::pin::pin!(places.changed(wait));
        assert!(changed.as_mut().now_or_never().is_none());
        place.wait();
        changed.await;
        let Err(wait @ Wait::Until(_)) = places.take() else { panic!("it is young") };
        places.changed(wait).await;
        assert!(places.take().is_ok(), "by then it is old enough");
    }
}
