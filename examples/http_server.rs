//! An HTTP/1.1 server: a task for each connection, which reads, answers and waits as a thread would.
//!
//! ```text
//! cargo run --release --example http_server [--root DIR] [OPTION]... [ADDR]      # --help tells which
//! curl http://127.0.0.1:8080/plaintext
//! curl --data hello http://127.0.0.1:8080/echo
//! ```
//!
//! Requests may be pipelined: those that have come together are answered by one write. Bodies have a length or come in chunks. With
//! `--root` it gives out files. Everything that a client can ask for, keep or delay has a limit: see `http/limits.rs`.
//!
//! Ctrl-C or SIGTERM stops it in good order: nobody is let in any more, requests that have begun are answered, and idle connections
//! closed. A second signal ends it at once.

mod http;

use http::{Options, Transport};
use multitask::net::TcpStream;
use std::error::Error;
use std::io;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse("http_server", "", |_flag, _parser| Ok(false))?;
    http::run(options, Plain)
}

/// HTTP goes over the socket as it is.
struct Plain;

impl Transport for Plain {
    const SCHEME: &'static str = "http";
    type Stream<'a> = &'a TcpStream;

    fn open<'a>(&self, socket: &'a TcpStream) -> io::Result<&'a TcpStream> {
        Ok(socket)
    }

    fn say_goodbye(_stream: &mut &TcpStream) -> io::Result<()> {
        Ok(()) // the end of the stream says it
    }
}
