//! Owns what the workers of a server do: accept, run handlers, and stop.
//!
//! 1. A worker's tasks (its acceptor, its connections) are members of its scope: none outlives its task, however that ends.
//! 2. When one worker ends, for whatever reason, all do.
//! 3. The acceptor holds a permit only while it calls `accept`, and hands it to the connection: while nobody connects here, others may
//!    have it.
//! 4. Between `accept` and the spawn of the handler nothing suspends: an acceptor that is cancelled loses no connection.
//! 5. An acceptor goes on after an error at once if that has used up a connection, else after a pause: it never spins.
//! 6. A permit without a connection is an acceptor's that calls `accept`, or that was handed it and has not run since; it is about to
//!    come back, or to become a connection. Who accepts the rest waits for that: he would else turn clients away from free places.
//!
//! The growing pause is that of Go's net/http.

use super::control::{Control, End, Place};
use super::incident::Incident;
use crate::error::{report, Cancelled, JoinError};
use crate::net::listen::Listener;
use crate::rt::clock;
use crate::rt::unwind::{can_raise, target_of};
use crate::sync::{AcquireError, Notify, Semaphore, SemaphorePermit};
use crate::sys::socket::{accept_failure, AcceptFailure};
use crate::task::{self, Builder, Scope};
use std::any::Any;
use std::error::Error;
use std::io;
use std::mem;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
pub(super) type Handler<L> =
    Box<dyn Fn(<L as Listener>::Stream, <L as Listener>::Addr) -> Outcome + Send + Sync>;
pub(super) type Hook<A> = Box<dyn Fn(Incident<A>) + Send + Sync>;

/// What all workers of a server do.
pub(super) struct Job<L: Listener> {
    pub(super) control: Arc<Control>,
    /// For connections. Those who wait for one are acceptors.
    pub(super) places: Semaphore,
    /// So many.
    pub(super) max_connections: usize,
    /// A connection has gone, and most likely a descriptor with it.
    pub(super) freed: Notify,
    pub(super) pauses: Pauses,
    pub(super) handler: Handler<L>,
    pub(super) hook: Hook<L::Addr>,
    /// Makes the task of a connection.
    pub(super) task: Builder,
    /// Makes that of an acceptor.
    pub(super) acceptor: Builder,
}

/// One worker of a server, wherever it runs, or if it never does.
pub(super) struct Worker<L: Listener> {
    job: Arc<Job<L>>,
    /// Its own, or one that it shares with the others.
    listener: Arc<L>,
    ends_all: EndsAll,
}

/// Invariant 2, when this is dropped.
struct EndsAll(Arc<Control>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.stop_unless_stopping();
    }
}

/// Whatever goes wrong in the scope: it waits for none of its tasks that has no end of its own.
struct CancelsAll<'scope, 'env>(&'scope Scope<'scope, 'env>);

impl Drop for CancelsAll<'_, '_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<L: Listener> Worker<L> {
    pub(super) fn new(job: Arc<Job<L>>, listener: Arc<L>) -> Self {
        let ends_all = EndsAll(job.control.clone());
        Worker {
            job,
            listener,
            ends_all,
        }
    }

    /// Serves until the server has stopped, and all connections of this worker have ended.
    pub(super) fn run(self) {
        let Worker {
            job,
            listener,
            ends_all,
        } = self;
        task::scope(|scope| job.serve(scope, listener));
        drop(ends_all);
    }
}

impl<L: Listener> Job<L> {
    fn serve<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: Arc<L>) {
        let _cancels = CancelsAll(scope);
        let accepts = listener.clone();
        let ends_all = EndsAll(self.control.clone());
        let acceptor = scope.spawn_local_with(self.acceptor.clone(), move || {
            let _ends_all = ends_all;
            self.accept(scope, &*accepts);
        });
        self.control.wait_for_stop();
        acceptor.cancel();
        if let Err(JoinError::Panic(bug)) = acceptor.join() {
            resume_unwind(bug);
        }
        self.accept_rest(scope, &*listener);
        drop(listener); // from here on new clients are refused, or go to another listener of the port
        self.control.drain();
    }

    // ---- accepting ----

    /// Accepts until it is cancelled, or nothing can be accepted any more.
    fn accept<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: &L) {
        let mut pauses = self.pauses;
        while !self.control.is_stopping() {
            let accepted = listener.accept_if(|| Ok(self.places.acquire()?));
            let begun = accepted.map_err(Miss::from).and_then(|connection| {
                let begun = self.begin(scope, connection);
                begun.map_err(Miss::NotNow) // there was no memory
            });
            match begun {
                Ok(()) => pauses.over(),
                Err(Miss::Connection) => {}
                // A worker that shares the listener accepts the rest, and has told it never to wait.
                Err(Miss::NotNow(_)) if self.control.is_stopping() => return,
                Err(Miss::NotNow(error)) => {
                    if pauses.begin() {
                        self.tell(Incident::Paused(error));
                    }
                    let _freed_or_not = self.freed.wait_timeout(pauses.next());
                }
                Err(Miss::Listener(error)) => return self.control.fail(error),
                Err(Miss::Interrupted) => return,
            }
        }
    }

    /// Accepts those whose connection the kernel has completed, as far as there is room; closing the listener would reset them.
    fn accept_rest<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: &L) {
        listener.never_wait(true);
        // Others may go on connecting.
        for _ in 0..REST {
            if !self.control.has_time() {
                return;
            }
            match listener.accept_if(|| self.room_left()) {
                Ok(connection) => {
                    let _or_no_memory = self.begin(scope, connection);
                }
                Err(error) if accept_failure(&error) == AcceptFailure::Connection => {}
                Err(_) => return,
            }
        }
    }

    /// A permit, unless there are as many connections as there may be: see 6.
    fn room_left(&self) -> io::Result<SemaphorePermit<'_>> {
        loop {
            let permit = self.places.try_acquire();
            let is_room = || self.control.live() < self.max_connections;
            if permit.is_ok() || !is_room() || !self.control.has_time() {
                return Ok(permit?);
            }
            match self.places.acquire_timeout(BRIEFLY) {
                Err(AcquireError::Timeout) => {}
                permit => return Ok(permit?),
            }
        }
    }

    // ---- connections ----

    /// Starts the task of a connection.
    ///
    /// # Errors
    /// There is no memory for its stack; it is closed.
    fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        (permit, stream, peer): (SemaphorePermit<'scope>, L::Stream, L::Addr),
    ) -> io::Result<()> {
        let connection = Connection::<L> {
            stream,
            peer,
            place: self.control.admit(permit, &self.freed),
        };
        let task = self.task.clone();
        task.spawn_scoped(scope, move || self.handle(connection))
            .map(drop)
    }

    /// Runs the handler, and takes note of how it ends.
    fn handle(&self, connection: Connection<'_, L>) {
        let Connection {
            stream,
            peer,
            mut place,
        } = connection;
        let handle = || (self.handler)(stream, peer.clone());
        let incident = match catch_unwind(AssertUnwindSafe(handle)) {
            Ok(Ok(())) => return place.ended(End::Returned),
            // With `panic = "abort"` this is what it is to be cancelled.
            Ok(Err(error)) if !can_raise() && is_cancelled(&*error) => return,
            Ok(Err(error)) => {
                place.ended(End::Failed);
                Incident::Failed { peer, error }
            }
            Err(ours) if is_ours(&ours) => resume_unwind(ours),
            Err(payload) => {
                place.ended(End::Panicked);
                Incident::Panicked { peer, payload }
            }
        };
        self.tell(incident);
    }

    /// Calls the user's hook, which may panic.
    fn tell(&self, incident: Incident<L::Addr>) {
        match catch_unwind(AssertUnwindSafe(|| (self.hook)(incident))) {
            Ok(()) => {}
            Err(ours) if is_ours(&ours) => resume_unwind(ours),
            Err(panic) => {
                report(format_args!("the hook of a server has panicked"));
                mem::forget(panic); // its destructor might, too
            }
        }
    }
}

/// How many connections are accepted at most between being stopped and closing the listener: as many as our backlog holds.
const REST: u32 = 4096;

/// How long to wait for a permit that another worker does not need, before looking whether that is still so.
const BRIEFLY: Duration = Duration::from_millis(1);

/// Dropped in this order: who sees that the place is free finds the descriptor free as well.
struct Connection<'a, L: Listener> {
    stream: L::Stream,
    peer: L::Addr,
    place: Place<'a>,
}

/// Why no connection came of an attempt.
enum Miss {
    /// It has gone: the next one.
    Connection,
    /// Something has run out.
    NotNow(io::Error),
    /// There will be none any more.
    Listener(io::Error),
    /// The acceptor is to end, and nothing can be unwound.
    Interrupted,
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        if is_cancelled(&error) {
            return Miss::Interrupted;
        }
        if error.raw_os_error().is_none() {
            return Miss::Listener(error); // of another family altogether
        }
        match accept_failure(&error) {
            AcceptFailure::Connection => Miss::Connection,
            AcceptFailure::NotNow => Miss::NotNow(error),
            AcceptFailure::Listener => Miss::Listener(error),
        }
    }
}

/// How long an acceptor waits for something that has run out, unless a connection ends before; and whether that is news.
#[derive(Clone, Copy)]
pub(super) struct Pauses {
    first: Duration,
    next: Duration,
    longest: Duration,
    supply: Supply,
}

/// Of descriptors, and memory.
#[derive(Clone, Copy)]
enum Supply {
    /// It has never run short.
    Enough,
    Short,
    /// It has been short, and sufficed again from then on.
    Again(Instant),
}

impl Pauses {
    pub(super) const fn new(first: Duration, longest: Duration) -> Self {
        Pauses {
            first,
            next: first,
            longest,
            supply: Supply::Enough,
        }
    }

    /// Whether a shortage begins that is another one than the last. Who is out of descriptors has one for each connection that ends, and is
    /// out of them again: that is the same one.
    fn begin(&mut self) -> bool {
        let is_news = match self.supply {
            Supply::Enough => true,
            Supply::Short => false,
            Supply::Again(since) => clock::now().saturating_duration_since(since) >= self.longest,
        };
        self.supply = Supply::Short;
        is_news
    }

    fn next(&mut self) -> Duration {
        let next = self.next;
        self.next = (next * 2).min(self.longest);
        next
    }

    /// A connection was accepted.
    fn over(&mut self) {
        if let Supply::Short = self.supply {
            self.supply = Supply::Again(clock::now());
            self.next = self.first;
        }
    }
}

/// Whether it says that the task was cancelled where nothing can be unwound.
fn is_cancelled(error: &(dyn Error + 'static)) -> bool {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error.is::<Cancelled>() || inner.is_some_and(|inner| inner.is::<Cancelled>())
}

fn is_ours(payload: &Box<dyn Any + Send>) -> bool {
    target_of(&**payload).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Server;
    use crate::rt::scheduler::Scheduler;
    use std::net;
    use std::panic::Location;

    #[test]
    fn a_permit_that_another_worker_has_for_a_moment_leaves_room_for_the_last_client() {
        let server = Server::bind("127.0.0.1:0").expect("a free port");
        let server = server.max_connections(1);
        let addr = server.local_addr().expect("bound");
        let _client = net::TcpStream::connect(addr).expect("it listens");
        server.handle().stop(Duration::from_secs(3600));
        let control = server.control.clone();
        let mut workers = server.workers(1, |_, _| Ok(()), Location::caller());
        let worker = workers.pop().expect("one");
        let job = worker.job.clone();
        let scheduler = Scheduler::new().expect("a few descriptors");
        scheduler.block_on(|| {
            let permit = job.places.acquire().expect("it is open");
            task::scope(|scope| {
                scope.spawn_local(|| worker.run());
                // It comes to look for room meanwhile.
                (0..10).for_each(|_| task::yield_now());
                drop(permit);
            });
        });
        assert_eq!(control.conclude().expect("no failure").finished, 1);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut pauses = Pauses::new(Duration::from_millis(5), Duration::from_millis(30));
        let all: Vec<_> = (0..5).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(all, [5, 10, 20, 30, 30]);
        assert!(pauses.begin() && !pauses.begin());
        pauses.over();
        assert_eq!(pauses.next().as_millis(), 5);
    }
}
