//! Futures and wakers whose every step a test sees or makes.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is ready when it is opened; whoever has a clone opens it, wakes it, or looks on.
#[derive(Clone, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    polled: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    polls: usize,
    waker: Option<Waker>,
}

impl Gate {
    pub fn open(&self) {
        self.0.state.lock().unwrap().open = true;
        self.wake();
    }

    /// Wakes whoever polled it last, ready or not.
    pub fn wake(&self) {
        let waker = self.0.state.lock().unwrap().waker.clone();
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// The waker of the last poll.
    pub fn waker(&self) -> Waker {
        self.0.state.lock().unwrap().waker.clone().unwrap()
    }

    pub fn polls(&self) -> usize {
        self.0.state.lock().unwrap().polls
    }

    /// Blocks the thread until it has been polled so often.
    pub fn await_polls(&self, polls: usize) {
        let state = self.0.state.lock().unwrap();
        let fewer = |state: &mut State| state.polls < polls;
        drop(self.0.polled.wait_while(state, fewer).unwrap());
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock().unwrap();
        state.polls += 1;
        self.0.polled.notify_all();
        state.waker = Some(cx.waker().clone());
        if state.open {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// A waker that counts.
#[derive(Default)]
pub struct Calls(AtomicUsize);

impl Calls {
    pub fn new() -> (Arc<Self>, Waker) {
        let calls = Arc::new(Calls::default());
        let waker = calls.clone().into();
        (calls, waker)
    }

    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Whether anybody has a waker that leads here, but for the one that `new` returned.
    pub fn are_kept(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 2
    }
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls once.
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}
