//! Owns [`Server`]: a listener, a handler, and the tasks that bring connections from the one to the other, until it is stopped.
//!
//! 1. [`Server::serve`] leaves neither by returning nor by unwinding while a task of it is left, a listener of it open, or its handler
//!    not dropped.

mod control;
mod incident;
mod work;

use super::addr::ToSocketAddrs;
use super::listen::Listener;
use super::listener::{ListenerBuilder, TcpListener};
use crate::error::{report, JoinError};
use crate::rt::clock;
use crate::rt::park::me;
use crate::rt::scheduler::{Handle, Scheduler};
use crate::sync::{Notify, Semaphore};
use crate::task::{Builder, JoinHandle};
use control::Control;
pub use control::ServerReport;
pub use incident::{Handled, Incident};
use std::panic::{resume_unwind, Location};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io, mem};
use work::{Hook, Job, Outcome, Pauses, Worker};

/// Between an attempt to accept for which something has run out, and the next.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(5), Duration::from_secs(1));

/// Accepts connections, and runs a handler for each as a task of its own, until it is stopped: the loop round `accept` that a program would
/// otherwise write by hand, with what is easily forgotten there.
///
/// ```
/// use multitask::net::{Server, TcpStream};
/// use std::io::{self, BufRead, BufReader, Write};
/// use std::time::Duration;
///
/// let server = Server::bind("127.0.0.1:0")?.max_connections(10_000);
/// let (addr, handle) = (server.local_addr()?, server.handle());
/// let serving = multitask::spawn(move || {
///     server.serve(|stream: TcpStream, _peer| -> io::Result<()> {
///         for line in BufReader::new(&stream).lines() {
///             writeln!(&stream, "you said {}", line?)?; // suspends the task of this connection
///         }
///         Ok(())
///     })
/// });
///
/// let mut client = TcpStream::connect(addr)?;
/// client.write_all(b"hello\n")?;
/// let mut answer = String::new();
/// BufReader::new(&client).read_line(&mut answer)?;
/// assert_eq!(answer, "you said hello\n");
///
/// drop(client);
/// handle.stop(Duration::from_secs(10)); // the handler has so much time to come to its end
/// let report = serving.join().unwrap()?;
/// assert_eq!((report.finished, report.cancelled), (1, 0));
/// # Ok::<(), io::Error>(())
/// ```
///
/// # What it does
///
/// - **Every worker accepts.** Called by a task of a scheduler with several workers, [`serve`](Server::serve) accepts on each of them, so no
///   single one is the bottleneck. Made by [`bind`](Server::bind) it has a listener for each worker, all on the same port, and the kernel spreads
///   the connections over them; otherwise the workers share one.
/// - **A limit**: with [`max_connections`](Server::max_connections), further clients wait in the kernel, and come first who came first.
/// - **Shortage is survived.** Without a free descriptor, or memory, accepting pauses for 5 ms, later for up to a second, or until one of its
///   connections has ended; those that are there are served as before. A connection that has gone again before it was accepted is passed over.
/// - **Handlers that fail**, by an `Err` or a panic, end their own connection, and are told to [a hook](Server::on_incident).
/// - **It stops in good order**: see [`ServerHandle::stop`]. When the task that calls `serve` is cancelled, or a [`timeout`](crate::timeout()) round
///   it passes, it stops at once. In each case nothing of it is left when `serve` has returned, or unwound.
///
/// # Other listeners
///
/// [`Server::new`] takes any listener: one that was made elsewhere, or one of Unix sockets.
///
/// ```
/// use multitask::net::Server;
/// use multitask::os::unix::net::{UnixListener, UnixStream};
/// use std::io::{self, Read, Write};
///
/// let path = std::env::temp_dir().join(format!("docs-server-{}", std::process::id()));
/// let server = Server::new(UnixListener::bind(&path)?);
/// let serving = multitask::spawn(move || server.serve(|mut stream, _nameless| stream.write_all(b"welcome")));
/// assert_eq!(io::read_to_string(UnixStream::connect(&path)?)?, "welcome");
/// serving.cancel(); // closes the listener
/// assert!(serving.join().unwrap_err().is_cancelled());
/// std::fs::remove_file(path)?;
/// # Ok::<(), io::Error>(())
/// ```
#[must_use = "a server accepts nothing until `serve` is called"]
pub struct Server<L: Listener = TcpListener> {
    listener: L,
    /// How the listener was made, if it was us who made it.
    options: Option<ListenerBuilder>,
    max_connections: usize,
    hook: Hook<L::Addr>,
    pauses: Pauses,
    task: Builder,
    control: Arc<Control>,
}

impl Server {
    /// A server on `addr`; with several addresses, on the first that can be bound. Port 0 asks for a free one.
    ///
    /// It listens from now on: who connects before [`serve`](Server::serve) is called waits. Suspends only to look a name up.
    ///
    /// The port is the server's alone: if another program has it, or a second copy of this one is started, that is an error. See
    /// [`bind_with`](Server::bind_with) for servers of several processes.
    ///
    /// # Errors
    ///
    /// Those of [`TcpListener::bind`].
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Server> {
        Server::bind_with(TcpListener::builder(), addr)
    }

    /// As [`bind`](Server::bind), with options for the listener.
    ///
    /// ```
    /// use multitask::net::{Server, TcpListener};
    ///
    /// let shared = TcpListener::builder().reuse_port(true);
    /// let first = Server::bind_with(shared.clone(), "127.0.0.1:0")?;
    /// let second = Server::bind_with(shared, first.local_addr()?)?; // most often in another process
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ListenerBuilder::bind`].
    pub fn bind_with<A: ToSocketAddrs>(options: ListenerBuilder, addr: A) -> io::Result<Server> {
        let mut server = Server::new(options.bind(addr)?);
        server.options = Some(options);
        Ok(server)
    }
}

impl<L: Listener> Server<L> {
    /// A server that accepts from `listener`, which all its workers share.
    ///
    /// If the listener has [clones](TcpListener::try_clone), they stay open when the server has stopped.
    pub fn new(listener: L) -> Self {
        Server {
            listener,
            options: None,
            max_connections: usize::MAX,
            hook: Box::new(|incident| report(format_args!("{incident}"))),
            pauses: PAUSES,
            task: Builder::new(),
            control: Arc::new(Control::new()),
        }
    }

    /// Sets how many connections there may be at a time, over all workers; there is no limit unless told otherwise.
    ///
    /// When there are so many, accepting pauses: further clients wait in the kernel, in the listener's backlog. As soon as a handler has ended
    /// the one that has waited for longest is accepted. (With several workers: the longest at the listener whose turn it is, and these take turns.)
    ///
    /// A limit that is well below that of descriptors (`ulimit -n`) keeps some for the handlers' own use.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn max_connections(mut self, connections: usize) -> Self {
        assert!(connections > 0, "a server for no connection at all");
        self.max_connections = connections;
        self
    }

    /// Sets the size in bytes of the stack on which each handler runs: see [`task::Builder::stack_size`](crate::task::Builder::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.task = self.task.stack_size(bytes);
        self
    }

    /// Sets what is told when a handler fails, and when accepting pauses. Unless told otherwise each incident is a line on standard error.
    ///
    /// The hook runs in the task of the connection, which counts until it has returned, or in the one that accepts, which pauses meanwhile. It
    /// may suspend. If it panics, that is reported on standard error, and otherwise ignored.
    ///
    /// ```
    /// use multitask::net::{Incident, Server};
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// static FAILED: AtomicU64 = AtomicU64::new(0);
    /// let server = Server::bind("127.0.0.1:0")?.on_incident(|incident| match incident {
    ///     Incident::Failed { .. } => drop(FAILED.fetch_add(1, Relaxed)), // clients that go away are no news
    ///     other => eprintln!("{other}"),
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_incident<H>(mut self, hook: H) -> Self
    where
        H: Fn(Incident<L::Addr>) + Send + Sync + 'static,
    {
        self.hook = Box::new(hook);
        self
    }

    /// The address that the server listens on; never suspends.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.address()
    }

    /// To stop the server from elsewhere, also from its own handlers.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            control: self.control.clone(),
        }
    }

    /// Accepts connections, and calls `handler` with each, in a task of its own, until the server is [stopped](ServerHandle::stop); then says
    /// what has become of them. The listener is closed then.
    ///
    /// Suspends the calling task, whose scheduler runs the handlers. On a plain thread it blocks, and the thread's default
    /// scheduler runs them.
    ///
    /// A connection is closed when the handler drops it, at its end at the latest. The handler returns `()` or a `Result`: see [`Handled`].
    /// Its task may be started on any worker.
    ///
    /// # Errors
    ///
    /// Nothing can be accepted, now or ever: it is no listener. All handlers have been cancelled then. On a plain thread also what
    /// [`Scheduler::default_handle`] says. That the calling task was cancelled is an error where nothing can be unwound
    /// ([`Cancelled`](crate::Cancelled)), and on a plain thread if the default scheduler was shut down; with
    /// several workers also in a task whose scheduler is shut down, if the others hear of it first.
    ///
    /// # Panics
    ///
    /// If there is no address space for the stacks of the server's own tasks. On a plain thread also if nothing can ever happen again on the
    /// thread's default scheduler: see [`Deadlock`](crate::Deadlock).
    ///
    /// With `panic = "abort"` a handler that panics ends the process, and one that is to be cancelled is told by the errors of its waits.
    #[track_caller]
    pub fn serve<F, R>(self, handler: F) -> io::Result<ServerReport>
    where
        F: Fn(L::Stream, L::Addr) -> R + Send + Sync + 'static,
        R: Handled,
    {
        let tasks = Handle::current().map_or_else(Scheduler::default_handle, Ok)?;
        let control = self.control.clone();
        let handler = move |stream, peer| handler(stream, peer).into_result();
        let place = Location::caller();
        let workers = self.workers(tasks.workers(), handler, place);
        run_all(&tasks, workers, &control)?;
        control.conclude()
    }

    /// So many workers, for tasks that are said to have been spawned at `place`.
    fn workers(
        self,
        count: usize,
        handler: impl Fn(L::Stream, L::Addr) -> Outcome + Send + Sync + 'static,
        place: &'static Location<'static>,
    ) -> Vec<Worker<L>> {
        let job = Arc::new(Job {
            control: self.control,
            places: Semaphore::new(self.max_connections),
            max_connections: self.max_connections,
            freed: Notify::new(),
            pauses: self.pauses,
            handler: Box::new(handler),
            hook: self.hook,
            task: self.task.place(place),
            acceptor: Builder::new().name("acceptor".into()).place(place),
        });
        let listeners = listeners(self.listener, self.options, count);
        let worker = |listener| Worker::new(job.clone(), listener);
        listeners.into_iter().map(worker).collect()
    }
}

/// A listener for each worker: one of its own where that can be had, else the first one.
fn listeners<L: Listener>(
    first: L,
    options: Option<ListenerBuilder>,
    workers: usize,
) -> Vec<Arc<L>> {
    first.never_wait(false);
    let first = Arc::new(first);
    let another = |_| {
        let own = options
            .as_ref()
            .and_then(|options| first.sibling(options).ok());
        own.map_or_else(|| first.clone(), Arc::new)
    };
    let others: Vec<_> = (1..workers).map(another).collect();
    [first].into_iter().chain(others).collect()
}

/// Runs each worker as a task on the scheduler's worker of that number, until all have ended.
///
/// # Errors
/// The caller, or one of them, was cancelled.
#[track_caller]
fn run_all<L: Listener>(
    tasks: &Handle,
    workers: Vec<Worker<L>>,
    control: &Control,
) -> io::Result<()> {
    let mut running = Running {
        workers: Vec::with_capacity(workers.len()),
        control,
    };
    for (n, worker) in workers.into_iter().enumerate() {
        let task = tasks.spawn_on(n, move || worker.run());
        running.workers.push(task);
    }
    for worker in &mut running.workers {
        worker.try_wait_for_end()?;
    }
    let ended = mem::take(&mut running.workers);
    match ended.into_iter().try_for_each(JoinHandle::join) {
        Err(JoinError::Panic(panic)) => resume_unwind(panic),
        ended => Ok(ended?),
    }
}

/// The tasks of workers. Whoever is interrupted while he waits for them stops the server: they have ended when this is dropped.
struct Running<'a> {
    workers: Vec<JoinHandle<()>>,
    control: &'a Control,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.workers.is_empty() {
            self.control.stop(Some(clock::now()));
            let wait = || self.workers.iter_mut().for_each(JoinHandle::wait_for_end);
            me().scopes.shield(wait);
        }
    }
}

impl<L: Listener> fmt::Debug for Server<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr().ok())
            .finish_non_exhaustive()
    }
}

/// Stops a [`Server`], from any task or thread; made by [`Server::handle`].
///
/// With signals, for instance:
///
/// ```
/// use multitask::net::Server;
/// use multitask::signal::{Signals, SIGINT, SIGTERM};
/// use multitask::Scheduler;
/// use std::time::Duration;
///
/// let server = Server::bind("127.0.0.1:0")?;
/// let handle = server.handle();
/// let mut signals = Signals::new([SIGINT, SIGTERM])?;
/// let scheduler = Scheduler::new()?;
/// scheduler.spawn(move || signals.wait().map(|_| handle.stop(Duration::from_secs(30))));
/// # scheduler.spawn(|| SIGTERM.raise());
/// let report = scheduler.block_on(|| server.serve(|_stream, _peer| { /* .. */ }))?;
/// println!("{} ended in time, {} were cancelled", report.drained, report.cancelled);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A handle whose server has gone does nothing.
#[derive(Clone)]
pub struct ServerHandle {
    control: Arc<Control>,
}

impl ServerHandle {
    /// Asks the server to stop; handlers that run have `grace` to come to their ends, and are cancelled then. Returns at once.
    ///
    /// 1. Accepting ends. Clients whose connection the kernel has completed already are served if the limit of connections allows; then the
    ///    listeners are closed: new clients are refused, or go to others who share the port.
    /// 2. Handlers that run go on. [`is_stopping`](ServerHandle::is_stopping) tells them, if they ask.
    /// 3. Those that have not ended after `grace` are [cancelled](crate::JoinHandle::cancel): each unwinds from where it waits, running
    ///    destructors.
    /// 4. When all have ended, [`serve`](Server::serve) returns. One that computes without waiting cannot be hurried.
    ///
    /// It may be called again: the nearer deadline holds. So a second Ctrl-C can be given less time. Before `serve` it may be called as well.
    ///
    /// ```
    /// use multitask::{net::{Server, TcpStream}, task};
    /// use std::time::Duration;
    ///
    /// let server = Server::bind("127.0.0.1:0")?;
    /// let (addr, handle) = (server.local_addr()?, server.handle());
    /// let stops = handle.clone();
    /// let serving = multitask::spawn(move || {
    ///     server.serve(move |stream, _peer| {
    ///         stops.stop(Duration::from_secs(3600)); // from a handler: it goes on
    ///         task::park(); // for ever
    ///         drop(stream);
    ///     })
    /// });
    /// let _client = TcpStream::connect(addr)?;
    /// while !handle.is_stopping() {
    ///     multitask::yield_now();
    /// }
    /// handle.stop(Duration::ZERO); // now
    /// assert_eq!(serving.join().unwrap()?.cancelled, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop(&self, grace: Duration) {
        // A time that an `Instant` cannot hold is as good as never.
        self.control.stop(clock::now().checked_add(grace));
    }

    /// As [`stop`](ServerHandle::stop), for handlers to end by `deadline`.
    pub fn stop_deadline(&self, deadline: Instant) {
        self.control.stop(Some(deadline));
    }

    /// Whether the server was asked to stop, or has. A handler that serves one request after the other looks at this in between.
    ///
    /// ```
    /// use multitask::net::{Server, TcpStream};
    /// use std::io::{self, BufRead, BufReader, Write};
    ///
    /// let server = Server::bind("127.0.0.1:0")?;
    /// let handle = server.handle();
    /// let handler = move |stream: TcpStream, _peer| -> io::Result<()> {
    ///     for line in BufReader::new(&stream).lines() {
    ///         writeln!(&stream, "you said {}", line?)?;
    ///         if handle.is_stopping() {
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// };
    /// # server.handle().stop(Default::default());
    /// server.serve(handler)?;
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.control.is_stopping()
    }

    /// How many connections there are now: those whose handler has not ended.
    pub fn connections(&self) -> usize {
        self.control.live()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("is_stopping", &self.is_stopping())
            .field("connections", &self.connections())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::sealed::Sealed;
    use crate::net::TcpStream;
    use crate::sync::{Event, Queue};
    use crate::task;
    use std::io::{self, Read};
    use std::ptr;
    use std::sync::mpsc;
    use std::{net, thread};

    const LONG: Duration = Duration::from_secs(3600);

    /// A listener with connections, and errors, that are made up.
    struct Scripted(Arc<Script>);
    type Script = Queue<Result<u32, i32>>;

    impl Sealed for Scripted {}

    impl Listener for Scripted {
        type Stream = ();
        type Addr = u32;

        fn accept_if<R>(
            &self,
            mut admit: impl FnMut() -> io::Result<R>,
        ) -> io::Result<(R, (), u32)> {
            let next = self.0.get().expect("it is open");
            let room = admit()?;
            let peer = next.map_err(io::Error::from_raw_os_error)?;
            Ok((room, (), peer))
        }

        fn never_wait(&self, never: bool) {
            if never {
                self.0.put(Err(libc::EAGAIN)).expect("it is open");
            }
        }

        fn address(&self) -> io::Result<u32> {
            Ok(0)
        }

        fn sibling(&self, _: &ListenerBuilder) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// A server of such a listener, which pauses for so long; what it tells is sent.
    fn scripted(
        script: impl IntoIterator<Item = Result<u32, i32>>,
        pauses: Pauses,
    ) -> (Server<Scripted>, Arc<Script>, mpsc::Receiver<String>) {
        let script = Arc::new(Queue::from_iter(script));
        let (tell, told) = mpsc::channel();
        let mut server = Server::new(Scripted(script.clone()))
            .on_incident(move |incident| tell.send(incident.to_string()).expect("the test hears"));
        server.pauses = pauses;
        (server, script, told)
    }

    #[test]
    fn connections_that_have_gone_before_they_were_accepted_are_passed_over_without_a_pause() {
        use libc::{ECONNABORTED, EPROTO};
        let gone = [ECONNABORTED, EPROTO, ECONNABORTED].map(Err);
        let script = [Ok(1)].into_iter().chain(gone).chain([Ok(2)]);
        let (server, _script, told) = scripted(script, Pauses::new(LONG, LONG));
        let handle = server.handle();
        let report = server.serve(move |(), peer| match peer {
            1 => {}
            _ => handle.stop(LONG),
        });
        assert_eq!(report.expect("nothing is wrong").finished, 2);
        assert!(told.recv().is_err(), "it is no news");
    }

    #[test]
    fn a_server_that_has_run_out_of_something_tries_again_when_a_connection_ends() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            let (server, script, told) = scripted([Ok(1)], Pauses::new(LONG, LONG));
            let (handle, ends) = (server.handle(), Arc::new(Event::new()));
            let (tasks, ended) = (handle.clone(), ends.clone());
            let serving = task::spawn(move || {
                server.serve(move |(), peer| match peer {
                    1 => ended.wait(),
                    _ => tasks.stop(LONG),
                })
            });
            while handle.connections() == 0 {
                task::yield_now();
            }
            script.put(Err(errno)).expect("it is open");
            script.put(Ok(2)).expect("it is open");
            let error = io::Error::from_raw_os_error(errno);
            let expected = format!("no connection is accepted for now: {error}");
            // The acceptor tells it, and stops for its pause.
            let heard = loop {
                match told.try_recv() {
                    Ok(heard) => break heard,
                    Err(_not_yet) => task::yield_now(),
                }
            };
            assert_eq!(heard, expected);
            ends.set();
            let report = serving.join().expect("no panic").expect("no failure");
            assert_eq!(report.finished, 2);
            assert!(told.recv().is_err(), "it is over");
        }
    }

    #[test]
    fn a_shortage_is_told_once_until_it_is_over() {
        let (none, many) = (libc::EMFILE, libc::ENOBUFS);
        let script = [
            Err(none),
            Err(none),
            Err(many),
            Ok(1),
            Err(many),
            Err(many),
            Ok(2),
        ];
        let brief = Pauses::new(Duration::ZERO, Duration::ZERO);
        let (server, _script, told) = scripted(script, brief);
        let handle = server.handle();
        let report = server.serve(move |(), peer| match peer {
            1 => {}
            _ => handle.stop(LONG),
        });
        assert_eq!(report.expect("it is survived").finished, 2);
        assert_eq!(told.iter().count(), 2);
    }

    #[test]
    fn a_shortage_that_each_connection_that_ends_lifts_for_a_moment_is_told_once() {
        let script = (1..=100).flat_map(|n| [Err(libc::EMFILE), Ok(n)]);
        let (server, _script, told) = scripted(script, Pauses::new(Duration::ZERO, LONG));
        let handle = server.handle();
        let report = server.serve(move |(), peer| {
            if peer == 100 {
                handle.stop(LONG);
            }
        });
        assert_eq!(report.expect("it is survived").finished, 100);
        assert_eq!(told.iter().count(), 1);
    }

    #[test]
    fn an_acceptor_that_is_told_not_to_wait_by_one_that_stops_is_no_news() {
        let (server, script, told) = scripted([Ok(1)], PAUSES);
        let handle = server.handle();
        let serving = task::spawn(move || server.serve(|(), _| ()));
        while handle.connections() == 0 {
            task::yield_now();
        }
        while handle.connections() > 0 {
            task::yield_now();
        }
        handle.stop(LONG);
        // As the other one's `never_wait` does: this acceptor has not been cancelled yet.
        script.put(Err(libc::EAGAIN)).expect("it is open");
        let report = serving.join().expect("no panic").expect("no failure");
        assert_eq!(report.finished, 1);
        assert!(told.recv().is_err(), "nothing has run out");
    }

    #[test]
    fn a_listener_that_is_none_any_more_ends_the_server_and_its_handlers() {
        let (server, script, told) = scripted([Ok(1)], PAUSES);
        let handle = server.handle();
        let serving = task::spawn(move || server.serve(|(), _| task::park()));
        while handle.connections() == 0 {
            task::yield_now();
        }
        script.put(Err(libc::EBADF)).expect("it is open");
        let error = serving.join().expect("no panic").expect_err("EBADF");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(handle.connections(), 0);
        assert!(told.recv().is_err(), "it is the answer of serve");
    }

    #[test]
    fn a_server_that_loses_its_acceptor_to_a_panic_ends_and_its_handlers_with_it() {
        let (server, script, _told) = scripted([Ok(1)], PAUSES);
        let handle = server.handle();
        let serving = task::spawn(move || server.serve(|(), _| task::park()));
        while handle.connections() == 0 {
            task::yield_now();
        }
        script.close(); // over which the made up listener panics
        let panic = serving.join().expect_err("it goes on in `serve`");
        assert!(!panic.is_cancelled());
        assert_eq!(handle.connections(), 0);
    }

    // ---- several workers ----

    /// A server with three workers, each on a thread and a scheduler of its own.
    fn on_three_threads(
        server: Server,
        handler: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> impl FnOnce() -> io::Result<ServerReport> {
        let control = server.control.clone();
        let handler = move |stream, _| handler(stream).into_result();
        let workers = server.workers(3, handler, Location::caller());
        let run = |worker: Worker<TcpListener>| {
            thread::spawn(|| {
                let scheduler = Scheduler::new().expect("a few descriptors");
                scheduler.block_on(|| worker.run());
                assert_eq!(scheduler.stats().live, 0);
            })
        };
        let threads: Vec<_> = workers.into_iter().map(run).collect();
        move || {
            let join = |thread: thread::JoinHandle<()>| thread.join().expect("no panic");
            threads.into_iter().for_each(join);
            control.conclude()
        }
    }

    fn echo(stream: TcpStream) -> io::Result<()> {
        io::copy(&mut &stream, &mut &stream).map(drop)
    }

    fn ask(addr: net::SocketAddr) -> net::TcpStream {
        let mut client = net::TcpStream::connect(addr).expect("it listens");
        io::Write::write_all(&mut client, b"?").expect("it is connected");
        client.read_exact(&mut [0]).expect("an answer");
        client
    }

    #[test]
    fn the_limit_is_that_of_all_workers_and_those_to_whom_nobody_connects_take_nothing_of_it() {
        let server = Server::bind("127.0.0.1:0").expect("a free port");
        let server = server.max_connections(1);
        let (addr, handle) = (server.local_addr().expect("bound"), server.handle());
        let seen = handle.clone();
        let report = on_three_threads(server, move |stream| {
            assert_eq!(seen.connections(), 1);
            echo(stream)
        });
        // Each listener has some of them.
        (0..60).for_each(|_| drop(ask(addr)));
        handle.stop(LONG);
        let report = report().expect("no failure");
        assert_eq!((report.finished, report.panicked), (60, 0));
    }

    #[test]
    fn workers_stop_together_and_drain_each_its_own_connections() {
        let server = Server::bind("127.0.0.1:0").expect("a free port");
        let (addr, handle) = (server.local_addr().expect("bound"), server.handle());
        let report = on_three_threads(server, echo);
        let mut clients: Vec<_> = (0..30).map(|_| ask(addr)).collect();
        handle.stop(LONG);
        clients.truncate(10);
        while handle.connections() > 10 {
            thread::yield_now();
        }
        handle.stop(Duration::ZERO);
        let report = report().expect("no failure");
        assert_eq!((report.drained, report.cancelled), (20, 10));
        net::TcpStream::connect(addr).expect_err("all listeners are closed");
    }

    #[test]
    fn when_one_worker_never_runs_the_others_stop() {
        let server = Server::bind("127.0.0.1:0").expect("a free port");
        let control = server.control.clone();
        let mut workers = server.workers(2, |_, _| Ok(()), Location::caller());
        let thread = {
            let worker = workers.pop().expect("two");
            thread::spawn(|| worker.run())
        };
        drop(workers);
        thread.join().expect("no panic");
        assert_eq!(control.conclude().expect("no failure").finished, 0);
    }

    #[test]
    fn workers_have_listeners_of_their_own_if_the_server_was_bound_by_us_and_else_share_one() {
        let distinct = |server: Server| {
            let listeners = listeners(server.listener, server.options, 3);
            assert_eq!(listeners.len(), 3);
            let addrs = listeners.iter().map(|l| l.local_addr().expect("bound"));
            assert_eq!(addrs.collect::<std::collections::HashSet<_>>().len(), 1);
            let [one, two, three] = [0, 1, 2].map(|n| Arc::as_ptr(&listeners[n]));
            !ptr::eq(one, two) && !ptr::eq(two, three) && !ptr::eq(one, three)
        };
        let bound = || Server::bind("127.0.0.1:0").expect("a free port");
        let shared = cfg!(any(target_os = "linux", target_os = "android"));
        assert_eq!(distinct(bound()), shared);
        assert!(!distinct(Server::new(bound().listener)));
    }
}
