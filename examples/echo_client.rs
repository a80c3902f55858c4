//! Connects standard input and output to a server, both directions at once.
//!
//! ```text
//! cargo run --release --example echo_client ADDR
//! ```
//!
//! The end of the input closes the sending half of the connection; the program ends when the server closes the other.

use multitask::net::{Shutdown, TcpStream};
use multitask::spawn;
use std::io::{self, Read, Write};
use std::{env, process, thread};

fn main() -> io::Result<()> {
    let Some(addr) = env::args().nth(1) else {
        eprintln!("usage: echo_client ADDR");
        process::exit(2);
    };
    let stream = TcpStream::connect(addr)?;
    let sending = stream.try_clone()?;

    // Reading standard input blocks, so it has a plain thread: sockets of this crate work there as well.
    thread::spawn(move || {
        if let Err(error) = send(sending) {
            eprintln!("sending: {error}");
        }
    });
    // Not waited for: it may hang in standard input when the server has gone.
    spawn(|| receive(stream)).join()?
}

fn send(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut io::stdin().lock(), &mut stream)?;
    stream.shutdown(Shutdown::Write)
}

fn receive(mut stream: TcpStream) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut buf = [0; 8192];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stdout.write_all(&buf[..n])?,
        }
        stdout.flush()?; // a prompt has no newline
    }
}
