//! A task that wakes itself while it runs is polled again at once, instead of being scheduled again.
//!
//! hyper's two halves of a connection share one task and wake each other through channels. To a runtime with several threads each
//! such wake-up is a task for another thread: it wakes one, and the connection moves there. For a call of the relay that costs two
//! system calls and a change of processor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// The bits of the state: it is being polled, so that a wake-up does not go to the runtime; it was woken since that began.
const POLLING: u8 = 1;
const WOKEN: u8 = 2;

/// How often in a row a future is polled that wakes itself each time; then the runtime may run other tasks.
const MAX_POLLS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct SelfWakes<F> {
    future: Pin<Box<F>>,
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<F: Future> SelfWakes<F> {
    pub fn new(future: F) -> Self {
        let shared = Arc::<Shared>::default();
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&shared)), shared }
    }
}

impl<F: Future> Future for SelfWakes<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, shared, waker } = &mut *self;
        shared.task.register(cx.waker());
        let mut own = Context::from_waker(waker);
        for _ in 0..MAX_POLLS {
            shared.state.swap(POLLING, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut own) {
                return Poll::Ready(output);
            }
            if shared.state.swap(0, Ordering::AcqRel) & WOKEN == 0 {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Always a write, so that the next poll sees what was done before this wake-up.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) & POLLING == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<F: Future>(task: &mut SelfWakes<F>) -> (Poll<F::Output>, usize) {
        let wakes = Arc::<CountedWakes>::default();
        let polled = Pin::new(task).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&wakes))));
        (polled, wakes.0.load(Ordering::Relaxed))
    }

    #[test]
    fn one_that_wakes_itself_is_polled_again_without_the_runtime() {
        let mut polls = 0;
        let mut task = SelfWakes::new(poll_fn(|cx| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(polls);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        assert_eq!(poll(&mut task), (Poll::Ready(3), 0));
    }

    #[test]
    fn one_that_wakes_itself_without_end_lets_other_tasks_run() {
        let mut polls = 0;
        let mut task = SelfWakes::new(poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        assert_eq!(poll(&mut task), (Poll::Pending, 1), "the runtime polls it again");
        drop(task);
        assert_eq!(polls, MAX_POLLS);
    }

    #[test]
    fn a_wake_up_between_two_polls_goes_to_the_runtime_that_polled_last() {
        let mut kept = None;
        let mut task = SelfWakes::new(poll_fn(|cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let (first, last) = (Arc::<CountedWakes>::default(), Arc::<CountedWakes>::default());
        for wakes in [&first, &last] {
            let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))));
            assert!(polled.is_pending());
        }
        drop(task);
        kept.unwrap().wake();
        assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
    }
}
