//! Sends standard input to a server, and prints what comes back: two tasks, and both directions at once.
//!
//! ```text
//! cargo run --release --example echo_client ADDR
//! ```
//!
//! An ADDR is `HOST:PORT` for TCP, `udp:HOST:PORT`, `unix:PATH`, or on Linux `unix:@NAME`. A terminal gives its input by the line, and a
//! datagram takes one.
//!
//! The end of the input closes the sending half of a connection; the program ends when the server closes the other. With
//! datagrams it ends when each was answered, and fails if one was not within a second.

mod address;

use address::Address;
use multitask::io::{stdin, stdout};
use multitask::net::{Shutdown, TcpStream, UdpSocket};
use multitask::os::unix::net::UnixStream;
use multitask::spawn;
use multitask::sync::Queue;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use std::{env, process};

const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let Some(addr) = env::args().nth(1) else {
        eprintln!("usage: echo_client ADDR");
        process::exit(2);
    };
    match Address::parse(&addr)? {
        Address::Tcp(addr) => {
            let stream = TcpStream::connect(addr)?;
            converse(stream, |stream| stream.shutdown(Shutdown::Write))
        }
        Address::Unix(addr) => {
            let stream = UnixStream::connect_addr(&addr)?;
            converse(stream, |stream| stream.shutdown(Shutdown::Write))
        }
        Address::Udp(addr) => correspond(udp(&addr)?),
    }
}

// ---- connections ----

fn converse<S>(stream: S, end: fn(&S) -> io::Result<()>) -> io::Result<()>
where
    S: Send + Sync + 'static,
    for<'a> &'a S: Read + Write,
{
    let stream = Arc::new(stream);
    let sending = stream.clone();
    // Not waited for: it may wait for input when the server has gone.
    spawn(move || {
        let sent = io::copy(&mut stdin().lock(), &mut &*sending).and_then(|_| end(&sending));
        if let Err(error) = sent {
            eprintln!("sending: {error}");
        }
    });
    spawn(move || io::copy(&mut &*stream, &mut stdout()).map(drop)).join()?
}

// ---- datagrams ----

/// A socket that talks to that address only.
fn udp(addr: &str) -> io::Result<UdpSocket> {
    let bound = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    let socket = match bound.and_then(|socket| socket.connect(addr).map(|()| socket)) {
        Ok(socket) => socket,
        Err(_not_ipv6) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(addr)?;
            socket
        }
    };
    Ok(socket)
}

fn correspond(socket: UdpSocket) -> io::Result<()> {
    let socket = Arc::new(socket);
    let answers = Arc::new(Queue::unbounded());
    let ended = Arc::new(Queue::unbounded());
    let (sending, answered, sent) = (socket.clone(), answers.clone(), ended.clone());
    spawn(move || sent.put(send_lines(&sending, &answered)));
    let failed = ended.clone();
    spawn(move || failed.put(print_answers(&socket, &answers)));
    ended.get()? // whichever is first
}

/// One datagram a line; waits for the answers then.
fn send_lines(socket: &UdpSocket, answers: &Queue<()>) -> io::Result<()> {
    let mut stdin = stdin().lock();
    let mut line = Vec::new();
    let mut open = 0_u64;
    while stdin.read_until(b'\n', &mut line)? > 0 {
        socket.send(&line)?;
        open += 1;
        line.clear();
    }
    while open > 0 {
        if answers.get_timeout(PATIENCE).is_err() {
            return Err(io::Error::other(format!("{open} answers did not come")));
        }
        open -= 1;
    }
    Ok(())
}

fn print_answers(socket: &UdpSocket, answers: &Queue<()>) -> io::Result<()> {
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = socket.recv(&mut buf)?;
        stdout().write_all(&buf[..n])?;
        answers.put(())?;
    }
}
