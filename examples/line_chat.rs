//! A chat for `nc`: what one says, all others read.
//!
//! ```text
//! cargo run --release --example line_chat [OPTION]... [ADDR]     # 127.0.0.1:7001 unless told otherwise
//! nc 127.0.0.1 7001
//! ```
//!
//! The first line that a client sends is its name. Each line after that goes to all the others; `/quit` and the end of the input
//! leave. Two tasks per client: one reads, one writes what is in the client's queue. Nobody waits for one who reads slowly:
//! when the queue is full, lines for that client are dropped, and it is told how many once there is room again. Ctrl-C ends the chat, with a
//! farewell to all.
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--timeout SECONDS` | for a client to say its name, to finish a line that it has begun, to take one that is sent to it | 30 |
//! | `--idle SECONDS` | for a client between two lines | 3600 |
//! | `--max-line BYTES` | of a line | 4096 |
//! | `--max-clients N` | who comes then waits until another one leaves | 10,000 |
//!
//! Who goes beyond is shown the door. A name is of up to 32 letters and digits, and there are three tries. What is no text, and what
//! would move a terminal's cursor, is taken out of lines. Who says more than [`RATE`] lines a second is read that slowly, and the rest waits on
//! his side. So a client costs about 18 KiB and what is in its queue, and holds its place only while it takes part.

use multitask::net::{Shutdown, TcpListener, TcpStream};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::{OwnedSemaphorePermit, Queue, Semaphore};
use multitask::{sleep, sleep_until, spawn_local, timeout, JoinHandle, Scheduler};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::process;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const USAGE: &str = "\
    usage: line_chat [--timeout SECONDS] [--idle SECONDS] [--max-line BYTES] [--max-clients N] [ADDR]";

/// Lines that wait for a client to read them.
const QUEUE: usize = 100;
/// Lines that a client may say in a second, in the long run.
const RATE: u32 = 1000;
/// How far a client may be ahead of that: 20 lines, which leave room for others in a queue.
const BURST: Duration = Duration::from_millis(20);
/// How long the farewell may take.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let listener = TcpListener::bind(&options.addr)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    println!("listening on {}", listener.local_addr()?);
    let left = Scheduler::new()?.block_on(move || -> io::Result<usize> {
        let room = Rc::new(Room {
            members: RefCell::default(),
            options,
        });
        let inside = room.clone();
        let door = spawn_local(move || receive(&listener, &inside));
        signals.wait()?;
        door.cancel(); // nobody comes in any more
        Ok(room.close())
    })?; // whoever is still connected is cancelled here, with the scheduler
    writeln!(io::stdout(), "goodbye to {left}")?;
    Ok(())
}

/// Accepts clients until it is cancelled.
fn receive(listener: &TcpListener, room: &Rc<Room>) {
    let places = Arc::new(Semaphore::new(room.options.max_clients));
    let mut short = false;
    loop {
        let place = places.clone().acquire_owned().expect("nobody closes it");
        match listener.accept() {
            Ok((stream, peer)) => {
                short = false;
                let client = Rc::new(Client {
                    stream,
                    _place: place,
                });
                let room = room.clone();
                spawn_local(move || {
                    if let Err(error) = attend(&client, &room) {
                        if !is_the_client_s_own(error.kind()) {
                            eprintln!("{peer}: {error}");
                        }
                    }
                });
            }
            // Most likely there is no descriptor left: clients wait in the kernel until one is free.
            Err(error) => {
                if !short {
                    eprintln!("accept: {error}");
                }
                short = true;
                sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Clients may go away, or be shown the door, and fill no log with it.
fn is_the_client_s_own(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        TimedOut | InvalidData | ConnectionReset | BrokenPipe | NotConnected
    )
}

/// One client, from its name to its end.
fn attend(client: &Rc<Client>, room: &Rc<Room>) -> io::Result<()> {
    let mut lines = BufReader::new(&client.stream);
    let named = timeout(room.options.timeout, || room.ask_name(client, &mut lines))?;
    let Some(seat) = named? else {
        return Ok(());
    };
    let listened = seat.listen(&mut lines);
    seat.member.end(match &listened {
        Err(error) if error.kind() == ErrorKind::TimedOut => "* you take too long: goodbye\n",
        Err(error) if error.kind() == ErrorKind::InvalidData => "* no line is that long: goodbye\n",
        _ => "* goodbye\n",
    });
    listened
}

/// A connection, and its place among the clients that there may be.
struct Client {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

/// Without its end; `None` at the end of the input.
///
/// # Errors
/// Those of reading; `InvalidData` if it is longer than that.
pub fn next_line(from: &mut impl BufRead, max: usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.take(max as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > max {
        return Err(ErrorKind::InvalidData.into());
    }
    if line.is_empty() {
        return Ok(None);
    }
    let mut line = String::from_utf8_lossy(&line).into_owned();
    line.retain(|c| !c.is_control());
    Ok(Some(line.trim_end().to_owned()))
}

// ---- who is here ----

/// All tasks are on one thread: `Rc` and `RefCell` do. But nobody waits while it is borrowed.
struct Room {
    members: RefCell<BTreeMap<String, Rc<Member>>>,
    options: Options,
}

/// What is to be written to a client.
struct Member {
    outbox: Queue<Rc<str>>,
    /// Lines that had no room in it since the last one that had.
    lost: Cell<u64>,
    /// Follows what is in the queue when that is closed.
    last_words: Cell<&'static str>,
    writer: Cell<Option<JoinHandle<()>>>,
}

/// A place in the room, which its owner leaves when this is dropped: also when its task fails, or is cancelled.
struct Seat {
    name: String,
    member: Rc<Member>,
    room: Rc<Room>,
}

impl Room {
    /// `None` if the client has left, or could not think of any.
    fn ask_name(
        self: &Rc<Self>,
        client: &Rc<Client>,
        lines: &mut impl BufRead,
    ) -> io::Result<Option<Seat>> {
        let mut out = &client.stream;
        for _ in 0..3 {
            out.write_all(b"* your name?\n")?;
            let Some(name) = next_line(lines, self.options.max_line)? else {
                return Ok(None);
            };
            if let Some(seat) = self.enter(&name, client) {
                return Ok(Some(seat));
            }
            out.write_all(b"* not that one\n")?;
        }
        Ok(None)
    }

    /// `None` if that is no name, or somebody has it.
    fn enter(self: &Rc<Self>, name: &str, client: &Rc<Client>) -> Option<Seat> {
        let is_name =
            (1..=32).contains(&name.chars().count()) && name.chars().all(char::is_alphanumeric);
        if !is_name || self.members.borrow().contains_key(name) {
            return None;
        }
        let present: Vec<_> = self.members.borrow().keys().cloned().collect();
        let member = Member::start(client.clone(), self.options.timeout);
        self.members
            .borrow_mut()
            .insert(name.to_owned(), member.clone());
        let seat = Seat {
            name: name.to_owned(),
            member,
            room: self.clone(),
        };
        let others = match &*present {
            [] => "nobody else".to_owned(),
            names => names.join(", "),
        };
        let hello = format!("* hello {name}, here: {others}\n");
        seat.member.tell(&hello.into());
        self.tell_others(name, &format!("* {name} has joined\n"));
        Some(seat)
    }

    fn tell_others(&self, name: &str, line: &str) {
        let line = Rc::from(line);
        // Collected first: each `tell` may let others run, who come and go.
        let members = self.members.borrow();
        let others = members.iter().filter(|(other, _)| *other != name);
        let others: Vec<_> = others.map(|(_, member)| member.clone()).collect();
        drop(members);
        others.iter().for_each(|member| member.tell(&line));
    }

    /// Says goodbye to all, and gives them some time to read it; how many there were.
    fn close(&self) -> usize {
        let members = self.members.take();
        for member in members.values() {
            member.end("* the chat is over: goodbye\n");
        }
        let deadline = Instant::now() + PATIENCE;
        for writer in members.values().filter_map(|member| member.writer.take()) {
            let _in_time = writer.join_deadline(deadline);
        }
        members.len()
    }
}

impl Seat {
    /// Hands on what the client says, until it leaves.
    fn listen(&self, lines: &mut impl BufRead) -> io::Result<()> {
        let options = &self.room.options;
        let mut due = Instant::now();
        loop {
            // Between lines one may be silent, within a line not.
            let ended = timeout(options.idle, || lines.fill_buf().map(<[u8]>::is_empty))??;
            let line = timeout(options.timeout, || next_line(lines, options.max_line))??;
            match line {
                Some(line) if !ended && line != "/quit" => {
                    let line = format!("{}: {line}\n", self.name);
                    self.room.tell_others(&self.name, &line);
                }
                _ => return Ok(()),
            }
            // Who says too much is read slowly.
            due = due.max(Instant::now()) + Duration::from_secs(1) / RATE;
            sleep_until(due - BURST);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.members.borrow_mut().remove(&self.name);
        self.member.end("* goodbye\n");
        let line = format!("* {} has left\n", self.name);
        self.room.tell_others(&self.name, &line);
    }
}

impl Member {
    fn start(client: Rc<Client>, limit: Duration) -> Rc<Self> {
        let member = Rc::new(Member {
            outbox: Queue::bounded(QUEUE),
            lost: Cell::new(0),
            last_words: Cell::new(""),
            writer: Cell::new(None),
        });
        let this = member.clone();
        let writer = spawn_local(move || {
            // If writing fails, reading ends as well.
            if this.write(&client.stream, limit).is_err() {
                let _gone = client.stream.shutdown(Shutdown::Both);
            }
        });
        member.writer.set(Some(writer));
        member
    }

    /// Waits for nobody: what has no room is lost, but not in silence.
    fn tell(&self, line: &Rc<str>) {
        let before = self.lost.take();
        let told = before == 0 || self.outbox.try_put(notice(before)).is_ok();
        if !told || self.outbox.try_put(line.clone()).is_err() {
            let lost = if told { 1 } else { before + 1 };
            self.lost.set(self.lost.get() + lost);
        }
    }

    /// After what is in the queue come the last words. Those that came first are the last.
    fn end(&self, last_words: &'static str) {
        if !self.outbox.is_closed() {
            self.last_words.set(last_words);
            self.outbox.close();
        }
    }

    /// Returns when the queue was closed, and all of it is written.
    fn write(&self, mut stream: &TcpStream, limit: Duration) -> io::Result<()> {
        let mut write = |line: &str| timeout(limit, || stream.write_all(line.as_bytes()))?;
        for line in &self.outbox {
            write(&line)?;
        }
        if let lost @ 1.. = self.lost.get() {
            write(&notice(lost))?;
        }
        write(self.last_words.get())?;
        stream.shutdown(Shutdown::Write)
    }
}

fn notice(lost: u64) -> Rc<str> {
    format!("* you read too slowly: {lost} lines lost\n").into()
}

// ---- options ----

struct Options {
    timeout: Duration,
    idle: Duration,
    max_line: usize,
    max_clients: usize,
    addr: String,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            timeout: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
            max_line: 4096,
            max_clients: 10_000,
            addr: "127.0.0.1:7001".into(),
        };
        let number = |value: NonZeroUsize| value.get();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("timeout") => options.timeout = parser.value()?.parse_with(seconds)?,
                Long("idle") => options.idle = parser.value()?.parse_with(seconds)?,
                Long("max-line") => options.max_line = number(parser.value()?.parse()?),
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
