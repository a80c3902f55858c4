//! Sends everything back to whoever sent it: one task per connection.
//!
//! ```text
//! cargo run --release --example echo_server [ADDR]     # 127.0.0.1:7000 unless told otherwise
//! ```
//!
//! Ctrl-C or SIGTERM cancels all tasks: each unwinds from where it waits, so destructors run and connections close.

use multitask::net::{SocketAddr, TcpListener, TcpStream};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::{sleep, spawn, Scheduler};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    let scheduler = Scheduler::new()?;
    let handle = scheduler.handle();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    scheduler.spawn(move || signals.wait().map(|_| handle.shutdown()));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    scheduler.spawn(move || serve(&listener));
    scheduler.run()?;
    Ok(())
}

/// Accepts connections until it is cancelled.
fn serve(listener: &TcpListener) {
    let mut served = Served(0);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                served.0 += 1;
                spawn(move || echo(&stream, peer));
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
fn echo(stream: &TcpStream, peer: SocketAddr) {
    let (mut from, mut to) = (stream, stream);
    if let Err(error) = io::copy(&mut from, &mut to) {
        eprintln!("{peer}: {error}");
    }
}

/// Counts connections, and says how many there were when it goes.
struct Served(u64);

impl Drop for Served {
    fn drop(&mut self) {
        // `println!` would panic if standard output is gone, and this may be called while the task unwinds.
        let _ignored = writeln!(io::stdout(), "served {} connections", self.0);
    }
}
