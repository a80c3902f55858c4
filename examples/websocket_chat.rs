//! A chat for browsers: the server gives out its page, and what one says there all read. WebSockets are by `tungstenite`, as it is.
//!
//! ```text
//! cargo run --release --example websocket_chat [OPTION]... [ADDR]     # 127.0.0.1:8081 unless told otherwise
//! ```
//!
//! Open the address that it says in two tabs. The first message of a client is its name, each one after that goes to all, its own tab
//! included. Two tasks per client: one reads, one writes what is in the client's queue. A message is made a frame once, for all.
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--timeout SECONDS` | for a client to ask, to say its name, to take what is sent to it | 30 |
//! | `--idle SECONDS` | for a client between two messages | 3600 |
//! | `--max-message BYTES` | of a message | 4096 |
//! | `--max-clients N` | who comes then waits until another one leaves | 10,000 |
//!
//! Who goes beyond is shown the door, and so is who falls [`QUEUE`] frames behind the others; nobody waits for him. Who says more than
//! [`RATE`] messages a second is read that slowly. A page from elsewhere may not speak here in the name of whoever reads it.
//!
//! Ctrl-C or SIGTERM ends the chat, with a farewell to all.

use multitask::net::{Incident, Server, Shutdown, TcpStream};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::{Mutex, Queue};
use multitask::{sleep_until, spawn, task, timeout, Scheduler};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{create_response, write_response, Request};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Message, WebSocket};

const USAGE: &str = "\
    usage: websocket_chat [--timeout SECONDS] [--idle SECONDS] [--max-message BYTES] [--max-clients N] [ADDR]";
const PAGE: &str = include_str!("websocket_chat.html");

/// Frames that wait for a client to read them.
const QUEUE: usize = 1000;
/// Messages that a client may say in a second, in the long run.
const RATE: u32 = 1000;
/// How far a client may be ahead of that.
const BURST: Duration = Duration::from_millis(20);
/// Bytes of a request.
const HEAD: usize = 8 << 10;
/// How long the farewell may take, to one client or to all.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = Server::bind(&options.addr)?
        .max_connections(options.max_clients)
        .on_incident(|incident| match incident {
            Incident::Failed { .. } => {} // clients may go away, or be shown the door, and fill no log with it
            other => eprintln!("{other}"),
        });
    let handle = server.handle();
    let members = Mutex::new(Some(BTreeMap::new()));
    let room = Arc::new(Room { members, options });
    println!("listening on http://{}/", server.local_addr()?);
    let left = Scheduler::new()?.block_on(|| -> io::Result<usize> {
        let inside = room.clone();
        let serving = spawn(move || server.serve(move |stream, _peer| inside.attend(stream)));
        signals.wait()?;
        handle.stop(PATIENCE); // nobody comes in any more
        let left = room.close();
        serving.join()??;
        Ok(left)
    })?;
    writeln!(io::stdout(), "goodbye to {left}")?;
    Ok(())
}

// ---- the room ----

struct Room {
    /// By name; `None` when the chat is over.
    members: Mutex<Option<BTreeMap<String, Arc<Member>>>>,
    options: Options,
}

struct Member {
    stream: TcpStream,
    /// Frames for the client, as they go over the wire.
    outbox: Queue<Bytes>,
}

/// A place in the room, which is left when this is dropped: also when the task fails, or is cancelled.
struct Seat<'a> {
    room: &'a Room,
    name: String,
}

impl Room {
    /// One connection, from its beginning to its end.
    fn attend(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let asked = timeout(self.options.timeout, || answer(&stream))??;
        let member = Arc::new(Member {
            stream,
            outbox: Queue::bounded(QUEUE),
        });
        if let Some(early) = asked {
            task::scope(|scope| {
                scope.spawn(|| member.write(self.options.timeout));
                self.listen(&member, early);
                member.outbox.close(); // what is in it is written yet
            });
        }
        // Closed at once, what is on its way here would make the system throw away what is on its way there.
        let rest = || io::copy(&mut &member.stream, &mut io::sink());
        member.stream.shutdown(Shutdown::Write)?;
        timeout(PATIENCE, rest)??;
        Ok(())
    }

    /// Hands on what a client says, until it leaves or does what it may not.
    fn listen(&self, member: &Arc<Member>, early: Vec<u8>) {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(self.options.max_message))
            .max_frame_size(Some(self.options.max_message));
        let mut socket =
            WebSocket::from_partially_read(Ear(member), early, Role::Server, Some(config));
        let end = match self.converse(member, &mut socket) {
            Err(tungstenite::Error::Capacity(_)) => close(CloseCode::Size, "too long"),
            Err(tungstenite::Error::Protocol(_)) => close(CloseCode::Protocol, "what?"),
            Err(tungstenite::Error::Utf8(_)) => close(CloseCode::Invalid, "that is no text"),
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                close(CloseCode::Policy, "time is up")
            }
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                close(CloseCode::Unsupported, "text only")
            }
            Err(_gone) => return,
            Ok(reason) => close(CloseCode::Policy, reason),
        };
        let _full = member.outbox.try_put(end);
    }

    /// Returns why the client has to go, if it is not an error.
    fn converse(
        &self,
        member: &Arc<Member>,
        socket: &mut WebSocket<Ear<'_>>,
    ) -> tungstenite::Result<&'static str> {
        let name = hear(socket, self.options.timeout)?;
        let Some(seat) = self.enter(&name, member) else {
            return Ok("not that name");
        };
        let mut due = Instant::now();
        loop {
            let said = hear(socket, self.options.idle)?;
            self.tell_all(&format!("{}: {said}", seat.name));
            // Who says too much is read slowly.
            due = due.max(Instant::now()) + Duration::from_secs(1) / RATE;
            sleep_until(due - BURST);
        }
    }

    /// `None` if that is no name, or somebody has it, or the chat is over.
    fn enter(&self, name: &str, member: &Arc<Member>) -> Option<Seat<'_>> {
        let is_name =
            (1..=32).contains(&name.chars().count()) && name.chars().all(char::is_alphanumeric);
        let mut members = self.members.lock().unwrap();
        let members_now = members.as_mut()?;
        if !is_name || members_now.contains_key(name) {
            return None;
        }
        members_now.insert(name.to_owned(), member.clone());
        drop(members);
        self.tell_all(&format!("* {name} has joined"));
        Some(Seat {
            room: self,
            name: name.to_owned(),
        })
    }

    /// Waits for no client: who does not read is shut out instead.
    fn tell_all(&self, line: &str) {
        let text = Frame::message(line.to_owned(), OpCode::Data(Data::Text), true);
        let frame = wire(text);
        for member in self
            .members
            .lock()
            .unwrap()
            .iter()
            .flat_map(BTreeMap::values)
        {
            if member.outbox.try_put(frame.clone()).is_err() {
                let _gone = member.stream.shutdown(Shutdown::Both); // its tasks see it
            }
        }
    }

    /// Says goodbye to all; how many there were.
    fn close(&self) -> usize {
        let members = self.members.lock().unwrap().take().unwrap_or_default();
        for member in members.values() {
            let _full = member
                .outbox
                .try_put(close(CloseCode::Away, "the chat is over"));
            member.outbox.close();
        }
        members.len()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(members) = &mut *self.room.members.lock().unwrap() {
            members.remove(&self.name);
        }
        self.room.tell_all(&format!("* {} has left", self.name));
    }
}

impl Member {
    /// Returns when the queue is closed and all of it is written, or cannot be.
    fn write(&self, limit: Duration) {
        for frame in &self.outbox {
            let written = timeout(limit, || (&self.stream).write_all(&frame));
            if !matches!(written, Ok(Ok(()))) {
                self.outbox.close();
                let _gone = self.stream.shutdown(Shutdown::Both); // whoever listens sees it
                return;
            }
        }
        let _gone = self.stream.shutdown(Shutdown::Write);
    }
}

// ---- the protocol ----

/// What tungstenite takes for the socket: what it answers by itself, to pings and to a farewell, goes into the queue with all the rest.
struct Ear<'a>(&'a Member);

impl Read for Ear<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.0.stream).read(buf)
    }
}

impl Write for Ear<'_> {
    /// Takes all of it: a frame stays in one piece.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let queued = self.0.outbox.put(Bytes::copy_from_slice(frame));
        queued.map_err(|_closed| ErrorKind::BrokenPipe)?;
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next text.
fn hear(socket: &mut WebSocket<Ear<'_>>, limit: Duration) -> tungstenite::Result<String> {
    let text = || loop {
        match socket.read()? {
            Message::Text(text) => return Ok(text.as_str().to_owned()),
            Message::Binary(_) => return Err(io::Error::from(ErrorKind::InvalidData).into()),
            _of_the_protocol => {}
        }
    };
    timeout(limit, text).map_err(io::Error::from)?
}

fn close(code: CloseCode, reason: &'static str) -> Bytes {
    let reason = reason.into();
    wire(Frame::close(Some(CloseFrame { code, reason })))
}

fn wire(frame: Frame) -> Bytes {
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("a Vec takes all");
    bytes.into()
}

/// Answers the one request of a connection. If from here on it is a WebSocket, returns what has come of it already.
fn answer(mut stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let Some((request, early)) = read_request(stream)? else {
        respond(stream, "400 Bad Request", "what?\n")?;
        return Ok(None);
    };
    match request.uri().path() {
        "/" => respond(stream, "200 OK", PAGE)?,
        "/chat" if !is_from_here(&request) => respond(stream, "403 Forbidden", "not yours\n")?,
        "/chat" => match create_response(&request) {
            Ok(response) => {
                let mut head = Vec::new();
                write_response(&mut head, &response).map_err(io::Error::other)?;
                stream.write_all(&head)?;
                return Ok(Some(early));
            }
            Err(error) => respond(stream, "400 Bad Request", &format!("{error}\n"))?,
        },
        _ => respond(stream, "404 Not Found", "nothing here\n")?,
    }
    Ok(None)
}

/// With what has come after it; `None` if that is no request.
fn read_request(mut stream: &TcpStream) -> io::Result<Option<(Request, Vec<u8>)>> {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD {
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => head.extend(&piece[..n]),
        }
        match Request::try_parse(&head) {
            Ok(None) => {}
            Ok(Some((size, request))) => return Ok(Some((request, head.split_off(size)))),
            Err(_) => break,
        }
    }
    Ok(None)
}

/// Browsers say which page asks; other programs need not.
fn is_from_here(request: &Request) -> bool {
    let header = |name| request.headers().get(name).map(|value| value.as_bytes());
    let origin = header("origin").map(|origin| {
        let scheme = origin.strip_prefix(b"http://");
        scheme.or(origin.strip_prefix(b"https://"))
    });
    origin.is_none_or(|host| host.is_some() && host == header("host"))
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let (length, kind) = (
        body.len(),
        if status == "200 OK" { "html" } else { "plain" },
    );
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes())
}

// ---- options ----

struct Options {
    timeout: Duration,
    idle: Duration,
    max_message: usize,
    max_clients: usize,
    addr: String,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            timeout: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
            max_message: 4096,
            max_clients: 10_000,
            addr: "127.0.0.1:8081".into(),
        };
        let number = |value: NonZeroUsize| value.get();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("timeout") => options.timeout = parser.value()?.parse_with(seconds)?,
                Long("idle") => options.idle = parser.value()?.parse_with(seconds)?,
                Long("max-message") => options.max_message = number(parser.value()?.parse()?),
                Long("max-clients") => options.max_clients = number(parser.value()?.parse()?),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                Value(addr) => options.addr = addr.string()?,
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
