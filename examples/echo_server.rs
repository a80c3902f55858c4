//! Sends everything back to whoever sent it: a `net::Server` for each address of TCP or Unix sockets, one task for each of UDP.
//!
//! ```text
//! cargo run --release --example echo_server [OPTION]... [ADDR]...
//! ```
//!
//! An ADDR is `HOST:PORT` for TCP, `udp:HOST:PORT`, `unix:PATH`, or on Linux `unix:@NAME`. Unless told otherwise it listens on port
//! 7000 of this machine, by TCP and UDP, IPv4 and IPv6.
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--workers N` | threads that share the work | 1 |
//! | `--timeout SECONDS` | who sends nothing for so long is let go; and who does not take 4 KiB in that time | 60 |
//! | `--max-connections N` | at each address; who comes then waits until another one leaves | 10,000 |
//! | `--grace SECONDS` | for connections to end when the server is stopped | 1 |
//!
//! So nobody can hold more than his own place, and that only while he takes part. A connection costs about 9 KiB of memory, whatever is sent:
//! nothing is read while what was read before has not been taken. Where there are fewer descriptors than places (`ulimit -n`) the next client waits in the same way.
//!
//! Ctrl-C or SIGTERM stops it in good order: nobody is let in any more, and connections have the grace, a second unless told otherwise, to come
//! to their end. What is left then is cancelled: each unwinds from where it waits, so destructors run, connections close, and the file of a Unix
//! socket is removed. A second signal ends the grace.

mod address;

use address::Address;
use multitask::net::{Incident, Listener, Server, ServerHandle, ServerReport, UdpSocket};
use multitask::os::unix::net::UnixListener;
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::{spawn, timeout, Handle, JoinHandle, Scheduler};
use std::error::Error;
use std::fmt::Debug;
use std::io::{self, ErrorKind::*, Read, Write};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "\
    usage: echo_server [--workers N] [--timeout SECONDS] [--max-connections N] [--grace SECONDS] [ADDR]...";

const ANYWHERE: [&str; 4] = [
    "127.0.0.1:7000",
    "[::1]:7000",
    "udp:127.0.0.1:7000",
    "udp:[::1]:7000",
];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let scheduler = Scheduler::builder().workers(options.workers).build()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut echo = Echo {
        tasks: scheduler.handle(),
        timeout: options.timeout,
        max_connections: options.max_connections,
        servers: Vec::new(),
        datagrams: Arc::default(),
    };
    for addr in &options.addrs {
        echo.listen(addr)
            .map_err(|error| format!("{addr}: {error}"))?;
    }
    if options.addrs.is_empty() {
        for addr in ANYWHERE {
            // Not every machine has IPv6.
            if let Err(error) = echo.listen(addr) {
                eprintln!("{addr}: {error}");
            }
        }
    }

    let datagrams = echo.datagrams.clone();
    let report = scheduler.block_on(|| {
        signals.wait()?;
        echo.stop(options.grace, signals)
    })?;
    drop(scheduler); // cancels what is left: the tasks of UDP sockets

    let connections = report.finished + report.cancelled;
    let mut farewell = format!("served {connections} connections");
    if let datagrams @ 1.. = datagrams.load(Relaxed) {
        farewell += &format!(" and {datagrams} datagrams");
    }
    writeln!(io::stdout(), "{farewell}")?; // `println!` would panic if nobody reads it any more
    Ok(())
}

/// All that listens.
struct Echo {
    tasks: Handle,
    timeout: Duration,
    max_connections: usize,
    servers: Vec<(ServerHandle, JoinHandle<io::Result<ServerReport>>)>,
    /// How many were sent back.
    datagrams: Arc<AtomicU64>,
}

impl Echo {
    /// Starts the tasks of one address, and says so.
    fn listen(&mut self, addr: &str) -> io::Result<()> {
        let limit = self.timeout;
        let bound = match Address::parse(addr)? {
            Address::Tcp(addr) => {
                let server = Server::bind(addr)?;
                let bound = Address::Tcp(server.local_addr()?.to_string());
                self.serve(server, move |stream, _peer| echo(&stream, limit));
                bound
            }
            Address::Udp(addr) => {
                let socket = UdpSocket::bind(addr)?;
                let bound = Address::Udp(socket.local_addr()?.to_string());
                let datagrams = self.datagrams.clone();
                self.tasks.spawn(move || reflect(&socket, &datagrams));
                bound
            }
            Address::Unix(addr) => {
                let server = Server::new(UnixListener::bind_addr(&addr)?);
                let file = File(addr.as_pathname().map(PathBuf::from));
                self.serve(server, move |stream, _nameless| {
                    let _removed_with_the_server = &file;
                    echo(&stream, limit)
                });
                Address::Unix(addr)
            }
        };
        println!("listening on {bound}");
        Ok(())
    }

    fn serve<L: Listener>(
        &mut self,
        server: Server<L>,
        handler: impl Fn(L::Stream, L::Addr) -> io::Result<()> + Send + Sync + 'static,
    ) {
        let server = server.max_connections(self.max_connections);
        let (handle, server) = (server.handle(), server.on_incident(complain));
        let serving = self.tasks.spawn(move || server.serve(handler));
        self.servers.push((handle, serving));
    }

    /// Stops all servers, and says what has become of the connections that were there.
    fn stop(self, grace: Duration, signals: Signals) -> io::Result<ServerReport> {
        let (handles, serving): (Vec<_>, Vec<_>) = self.servers.into_iter().unzip();
        let open: usize = handles.iter().map(ServerHandle::connections).sum();
        handles.iter().for_each(|handle| handle.stop(grace));
        eprintln!("stopping: {open} connections have {grace:?} to end");
        let impatient = spawn(move || {
            for _another in signals {
                handles
                    .iter()
                    .for_each(|handle| handle.stop(Duration::ZERO));
            }
        });

        let mut all = ServerReport::default();
        for one in serving {
            let report = one.join()??;
            all.finished += report.finished;
            all.drained += report.drained;
            all.cancelled += report.cancelled;
        }
        impatient.cancel();
        eprintln!(
            "{} ended in time, {} were cancelled",
            all.drained, all.cancelled
        );
        Ok(all)
    }
}

/// Looks like a thread's code: a read or write that cannot go on suspends this task, and the others run.
fn echo<S>(stream: &S, limit: Duration) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let (mut from, mut to) = (stream, stream);
    let mut buf = [0; 4096];
    loop {
        match timeout(limit, || from.read(&mut buf))?? {
            0 => return Ok(()),
            // All of it: a limit of `write` alone would begin anew with each byte that the client takes.
            n => timeout(limit, || to.write_all(&buf[..n]))??,
        }
    }
}

/// Tells what went wrong.
fn complain<A: Debug>(incident: Incident<A>) {
    match incident {
        Incident::Failed { peer, error, .. } => {
            let kind = error.downcast_ref().map(io::Error::kind);
            // Clients may go away as they like, and fill no log with it.
            if !matches!(kind, Some(TimedOut | ConnectionReset | BrokenPipe)) {
                eprintln!("{peer:?}: {error}");
            }
        }
        // Most likely there is no descriptor left: clients wait in the kernel until one is free.
        Incident::Paused(error) => eprintln!("accept: {error}"),
        other => eprintln!("{other}"),
    }
}

/// Sends datagrams back until it is cancelled: they have no connections, so one task does for all.
fn reflect(socket: &UdpSocket, count: &AtomicU64) {
    let mut buf = vec![0; 1 << 16];
    loop {
        let reflected = socket
            .recv_from(&mut buf)
            .and_then(|(n, peer)| socket.send_to(&buf[..n], peer));
        match reflected {
            Ok(_) => drop(count.fetch_add(1, Relaxed)),
            // One of them could not be sent back.
            Err(error) => eprintln!("udp: {error}"),
        }
    }
}

/// The file of a Unix socket, which remains when the socket is closed.
struct File(Option<PathBuf>);

impl Drop for File {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _gone_already = std::fs::remove_file(path);
        }
    }
}

struct Options {
    workers: usize,
    /// For a client to send something, or to take what is sent to it.
    timeout: Duration,
    /// How much time connections have to end when the server is stopped.
    grace: Duration,
    /// Of each address.
    max_connections: usize,
    addrs: Vec<String>,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            workers: 1,
            timeout: Duration::from_secs(60),
            grace: Duration::from_secs(1),
            max_connections: 10_000,
            addrs: Vec::new(),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("workers") => options.workers = parser.value()?.parse()?,
                Long("timeout") => options.timeout = parser.value()?.parse_with(seconds)?,
                Long("grace") => options.grace = parser.value()?.parse_with(seconds)?,
                Long("max-connections") => {
                    let connections: std::num::NonZeroUsize = parser.value()?.parse()?;
                    options.max_connections = connections.get();
                }
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                Value(addr) => options.addrs.push(addr.string()?),
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(options)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
