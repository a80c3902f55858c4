//! Victims that wait for descriptors, children, signals, files and calls that block.

use super::common::files::Folder;
use super::common::interrupts::Trial;
use super::common::{Drops, OnDrop, LONG};
use super::{nothing, Present, MOMENT};
use multitask::net::{Server, TcpListener, TcpStream, UdpSocket};
use multitask::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use multitask::process::{Child, Command, Stdio};
use multitask::signal::{Signals, SIGUSR1};
use multitask::time::interval;
use multitask::{fs, io, task, timeout_at, yield_now};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};
// ---- streams ----

fn left_until(limit: Instant) -> Duration {
    // Zero would be no limit, or be refused.
    limit
        .saturating_duration_since(Instant::now())
        .max(Duration::from_nanos(1))
}

/// Reads for at most so long.
pub type Reads = Box<dyn Fn(&mut [u8], Option<Duration>) -> std::io::Result<usize> + Send + Sync>;
/// Writes for at most so long; closed when it is dropped.
pub type Writes = Box<dyn Fn(&[u8], Option<Duration>) -> std::io::Result<usize> + Send + Sync>;

macro_rules! streams {
    ($reader:expr, $writer:expr) => {{
        let (reader, writer) = ($reader, $writer);
        let reads: Reads = Box::new(move |buf, limit| {
            reader.set_read_timeout(limit)?;
            (&reader).read(buf)
        });
        let writes: Writes = Box::new(move |buf, limit| {
            writer.set_write_timeout(limit)?;
            (&writer).write(buf)
        });
        (reads, writes)
    }};
}

pub fn pipe() -> (Reads, Writes) {
    let (reader, writer) = io::pipe().unwrap();
    streams!(reader, writer)
}

pub fn descriptors() -> (Reads, Writes) {
    let (reader, writer) = std::io::pipe().unwrap();
    streams!(io::Fd::new(reader), io::Fd::new(writer))
}

/// As others wait for a descriptor of theirs.
pub fn watched() -> (Reads, Writes) {
    let (reader, writer) = std::io::pipe().unwrap();
    let reads: Reads = Box::new(move |buf, limit| {
        io::wait_readable(reader.as_fd(), limit)?;
        (&reader).read(buf)
    });
    let writes: Writes = Box::new(move |buf, limit| {
        io::wait_writable(writer.as_fd(), limit)?;
        (&writer).write(buf)
    });
    (reads, writes)
}

const ROOM: usize = 8 << 10;

/// Both ends have little room.
fn narrow<S: AsFd>(stream: S) -> S {
    let socket = SockRef::from(&stream);
    socket.set_send_buffer_size(ROOM).unwrap();
    socket.set_recv_buffer_size(ROOM).unwrap();
    stream
}

pub fn tcp() -> (Reads, Writes) {
    let listener = narrow(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let writer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let reader = listener.accept().unwrap().0;
    streams!(TcpStream::from(reader), TcpStream::from(narrow(writer)))
}

pub fn unix() -> (Reads, Writes) {
    let (reader, writer) = UnixStream::pair().unwrap();
    streams!(reader, narrow(writer))
}

/// Bytes that come one by one are read by the victim, and by another when it is gone.
pub fn reads((reads, writes): (Reads, Writes)) -> Trial {
    const BYTES: u8 = 12;
    let (present, gone) = Present::new();
    let (reads, log) = (Arc::new(reads), Arc::new(Mutex::new(Vec::new())));
    let (read, noted) = (reads.clone(), log.clone());
    let victim = move |limit| {
        let _present = present;
        let mut byte = [0];
        for _ in 0..6 {
            match read(&mut byte, Some(left_until(limit))) {
                Ok(n) => noted.lock().unwrap().extend_from_slice(&byte[..n]),
                Err(_late) => return,
            }
        }
    };
    let rest = log.clone();
    let reads_on = move || {
        gone.wait();
        let mut bytes = [0; 4];
        loop {
            match reads(&mut bytes, None).unwrap() {
                0 => return,
                n => rest.lock().unwrap().extend_from_slice(&bytes[..n]),
            }
        }
    };
    let write = move || {
        for byte in 0..BYTES {
            yield_now();
            assert_eq!(writes(&[byte], None).unwrap(), 1);
            yield_now();
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(write), Box::new(reads_on)],
        then: nothing(),
        end: Box::new(move || {
            let expected: Vec<u8> = (0..BYTES).collect();
            assert_eq!(*log.lock().unwrap(), expected);
        }),
    }
}

/// The victim writes more than there is room for; another reads it bit by bit, to the end.
pub fn writes((reads, writes): (Reads, Writes)) -> Trial {
    const BLOCK: usize = 16 << 10;
    const BLOCKS: usize = 8;
    let (written, read) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (count, log) = (written.clone(), read.clone());
    let victim = move |limit| {
        let bytes: Vec<u8> = (0..BLOCK * BLOCKS).map(|n| (n % 251) as u8).collect();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let block = &left[..left.len().min(BLOCK)];
            let Ok(n) = writes(block, Some(left_until(limit))) else {
                return;
            };
            count.fetch_add(n, SeqCst);
            left = &left[n..];
        }
    };
    let read_on = move || {
        let mut bytes = vec![0; BLOCK];
        loop {
            match reads(&mut bytes, None).unwrap() {
                0 => return,
                n => log.lock().unwrap().extend_from_slice(&bytes[..n]),
            }
            yield_now();
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(read_on)],
        then: nothing(),
        end: Box::new(move || {
            let read = read.lock().unwrap();
            assert_eq!(read.len(), written.load(SeqCst));
            let on = read
                .iter()
                .enumerate()
                .all(|(n, byte)| *byte == (n % 251) as u8);
            assert!(on, "in the order in which it was written");
        }),
    }
}

// ---- one by one ----

/// Waits for what is given, until then; what it returns says what that was.
pub type Takes = Box<dyn Fn(Instant) -> std::io::Result<Had> + Send + Sync>;
pub type Had = Box<dyn FnOnce() -> u8>;
pub type Gives = Box<dyn Fn(u8) + Send>;

/// What is given one by one is taken by the victim, and by another when it is gone.
pub fn takes((takes, gives): (Takes, Gives)) -> Trial {
    const ALL: u8 = 8;
    let (present, gone) = Present::new();
    let (takes, log) = (Arc::new(takes), Arc::new(Mutex::new(Vec::new())));
    let (take, noted) = (takes.clone(), log.clone());
    let victim = move |limit| {
        let _present = present;
        for _ in 0..5 {
            let Ok(had) = take(limit) else {
                return;
            };
            // What may wait here is not what is to be interrupted.
            task::shield(|| {
                let number = had();
                noted.lock().unwrap().push(number);
            });
        }
    };
    let rest = log.clone();
    let takes_on = move || {
        gone.wait();
        while rest.lock().unwrap().len() < ALL.into() {
            let number = takes(Instant::now() + LONG).unwrap()();
            rest.lock().unwrap().push(number);
        }
    };
    let give = move || {
        for number in 0..ALL {
            yield_now();
            gives(number);
            yield_now();
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(give), Box::new(takes_on)],
        then: nothing(),
        end: Box::new(move || {
            let expected: Vec<u8> = (0..ALL).collect();
            assert_eq!(*log.lock().unwrap(), expected);
        }),
    }
}

/// What a new connection begins with.
fn first_byte(mut stream: impl Read + 'static) -> Had {
    Box::new(move || {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        byte[0]
    })
}

pub fn tcp_listener() -> (Takes, Gives) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let accepts: Takes = Box::new(move |limit| Ok(first_byte(listener.accept_deadline(limit)?.0)));
    let connects: Gives = Box::new(move |byte| {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(&[byte]).unwrap();
    });
    (accepts, connects)
}

pub fn unix_listener() -> (Takes, Gives) {
    let folder = Folder::new();
    let path = folder.join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    let accepts: Takes = Box::new(move |limit| Ok(first_byte(listener.accept_deadline(limit)?.0)));
    let connects: Gives = Box::new(move |byte| {
        let _stays = &folder;
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(&[byte]).unwrap();
    });
    (accepts, connects)
}

/// A server that is stopped when three clients have been there.
pub fn serves() -> Trial {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Drops::default());
    let (begins, ends) = (begun.clone(), ended.clone());
    let seen = handle.clone();
    let handler = move |mut stream: TcpStream, _peer| {
        begins.fetch_add(1, SeqCst);
        let _ends = ends.one();
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        yield_now();
        stream.write_all(&byte)
    };
    let victim = move |limit| {
        let _in_time = timeout_at(limit, || server.serve(handler));
    };
    let clients = move || {
        for _ in 0..3 {
            let answered = TcpStream::connect(addr).and_then(|mut stream| {
                stream.write_all(b"?")?;
                stream.read_exact(&mut [0])
            });
            if answered.is_err() {
                return; // the server has gone
            }
        }
        handle.stop(LONG);
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(clients)],
        then: nothing(),
        end: Box::new(move || {
            assert_eq!(ended.count(), begun.load(SeqCst), "a handler is left");
            assert_eq!(seen.connections(), 0);
            // A child that another trial starts has a copy of the listener until it runs its program; who connects as that one goes is reset.
            let given_up = Instant::now() + Duration::from_secs(60);
            let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
            while !std::net::TcpStream::connect(addr).is_err_and(refused) {
                assert!(Instant::now() < given_up, "a listener is left");
                std::thread::yield_now();
            }
        }),
    }
}

macro_rules! datagrams {
    ($receiver:expr, $sender:expr) => {{
        let (receiver, sender) = ($receiver, $sender);
        let receives: Takes = Box::new(move |limit| {
            receiver.set_read_timeout(Some(left_until(limit)))?;
            let mut byte = [0];
            assert_eq!(receiver.recv(&mut byte)?, 1);
            Ok(Box::new(move || byte[0]))
        });
        let sends: Gives = Box::new(move |byte| assert_eq!(sender.send(&[byte]).unwrap(), 1));
        (receives, sends)
    }};
}
pub fn udp() -> (Takes, Gives) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    datagrams!(receiver, sender)
}

pub fn unix_datagrams() -> (Takes, Gives) {
    let (receiver, sender) = UnixDatagram::pair().unwrap();
    datagrams!(receiver, sender)
}

pub fn connects() -> Trial {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (had, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (present, gone) = Present::new();
    let (count, told) = (had.clone(), seen.clone());
    let victim = move |limit| {
        let _present = present;
        let _in_time = timeout_at(limit, || {
            for _ in 0..2 {
                let Ok(_stream) = TcpStream::connect(("localhost", port)) else {
                    return;
                };
                count.fetch_add(1, SeqCst);
            }
        });
    };
    // The end of each, for its only owner is gone.
    let accepts = move || loop {
        let last = gone.is();
        match listener.accept_timeout(MOMENT) {
            Ok((mut stream, _peer)) => {
                told.fetch_add(1, SeqCst);
                // An interrupted one may be reset.
                let _end = stream.read(&mut [0]);
            }
            Err(_nobody) if last => return,
            Err(_not_yet) => {}
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(accepts)],
        then: nothing(),
        end: Box::new(move || {
            let (had, seen) = (had.load(SeqCst), seen.load(SeqCst));
            assert!(seen == had || seen == had + 1, "{seen} of {had}");
        }),
    }
}

// ---- the system ----

/// What the victim lends itself, for the next one.
struct Lent<T>(Option<T>, Arc<Mutex<Option<T>>>);

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = self.0.take();
    }
}

pub fn waits_for_child() -> Trial {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    let back: Arc<Mutex<Option<Child>>> = Arc::default();
    let mut lent = Lent(Some(child), back.clone());
    let victim = move |limit| {
        let child = lent.0.as_mut().unwrap();
        if let Ok(status) = child.wait_deadline(limit) {
            assert!(status.success());
        }
        // The closure goes with its end, or when it is refused.
        drop(lent);
    };
    let ends_it = move || {
        (0..3).for_each(|_| yield_now());
        drop(input);
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(ends_it)],
        then: nothing(),
        end: Box::new(move || {
            let mut child = back.lock().unwrap().take().unwrap();
            assert!(child.wait().unwrap().success());
            assert!(child.try_wait().unwrap().unwrap().success());
        }),
    }
}

pub fn waits_for_signals() -> Trial {
    const SIGNALS: usize = 5;
    let back: Arc<Mutex<Option<Signals>>> = Arc::default();
    let mut lent = Lent(Some(Signals::new([SIGUSR1]).unwrap()), back.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let victim = move |limit| {
        let signals = lent.0.as_mut().unwrap();
        for _ in 0..3 {
            if signals.wait_deadline(limit).is_err() {
                break;
            }
            count.fetch_add(1, SeqCst);
        }
        drop(lent);
    };
    let count = told.clone();
    let waits_on = move || {
        let mut signals = loop {
            if let Some(signals) = back.lock().unwrap().take() {
                break signals;
            }
            yield_now();
        };
        while count.load(SeqCst) < SIGNALS {
            assert_eq!(signals.wait().unwrap(), SIGUSR1);
            count.fetch_add(1, SeqCst);
        }
        assert_eq!(signals.try_next(), None);
    };
    let count = told.clone();
    let raises = move || {
        for n in 0..SIGNALS {
            // Two that come together are one.
            while count.load(SeqCst) < n {
                yield_now();
            }
            yield_now();
            SIGUSR1.raise().unwrap();
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(raises), Box::new(waits_on)],
        then: nothing(),
        end: Box::new(move || assert_eq!(told.load(SeqCst), SIGNALS)),
    }
}

pub fn blocks() -> Trial {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (began, done) = (begun.clone(), ended.clone());
    let victim = move |limit| {
        let alive = AtomicBool::new(true);
        let _frame = OnDrop(|| alive.store(false, SeqCst));
        let _in_time = timeout_at(limit, || {
            for _ in 0..2 {
                task::blocking(|| {
                    began.fetch_add(1, SeqCst);
                    // It is released, or nobody is left who could.
                    let _released = held.lock().unwrap().recv();
                    assert!(alive.load(SeqCst), "it borrows what is there");
                    done.fetch_add(1, SeqCst);
                });
            }
        });
    };
    let releases = move || {
        for _ in 0..2 {
            (0..3).for_each(|_| yield_now());
            // Nobody may listen.
            let _ = release.send(());
        }
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(releases)],
        then: nothing(),
        end: Box::new(move || assert_eq!(begun.load(SeqCst), ended.load(SeqCst))),
    }
}

// ---- files ----

pub fn uses_files() -> Trial {
    let folder = Folder::new();
    let path = folder.join("written");
    let (wrote, to) = (Arc::new(AtomicUsize::new(0)), path.clone());
    let count = wrote.clone();
    let victim = move |limit| {
        let _in_time = timeout_at(limit, || {
            for n in 1..=3 {
                // From here on it is there, and whole.
                count.store(n, SeqCst);
                fs::write(&to, vec![n as u8; 1000]).unwrap();
                assert_eq!(fs::read(&to).unwrap(), vec![n as u8; 1000]);
            }
        });
    };
    Trial {
        victim: Box::new(victim),
        others: vec![],
        then: nothing(),
        end: Box::new(move || {
            let _stays = &folder;
            let last = wrote.load(SeqCst);
            match std::fs::read(&path) {
                // It may have been interrupted before it began.
                Ok(bytes) => {
                    assert!(bytes == [last as u8; 1000] || bytes == [last as u8 - 1; 1000])
                }
                Err(_none) => assert!(last <= 1),
            }
        }),
    }
}

pub fn locks_file() -> Trial {
    let folder = Folder::new();
    let path = folder.file("locked", b"");
    let open = || std::fs::File::open(&path).unwrap();
    let (other, third) = (open(), open());
    other.lock().unwrap();
    let unlocks = move || {
        interval(MOMENT).take(3).count();
        other.unlock().unwrap();
    };
    let to = path.clone();
    let victim = move |limit| {
        let _in_time = timeout_at(limit, || {
            let Ok(file) = fs::File::open(&to) else {
                return;
            };
            if file.lock().is_ok() {
                yield_now();
            }
        });
    };
    Trial {
        victim: Box::new(victim),
        others: vec![Box::new(unlocks)],
        then: nothing(),
        end: Box::new(move || {
            let _stays = &folder;
            // It hangs if it is lost. A child that another test is about to start may have it for a moment.
            third.lock().unwrap();
        }),
    }
}
