//! Owns what a server, its handles and its connections have in common: whether it goes on, how many are there, and what has
//! become of the others.
//!
//! 1. A connection is counted from when it is admitted until its `Place` is dropped, which is the last thing of its task.
//! 2. A server that stops does not serve again. Its deadline only ever comes nearer.
//! 3. `news` is set when what a worker that drains waits for has changed, and another takes its place: who has taken it before he
//!    looked at the rest misses nothing.
//! 4. Nothing here suspends but `wait_for_stop` and `drain`: a connection that was accepted is not lost to an interruption.

use crate::base::lock::Lock;
use crate::rt::clock;
use crate::sync::{Event, Notify, SemaphorePermit};
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

/// What has become of the connections of a [`Server`](super::Server). Each counts once, under `finished` or under `cancelled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Their handler has ended by itself: it has returned, or panicked.
    pub finished: u64,
    /// Of these: it has returned an error.
    pub failed: u64,
    /// Of these: it has panicked.
    pub panicked: u64,
    /// Of these: it did so after the server had been asked to stop, in time.
    pub drained: u64,
    /// Their handler was cancelled when its time was over. (Or it was never started, for there was no memory for its stack.)
    pub cancelled: u64,
}

/// See the head of this file.
pub(super) struct Control {
    /// Set when the server is to stop, and never cleared.
    stopping: Event,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Connections whose handler has not ended.
    live: usize,
    report: ServerReport,
    /// Why no connection can be accepted any more.
    failure: Option<io::Error>,
    /// By 3.
    news: Arc<Event>,
}

#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Serving,
    /// Handlers may go on until then; `None` is never.
    Stopping(Option<Instant>),
}

/// How a handler has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Returned,
    Failed,
    Panicked,
    Cancelled,
}

impl Control {
    pub(super) fn new() -> Self {
        Control {
            stopping: Event::new(),
            state: Lock::new(State::default()),
        }
    }

    // ---- for handles ----

    /// Asks the server to stop, and handlers to have ended by `deadline`; `None` is never.
    pub(super) fn stop(&self, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        state.phase = match state.phase {
            Phase::Serving => Phase::Stopping(deadline),
            Phase::Stopping(before) => Phase::Stopping(nearer(before, deadline)),
        };
        let news = state.news();
        drop(state);
        news.set();
        self.stopping.set();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_set()
    }

    pub(super) fn live(&self) -> usize {
        self.state.lock().live
    }

    // ---- for workers ----

    /// Waits until the server is to stop.
    pub(super) fn wait_for_stop(&self) {
        self.stopping.wait();
    }

    /// Stops the server at once: nothing can be accepted any more.
    pub(super) fn fail(&self, error: io::Error) {
        let earlier = self.state.lock().failure.replace(error);
        drop(earlier);
        self.stop(Some(clock::now()));
    }

    /// Stops the server at once if nobody has stopped it.
    pub(super) fn stop_unless_stopping(&self) {
        if !self.is_stopping() {
            self.stop(Some(clock::now()));
        }
    }

    /// Whether a handler that begins now has time.
    pub(super) fn has_time(&self) -> bool {
        let phase = self.state.lock().phase;
        match phase {
            Phase::Serving | Phase::Stopping(None) => true,
            Phase::Stopping(Some(deadline)) => clock::now() < deadline,
        }
    }

    /// Waits until no connection is left, or the deadline has passed.
    pub(super) fn drain(&self) {
        loop {
            let awaited = self.state.lock().awaited();
            match awaited {
                None => return,
                Some((news, None)) => news.wait(),
                Some((news, Some(deadline))) if clock::now() < deadline => {
                    let _or_too_late = news.wait_deadline(deadline);
                }
                Some(_) => return,
            }
        }
    }

    /// What has become of all, when no worker is left.
    ///
    /// # Errors
    /// Nothing could be accepted any more.
    pub(super) fn conclude(&self) -> io::Result<ServerReport> {
        let mut state = self.state.lock();
        state.failure.take().map_or(Ok(state.report), Err)
    }

    // ---- for connections ----

    /// Counts a new connection. `freed` is told when it has gone.
    pub(super) fn admit<'a>(&'a self, permit: SemaphorePermit<'a>, freed: &'a Notify) -> Place<'a> {
        self.state.lock().live += 1;
        Place {
            control: self,
            end: End::Cancelled,
            freed,
            _permit: permit,
        }
    }

    fn leave(&self, end: End) {
        let mut state = self.state.lock();
        state.live -= 1;
        state.count(end);
        let last = state.live == 0 && matches!(state.phase, Phase::Stopping(_));
        let news = last.then(|| state.news());
        drop(state);
        if let Some(news) = news {
            news.set();
        }
    }
}

impl State {
    /// By 3: what the caller has to set.
    #[must_use]
    fn news(&mut self) -> Arc<Event> {
        mem::take(&mut self.news)
    }

    /// What a worker that drains waits for, and until when; `None` if it waits for nothing.
    fn awaited(&self) -> Option<(Arc<Event>, Option<Instant>)> {
        match self.phase {
            Phase::Stopping(deadline) if self.live > 0 => Some((self.news.clone(), deadline)),
            _ => None,
        }
    }

    fn count(&mut self, end: End) {
        let report = &mut self.report;
        match end {
            End::Cancelled => {
                report.cancelled += 1;
                return;
            }
            End::Returned => {}
            End::Failed => report.failed += 1,
            End::Panicked => report.panicked += 1,
        }
        report.finished += 1;
        report.drained += u64::from(matches!(self.phase, Phase::Stopping(_)));
    }
}

fn nearer(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A connection among those that are counted; it leaves when this is dropped.
pub(super) struct Place<'a> {
    control: &'a Control,
    /// Cancelled, unless it is told otherwise.
    end: End,
    freed: &'a Notify,
    _permit: SemaphorePermit<'a>,
}

impl Place<'_> {
    /// The handler has ended by itself.
    pub(super) fn ended(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.control.leave(self.end);
        self.freed.notify_one();
    }
}
