//! A chat for `nc`: what one says, all others read.
//!
//! ```text
//! cargo run --release --example line_chat [ADDR]     # 127.0.0.1:7001 unless told otherwise
//! nc 127.0.0.1 7001
//! ```
//!
//! The first line that a client sends is its name. Each line after that goes to all the others; `/quit` and the end of the input
//! leave. Two tasks per client: one reads, one writes what is in the client's queue. Nobody waits for one who reads slowly:
//! when the queue is full, lines for that client are dropped, and it is told how many once there is room again. Ctrl-C ends the chat, with a
//! farewell to all.

use multitask::net::{Shutdown, TcpListener, TcpStream};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::Queue;
use multitask::{sleep, spawn_local, JoinHandle, Scheduler};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Lines that wait for a client to read them.
const QUEUE: usize = 100;
/// Bytes of a line; the rest is another line.
pub const LINE: u64 = 4096;
/// How long the farewell may take.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7001".into());
    let listener = TcpListener::bind(addr)?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    println!("listening on {}", listener.local_addr()?);
    let left = Scheduler::new()?.block_on(move || -> io::Result<usize> {
        let room = Rc::new(Room::default());
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
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let room = room.clone();
                spawn_local(move || {
                    if let Err(error) = attend(Rc::new(stream), &room) {
                        eprintln!("{peer}: {error}");
                    }
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(100));
            }
        }
    }
}

/// One client, from its name to its end.
fn attend(stream: Rc<TcpStream>, room: &Rc<Room>) -> io::Result<()> {
    let mut lines = BufReader::new(&*stream);
    let seat = loop {
        (&*stream).write_all(b"* your name?\n")?;
        let Some(name) = next_line(&mut lines)? else {
            return Ok(());
        };
        match room.enter(&name, &stream) {
            Some(seat) => break seat,
            None => (&*stream).write_all(b"* not that one\n")?,
        }
    };
    while let Some(line) = next_line(&mut lines)? {
        if line == "/quit" {
            break;
        }
        room.tell_others(&seat.name, &format!("{}: {line}\n", seat.name));
    }
    Ok(())
}

/// Without its end; `None` at the end of the input.
pub fn next_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.take(LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

// ---- who is here ----

/// All tasks are on one thread: `Rc` and `RefCell` do. But nobody waits while it is borrowed.
#[derive(Default)]
struct Room(RefCell<BTreeMap<String, Rc<Member>>>);

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
    /// `None` if that is no name, or somebody has it.
    fn enter(self: &Rc<Self>, name: &str, stream: &Rc<TcpStream>) -> Option<Seat> {
        if name.is_empty() || name.starts_with('/') || self.0.borrow().contains_key(name) {
            return None;
        }
        let present: Vec<_> = self.0.borrow().keys().cloned().collect();
        let member = Member::start(stream.clone());
        self.0.borrow_mut().insert(name.to_owned(), member.clone());
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
        let members = self.0.borrow();
        let others = members.iter().filter(|(other, _)| *other != name);
        let others: Vec<_> = others.map(|(_, member)| member.clone()).collect();
        drop(members);
        others.iter().for_each(|member| member.tell(&line));
    }

    /// Says goodbye to all, and gives them some time to read it; how many there were.
    fn close(&self) -> usize {
        let members = self.0.take();
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

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.0.borrow_mut().remove(&self.name);
        self.member.end("* goodbye\n");
        let line = format!("* {} has left\n", self.name);
        self.room.tell_others(&self.name, &line);
    }
}

impl Member {
    fn start(stream: Rc<TcpStream>) -> Rc<Self> {
        let member = Rc::new(Member {
            outbox: Queue::bounded(QUEUE),
            lost: Cell::new(0),
            last_words: Cell::new(""),
            writer: Cell::new(None),
        });
        let this = member.clone();
        let writer = spawn_local(move || {
            // If writing fails, reading ends as well.
            if this.write(&stream).is_err() {
                let _gone = stream.shutdown(Shutdown::Both);
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
    fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        for line in &self.outbox {
            stream.write_all(line.as_bytes())?;
        }
        if let lost @ 1.. = self.lost.get() {
            stream.write_all(notice(lost).as_bytes())?;
        }
        stream.write_all(self.last_words.get().as_bytes())?;
        stream.shutdown(Shutdown::Write)
    }
}

fn notice(lost: u64) -> Rc<str> {
    format!("* you read too slowly: {lost} lines lost\n").into()
}
