//! An HTTP server of tasks, over whatever carries bytes: what `http_server` and `https_server` have in common.
//!
//! | | |
//! |---|---|
//! | `options`, `limits` | what it is told, and what it allows |
//! | `connection` | one connection, from request to request |
//! | `intake` over `request`, `body` | what the bytes mean: no sockets, no tasks |
//! | `routes`, `files`, `tasks`, `metrics`, `prometheus`, `response`, `status` | what is answered |
//! | `guests` | who is connected, for when the server stops |
//!
//! Each connection is a task that reads, thinks and writes as a thread would. How long it may do so is said by a time limit
//! round the call, in `connection`; nothing here counts time by itself.

pub mod body;
mod connection;
mod files;
mod guests;
pub mod intake;
mod limits;
mod metrics;
mod options;
mod prometheus;
pub mod request;
mod response;
mod routes;
pub mod status;
mod tasks;

use connection::{Connection, PIECE};
use files::Files;
use guests::Guests;
use limits::Limits;
use metrics::Numbers;
use multitask::net::{Incident, Server, ServerHandle, ServerReport, Shutdown, TcpStream};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::Semaphore;
use multitask::{task, timeout, Scheduler};
pub use options::Options;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use tasks::TasksPage;

/// How long it is read on from one who has got his last answer.
const LINGER: Duration = Duration::from_secs(2);
/// Descriptors that are not for connections.
const OTHER_FILES: u64 = 64;

/// What lies between a socket and HTTP: nothing, or TLS.
pub trait Transport: Send + Sync + 'static {
    const SCHEME: &'static str;
    type Stream<'a>: Read + Write;

    /// # Errors
    /// It cannot be had, for this connection or any.
    fn open<'a>(&self, socket: &'a TcpStream) -> io::Result<Self::Stream<'a>>;

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// Those of writing.
    fn say_goodbye(stream: &mut Self::Stream<'_>) -> io::Result<()>;
}

/// What all connections have in common.
struct Service {
    limits: Limits,
    files: Option<Files>,
    guests: Guests,
    /// For bodies in memory, one for each [`PIECE`].
    bodies: Semaphore,
    numbers: Numbers,
    tasks: TasksPage,
}

impl Service {
    /// One connection, from its beginning to its end.
    ///
    /// # Errors
    /// Those of the socket; the client is too slow to be served.
    fn attend<T: Transport>(&self, transport: &T, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?; // what is written is whole
        let seat = self.guests.enter(socket);
        let socket = seat.socket();
        let mut connection = Connection::new(self, &seat, transport.open(socket)?);
        let served = connection.serve();
        if matches!(&served, Err(error) if error.kind() == ErrorKind::TimedOut) {
            socket.set_linger(Some(Duration::ZERO))?; // what it did not read goes with it
        }
        let is_ours = served?;
        let mut stream = connection.into_stream();
        let parting = || part::<T>(&mut stream, socket, is_ours);
        timeout(LINGER, parting).unwrap_or(Ok(()))
    }
}

/// Ends a connection so that its last answer is read, if it is ours to end it: closed at once, what is still on its way here would make
/// the system throw away what is on its way there.
fn part<T: Transport>(
    stream: &mut T::Stream<'_>,
    mut socket: &TcpStream,
    is_ours: bool,
) -> io::Result<()> {
    T::say_goodbye(stream)?;
    if is_ours {
        socket.shutdown(Shutdown::Write)?;
        io::copy(&mut socket, &mut io::sink())?;
    }
    Ok(())
}

/// Serves until it is told to end, by Ctrl-C or SIGTERM: then answers what was asked, and no more. A second signal ends it at once.
///
/// # Errors
/// The address or the folder cannot be had.
pub fn run<T: Transport>(options: Options, transport: T) -> Result<(), Box<dyn Error>> {
    let scheduler = Scheduler::builder()
        .workers(options.workers)
        .trace_waits(true) // for the page of tasks
        .build()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let files = options
        .root
        .as_ref()
        .map(|root| Files::new(root).map_err(|error| format!("{}: {error}", root.display())));
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?.saturating_sub(OTHER_FILES);
    let connections = options.limits.connections.min(descriptors as usize).max(1);
    let server =
        Server::bind(&options.addr).map_err(|error| format!("{}: {error}", options.addr))?;
    let server = server.max_connections(connections).on_incident(complain);
    let service = Arc::new(Service {
        files: files.transpose()?,
        guests: Guests::default(),
        bodies: Semaphore::new(options.limits.all_bodies / PIECE),
        numbers: Numbers::default(),
        tasks: TasksPage::new(),
        limits: options.limits,
    });

    let handle = server.handle();
    println!("listening on {}://{}", T::SCHEME, server.local_addr()?);
    let serves = service.clone();
    let report = scheduler.block_on(|| {
        let serving = named("server")
            .spawn(move || server.serve(move |socket, _peer| serves.attend(&transport, socket)))?;
        signals.wait()?;
        stop(&handle, &service, options.grace);
        let hurry = move || signals.for_each(|_another| handle.stop(Duration::ZERO));
        let impatient = named("second signal").spawn(hurry)?;
        let report = serving.join()?;
        impatient.cancel();
        report
    })?;
    farewell(&report, service.numbers.requests())?;
    Ok(())
}

/// A task whose name is seen on the page of tasks.
fn named(name: &str) -> task::Builder {
    task::Builder::new().name(name.to_owned())
}

fn stop(handle: &ServerHandle, service: &Service, grace: Duration) {
    let open = handle.connections();
    handle.stop(grace);
    service.guests.close();
    eprintln!("stopping: {open} connections have {grace:?} to end");
}

fn farewell(report: &ServerReport, requests: u64) -> io::Result<()> {
    let connections = report.finished + report.cancelled;
    let cancelled = report.cancelled;
    // `println!` would panic if nobody reads it any more.
    writeln!(
        io::stdout(),
        "served {requests} requests on {connections} connections, {cancelled} of them cut off"
    )
}

/// Tells what went wrong. That a client has gone, or did not read, is no news.
fn complain<A: std::fmt::Debug>(incident: Incident<A>) {
    match incident {
        Incident::Failed { .. } => {}
        other => eprintln!("{other}"),
    }
}
