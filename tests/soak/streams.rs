//! Bytes between schedulers: none is lost or comes twice, wherever reading and writing are cut short.

use crate::arena::{Actor, Arena, Inside};
use multitask::io::{pipe, PipeReader, PipeWriter};
use multitask::net::TcpStream;
use multitask::os::unix::net::UnixStream;
use multitask::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use multitask::sync::{Arc, Mutex};
use multitask::{select, Cancelled};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What bytes go through, one way or both ways.
trait Stream: Send + Sync {
    fn read(&self, buf: &mut [u8], limit: Option<Duration>) -> io::Result<usize>;
    fn write(&self, buf: &[u8], limit: Option<Duration>) -> io::Result<usize>;
    fn end(&self);
    fn reader(&self) -> BorrowedFd<'_>;
}

macro_rules! sockets {
    ($($socket:ident)*) => {$(
        impl Stream for $socket {
            fn read(&self, buf: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
                self.set_read_timeout(limit).unwrap();
                Read::read(&mut &*self, buf)
            }

            fn write(&self, buf: &[u8], limit: Option<Duration>) -> io::Result<usize> {
                self.set_write_timeout(limit).unwrap();
                Write::write(&mut &*self, buf)
            }

            fn end(&self) {
                self.shutdown(Shutdown::Write).unwrap();
            }

            fn reader(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    )*};
}

sockets! { UnixStream TcpStream }

struct Pipe {
    reader: PipeReader,
    writer: std::sync::Mutex<Option<Arc<PipeWriter>>>,
}

impl Stream for Pipe {
    fn read(&self, buf: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        self.reader.set_read_timeout(limit).unwrap();
        Read::read(&mut &self.reader, buf)
    }

    fn write(&self, buf: &[u8], limit: Option<Duration>) -> io::Result<usize> {
        let Some(writer) = self.writer.lock().unwrap().clone() else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        writer.set_write_timeout(limit).unwrap();
        Write::write(&mut &*writer, buf)
    }

    fn end(&self) {
        self.writer.lock().unwrap().take();
    }

    fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

pub fn pipes(arena: &Arena) {
    let pipe = || {
        let (reader, writer) = pipe().unwrap();
        let writer = std::sync::Mutex::new(Some(Arc::new(writer)));
        let pipe = Arc::new(Pipe { reader, writer });
        Wire::new(pipe.clone(), pipe)
    };
    carry(arena, vec![pipe(), pipe()]);
}

pub fn unix_streams(arena: &Arena) {
    let (one, other) = UnixStream::pair().unwrap();
    carry(arena, both_ways(one, other));
}

pub fn tcp_streams(arena: &Arena) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    carry(
        arena,
        both_ways(TcpStream::from(one), TcpStream::from(other)),
    );
}

fn both_ways<S: Stream + AsFd + 'static>(one: S, other: S) -> Vec<Wire> {
    for socket in [&one, &other] {
        // So that writers have to wait.
        SockRef::from(socket).set_send_buffer_size(4096).unwrap();
    }
    let (one, other) = (Arc::new(one), Arc::new(other));
    vec![Wire::new(one.clone(), other.clone()), Wire::new(other, one)]
}

fn carry(arena: &Arena, wires: Vec<Wire>) {
    struct Wires(Vec<Wire>);
    fn step(Wires(wires): &Wires, actor: &mut Actor) {
        let wire = &wires[actor.random.below(wires.len())];
        if actor.chance(2) {
            wire.write(actor);
        } else {
            wire.read(actor);
        }
    }
    let wires = Arc::new(Wires(wires));
    arena.round(&wires, step, |wires| wires.0.iter().for_each(Wire::settle));
    wires.0.iter().for_each(Wire::check);
}

/// One direction; one writes, and one reads at a time.
struct Wire {
    from: Arc<dyn Stream>,
    to: Arc<dyn Stream>,
    written: AtomicU64,
    read: AtomicU64,
    writer: Mutex<()>,
    reader: Mutex<()>,
    writing: AtomicUsize,
    reading: AtomicUsize,
    /// Nothing is written any more.
    ended: AtomicBool,
}

/// The byte at a place in what is sent.
fn byte(place: u64) -> u8 {
    (place + place / 251) as u8
}

impl Wire {
    fn new(from: Arc<dyn Stream>, to: Arc<dyn Stream>) -> Wire {
        Wire {
            from,
            to,
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            writer: Mutex::default(),
            reader: Mutex::default(),
            writing: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    fn write(&self, actor: &mut Actor) {
        actor.at();
        let _alone = self.writer.lock().unwrap();
        for _ in 0..=actor.random.below(12) {
            actor.at();
            let _writing = Inside::of(&self.writing);
            let start = self.written.load(SeqCst);
            let end = start + 1 + actor.random.below(4000) as u64;
            let bytes: Vec<u8> = (start..end).map(byte).collect();
            match self.from.write(&bytes, limit(actor)) {
                Ok(count) => _ = self.written.fetch_add(count as u64, SeqCst),
                Err(error) => assert!(is_cut_short(&error) || self.has_ended(), "{error:?}"),
            }
        }
    }

    fn read(&self, actor: &mut Actor) {
        actor.at();
        let _alone = self.reader.lock().unwrap();
        for _ in 0..=actor.random.below(12) {
            actor.at();
            let _reading = Inside::of(&self.reading);
            if actor.chance(4) {
                select! {
                    readable(self.to.reader()) -> ready => ready.unwrap(),
                    default(actor.short()) => {}
                }
            }
            let mut bytes = vec![0; 1 + actor.random.below(8000)];
            match self.to.read(&mut bytes, limit(actor)) {
                Ok(count) => self.was_read(&bytes[..count]),
                Err(error) => assert!(is_cut_short(&error), "{error:?}"),
            }
        }
    }

    fn was_read(&self, bytes: &[u8]) {
        let start = self.read.fetch_add(bytes.len() as u64, SeqCst);
        let is_right = |(at, got): (u64, &u8)| *got == byte(at);
        assert!((start..).zip(bytes).all(is_right));
        assert!(!bytes.is_empty() || self.has_ended());
    }

    fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    fn end(&self) {
        if !self.ended.swap(true, SeqCst) {
            self.from.end();
        }
    }

    /// Whoever waits with reason goes on: nobody else writes, or reads.
    fn settle(&self) {
        let (reading, writing) = (self.reading.load(SeqCst), self.writing.load(SeqCst));
        let is_empty = self.read.load(SeqCst) >= self.written.load(SeqCst);
        // Two that wait for each other, for what has been written, or for room where there is nothing, wait for ever.
        match (reading > 0, writing > 0) {
            (true, false) if is_empty => self.end(),
            (false, true) if !is_empty => {
                let mut bytes = vec![0; 1 << 16];
                if let Ok(_alone) = self.reader.try_lock() {
                    if let Ok(count) = self.to.read(&mut bytes, Some(Duration::from_micros(200))) {
                        self.was_read(&bytes[..count]);
                    }
                }
            }
            _ => {}
        }
    }

    /// What was written is read, and then it ends.
    fn check(&self) {
        self.end();
        let mut bytes = vec![0; 1 << 16];
        loop {
            let count = self.to.read(&mut bytes, None).unwrap();
            self.was_read(&bytes[..count]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(self.read.load(SeqCst), self.written.load(SeqCst));
    }
}

fn limit(actor: &mut Actor) -> Option<Duration> {
    let limit = actor.short() + Duration::from_micros(1);
    actor.chance(3).then_some(limit)
}

/// Its time was up, or its task was cancelled where that can only be told.
fn is_cut_short(error: &io::Error) -> bool {
    let is_cancelled = error.get_ref().is_some_and(|error| error.is::<Cancelled>());
    is_cancelled || error.kind() == ErrorKind::TimedOut
}
