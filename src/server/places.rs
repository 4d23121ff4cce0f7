//! Places for connections. When all are taken, the connection that has kept its server waiting longest for the complete head
//! of a request, its first or its next, is asked for its place, and closes unless its request is there: it costs its client a
//! connection that was idle, and a client that opens thousands of idle ones keeps no other client out. A connection whose request
//! is being answered keeps its place.

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
    /// A place is free, or can be asked for sooner or later.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Counts up, so that the first of those that wait has waited longest.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// The one that is asked for its place.
    asked: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    asked: Arc<Notify>,
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
    asked: Arc<Notify>,
    state: Mutex<PlaceState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceState {
    /// For the head of a request, under this number.
    Waiting(u64),
    Answering,
}

impl Places {
    /// So many, all of them free.
    pub fn new(all: usize) -> Self {
        Self(Arc::new(Shared { all, state: Mutex::default(), changed: Notify::new() }))
    }

    /// A free place. Where there is none, the connection that has waited longest for a request is asked for its own.
    ///
    /// # Errors
    /// There is none yet.
    pub fn take(&self) -> Result<Arc<Place>, Wait> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<Arc<Place>, Wait> {
        let mut state = self.0.lock();
        if state.taken >= self.0.all {
            if state.asked.is_some() {
                return Err(Wait::Asked);
            }
            let (number, oldest) = state.waiting.first_key_value().ok_or(Wait::ForEnd)?;
            let old_enough = oldest.since + YOUNG;
            if now < old_enough {
                return Err(Wait::Until(old_enough));
            }
            oldest.asked.notify_one();
            state.asked = Some(*number);
            return Err(Wait::Asked);
        }
        state.taken += 1;
        let asked = Arc::new(Notify::new());
        let number = state.wait(&asked, now);
        drop(state);
        Ok(Arc::new(Place { shared: Arc::clone(&self.0), asked, state: Mutex::new(PlaceState::Waiting(number)) }))
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

    /// The connection of this number waits no more: its request is here, or it ends.
    fn end_wait(&self, number: u64) {
        let mut state = self.lock();
        state.waiting.remove(&number);
        let was_asked = state.asked == Some(number);
        if was_asked {
            state.asked = None;
        }
        drop(state);
        if was_asked {
            self.changed.notify_one();
        }
    }

    fn free(&self) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        drop(state);
        self.changed.notify_one();
    }
}

impl State {
    fn wait(&mut self, asked: &Arc<Notify>, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Waiting { since: now, asked: Arc::clone(asked) });
        number
    }
}

impl Place {
    /// The head of a request is here: from now on the place is kept.
    pub(super) fn answer(&self) {
        let mut state = self.state();
        if let PlaceState::Waiting(number) = *state {
            self.shared.end_wait(number);
            *state = PlaceState::Answering;
        }
    }

    /// The answer is with the system: the connection waits for its next request.
    pub(super) fn wait(&self) {
        let mut state = self.state();
        if *state == PlaceState::Answering {
            *state = PlaceState::Waiting(self.shared.lock().wait(&self.asked, Instant::now()));
            self.shared.changed.notify_one();
        }
    }

    /// Ends when the place is asked for and the connection waits for a request; it is to be closed then. Poll the connection
    /// first: its request may be there.
    pub async fn evicted(&self) {
        while !self.is_asked() {
            self.asked.notified().await;
        }
    }

    fn is_asked(&self) -> bool {
        match *self.state() {
            PlaceState::Waiting(number) => self.shared.lock().asked == Some(number),
            PlaceState::Answering => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, PlaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let PlaceState::Waiting(number) = *self.state() {
            self.shared.end_wait(number);
        }
        self.shared.free();
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
