//! Sends everything back to whoever sent it: one task per address, and one per connection.
//!
//! ```text
//! cargo run --release --example echo_server [ADDR]...
//! ```
//!
//! An ADDR is `HOST:PORT` for TCP, `udp:HOST:PORT`, `unix:PATH`, or on Linux `unix:@NAME`. Unless told otherwise it listens on port
//! 7000 of this machine, by TCP and UDP, IPv4 and IPv6.
//!
//! Ctrl-C or SIGTERM cancels all tasks: each unwinds from where it waits, so destructors run, connections close, and the
//! file of a Unix socket is removed.

mod address;

use address::Address;
use multitask::net::{TcpListener, UdpSocket};
use multitask::os::unix::net::UnixListener;
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::{sleep, spawn, Handle, Scheduler};
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

const ANYWHERE: [&str; 4] = [
    "127.0.0.1:7000",
    "[::1]:7000",
    "udp:127.0.0.1:7000",
    "udp:[::1]:7000",
];

/// How many were served.
#[derive(Default)]
struct Served {
    connections: AtomicU64,
    datagrams: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let scheduler = Scheduler::new()?;
    let handle = scheduler.handle();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let end = scheduler.handle();
    scheduler.spawn(move || signals.wait().map(|_| end.cancel_all()));

    let served = Arc::new(Served::default());
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for addr in &asked {
        listen(&handle, addr, &served).map_err(|error| format!("{addr}: {error}"))?;
    }
    if asked.is_empty() {
        for addr in ANYWHERE {
            // Not every machine has IPv6.
            if let Err(error) = listen(&handle, addr, &served) {
                eprintln!("{addr}: {error}");
            }
        }
    }
    scheduler.run()?;

    let mut farewell = format!("served {} connections", served.connections.load(Relaxed));
    if let datagrams @ 1.. = served.datagrams.load(Relaxed) {
        farewell += &format!(" and {datagrams} datagrams");
    }
    writeln!(io::stdout(), "{farewell}")?; // `println!` would panic if nobody reads it any more
    Ok(())
}

/// Starts the task of one address, and says so.
fn listen(tasks: &Handle, addr: &str, served: &Arc<Served>) -> io::Result<()> {
    let served = served.clone();
    let bound = match Address::parse(addr)? {
        Address::Tcp(addr) => {
            let listener = TcpListener::bind(addr)?;
            let bound = Address::Tcp(listener.local_addr()?.to_string());
            let accept = move || {
                let (stream, peer) = listener.accept()?;
                Ok((stream, peer.to_string()))
            };
            tasks.spawn(move || serve(accept, &served));
            bound
        }
        Address::Udp(addr) => {
            let socket = UdpSocket::bind(addr)?;
            let bound = Address::Udp(socket.local_addr()?.to_string());
            tasks.spawn(move || reflect(&socket, &served));
            bound
        }
        Address::Unix(addr) => {
            let listener = UnixListener::bind_addr(&addr)?;
            let file = File(addr.as_pathname().map(PathBuf::from));
            let accept = move || {
                let _removed_at_the_end = &file;
                let (stream, _nameless) = listener.accept()?;
                Ok((stream, "a local client".to_owned()))
            };
            tasks.spawn(move || serve(accept, &served));
            Address::Unix(addr)
        }
    };
    println!("listening on {bound}");
    Ok(())
}

/// Accepts connections until it is cancelled.
fn serve<S>(accept: impl Fn() -> io::Result<(S, String)>, served: &Served)
where
    S: Send + 'static,
    for<'a> &'a S: Read + Write,
{
    loop {
        match accept() {
            Ok((stream, peer)) => {
                served.connections.fetch_add(1, Relaxed);
                spawn(move || echo(&stream, &peer));
            }
            // Most likely there is no descriptor left: the client waits in the kernel until one is free.
            Err(error) => {
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Looks like a thread's code: a read or write that cannot go on suspends this task, and the others run.
fn echo<S>(stream: &S, peer: &str)
where
    for<'a> &'a S: Read + Write,
{
    let (mut from, mut to) = (stream, stream);
    if let Err(error) = io::copy(&mut from, &mut to) {
        eprintln!("{peer}: {error}");
    }
}

/// Sends datagrams back until it is cancelled: they have no connections, so one task does for all.
fn reflect(socket: &UdpSocket, served: &Served) {
    let mut buf = vec![0; 1 << 16];
    loop {
        let reflected = socket
            .recv_from(&mut buf)
            .and_then(|(n, peer)| socket.send_to(&buf[..n], peer));
        match reflected {
            Ok(_) => drop(served.datagrams.fetch_add(1, Relaxed)),
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
