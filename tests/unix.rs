//! `multitask::os::unix::net` through the public face: the same as std's to the compiler, the same answers, and waits that stop one task
//! only.
//!
//! Nothing sleeps to let things settle: where a scheduler has one worker, a task that has said what it is about to do is waiting once
//! another one runs. Where it has several that task may be on its way; what is tested holds then, too.

mod common;

use common::files::Folder;
use common::sockets::*;
use multitask::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use multitask::{spawn, yield_now, Cancelled, JoinError, JoinHandle, Timeout};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{process, thread};

// ---- Drop-in: one text, compiled and run for std::os::unix::net and for multitask::os::unix::net ----

/// A module that uses everything stable of `std::os::unix::net`, by the signatures that std 1.95 has.
///
/// `signatures` is the proof to the compiler, `behaviour` the answers of a run, to be compared.
macro_rules! everything_in {
    ($name:ident, $($net:ident)::+) => {
        mod $name {
            use crate::common::sockets::told;
            use std::fmt::Debug;
            use std::io::{self, IoSlice, IoSliceMut, Read, Write};
            use std::net::Shutdown;
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
            #[cfg(target_os = "linux")]
            use std::os::linux::net::SocketAddrExt;
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::path::{Path, PathBuf};
            use std::time::Duration;
            use $($net)::+::{Incoming, SocketAddr, UnixDatagram, UnixListener, UnixStream};

            pub fn signatures() {
                type Result<T> = io::Result<T>;
                type Limit = Option<Duration>;

                let _: fn(&SocketAddr) -> Result<UnixListener> = UnixListener::bind_addr;
                let _: fn(&UnixListener) -> Result<(UnixStream, SocketAddr)> = UnixListener::accept;
                let _: fn(&UnixListener) -> Result<UnixListener> = UnixListener::try_clone;
                let _: fn(&UnixListener) -> Result<SocketAddr> = UnixListener::local_addr;
                let _: fn(&UnixListener, bool) -> Result<()> = UnixListener::set_nonblocking;
                let _: fn(&UnixListener) -> Result<Option<io::Error>> = UnixListener::take_error;
                let _: for<'a> fn(&'a UnixListener) -> Incoming<'a> = UnixListener::incoming;
                let _: for<'a> fn(&'a UnixListener) -> Incoming<'a> = |listener| listener.into_iter();

                let _: fn(&SocketAddr) -> Result<UnixStream> = UnixStream::connect_addr;
                let _: fn() -> Result<(UnixStream, UnixStream)> = UnixStream::pair;
                let _: fn(&UnixStream) -> Result<UnixStream> = UnixStream::try_clone;
                let _: fn(&UnixStream) -> Result<SocketAddr> = UnixStream::local_addr;
                let _: fn(&UnixStream) -> Result<SocketAddr> = UnixStream::peer_addr;
                let _: fn(&UnixStream, Limit) -> Result<()> = UnixStream::set_read_timeout;
                let _: fn(&UnixStream, Limit) -> Result<()> = UnixStream::set_write_timeout;
                let _: fn(&UnixStream) -> Result<Limit> = UnixStream::read_timeout;
                let _: fn(&UnixStream) -> Result<Limit> = UnixStream::write_timeout;
                let _: fn(&UnixStream, bool) -> Result<()> = UnixStream::set_nonblocking;
                let _: fn(&UnixStream) -> Result<Option<io::Error>> = UnixStream::take_error;
                let _: fn(&UnixStream, Shutdown) -> Result<()> = UnixStream::shutdown;

                let _: fn(&SocketAddr) -> Result<UnixDatagram> = UnixDatagram::bind_addr;
                let _: fn() -> Result<UnixDatagram> = UnixDatagram::unbound;
                let _: fn() -> Result<(UnixDatagram, UnixDatagram)> = UnixDatagram::pair;
                let _: fn(&UnixDatagram, &SocketAddr) -> Result<()> = UnixDatagram::connect_addr;
                let _: fn(&UnixDatagram) -> Result<UnixDatagram> = UnixDatagram::try_clone;
                let _: fn(&UnixDatagram) -> Result<SocketAddr> = UnixDatagram::local_addr;
                let _: fn(&UnixDatagram) -> Result<SocketAddr> = UnixDatagram::peer_addr;
                let _: fn(&UnixDatagram, &mut [u8]) -> Result<(usize, SocketAddr)> = UnixDatagram::recv_from;
                let _: fn(&UnixDatagram, &mut [u8]) -> Result<usize> = UnixDatagram::recv;
                let _: fn(&UnixDatagram, &[u8], &SocketAddr) -> Result<usize> = UnixDatagram::send_to_addr;
                let _: fn(&UnixDatagram, &[u8]) -> Result<usize> = UnixDatagram::send;
                let _: fn(&UnixDatagram, Limit) -> Result<()> = UnixDatagram::set_read_timeout;
                let _: fn(&UnixDatagram, Limit) -> Result<()> = UnixDatagram::set_write_timeout;
                let _: fn(&UnixDatagram) -> Result<Limit> = UnixDatagram::read_timeout;
                let _: fn(&UnixDatagram) -> Result<Limit> = UnixDatagram::write_timeout;
                let _: fn(&UnixDatagram, bool) -> Result<()> = UnixDatagram::set_nonblocking;
                let _: fn(&UnixDatagram) -> Result<Option<io::Error>> = UnixDatagram::take_error;
                let _: fn(&UnixDatagram, Shutdown) -> Result<()> = UnixDatagram::shutdown;

                let _: fn(&'static Path) -> Result<SocketAddr> = SocketAddr::from_pathname;
                let _: fn(&SocketAddr) -> bool = SocketAddr::is_unnamed;
                let _: fn(&SocketAddr) -> Option<&Path> = SocketAddr::as_pathname;

                socket::<UnixListener>();
                socket::<UnixStream>();
                socket::<UnixDatagram>();
                stream::<UnixStream>();
                stream::<&'static UnixStream>();
                iterator::<Incoming<'static>>();
                path::<&'static str>();
                path::<PathBuf>();
            }

            fn socket<T>()
            where
                T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static,
                T: AsFd + AsRawFd + FromRawFd + IntoRawFd + From<OwnedFd> + Into<OwnedFd>,
            {
                let _: for<'a> fn(&'a T) -> BorrowedFd<'a> = T::as_fd;
                let _: unsafe fn(RawFd) -> T = T::from_raw_fd;
            }

            fn stream<T: Read + Write>() {
                let _: fn(&mut T, &mut [u8]) -> io::Result<usize> = T::read;
                let _: for<'a, 'b, 'c> fn(&'a mut T, &'b mut [IoSliceMut<'c>]) -> io::Result<usize> = T::read_vectored;
                let _: for<'a, 'b, 'c> fn(&'a mut T, &'b [IoSlice<'c>]) -> io::Result<usize> = T::write_vectored;
            }

            fn iterator<T>()
            where
                T: Iterator<Item = io::Result<UnixStream>> + Debug,
                T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe,
            {
            }

            fn path<T: AsRef<Path>>() {
                let _: fn(T) -> io::Result<UnixListener> = UnixListener::bind::<T>;
                let _: fn(T) -> io::Result<UnixStream> = UnixStream::connect::<T>;
                let _: fn(T) -> io::Result<UnixDatagram> = UnixDatagram::bind::<T>;
                let _: fn(&UnixDatagram, T) -> io::Result<()> = UnixDatagram::connect::<T>;
                let _: fn(&UnixDatagram, &[u8], T) -> io::Result<usize> = UnixDatagram::send_to::<T>;
            }

            /// What a program sees of it all in an empty directory: the answers, without the numbers that differ from run to run.
            pub fn behaviour(dir: &Path) -> io::Result<Vec<String>> {
                let mut seen = Vec::new();
                macro_rules! see {
                    ($result:expr) => {
                        seen.push(format!("{}: {}", stringify!($result), told($result)))
                    };
                }
                let mut buf = [0; 4];
                let long = "x".repeat(200);

                // Streams.
                let path = dir.join("listener");
                let listener = UnixListener::bind(&path)?;
                let mut client = UnixStream::connect(&path)?;
                let (mut server, peer) = listener.accept()?;
                see!(Ok(&listener));
                see!(Ok(&client));
                see!(Ok(&server));
                see!(Ok(&peer));
                see!(Ok((peer.is_unnamed(), peer.as_pathname())));
                see!(Ok(listener.incoming()));
                see!(Ok(listener.incoming().size_hint()));
                see!(listener.local_addr());
                see!(client.local_addr());
                see!(client.peer_addr());
                see!(server.local_addr());
                see!(server.peer_addr());
                see!(listener.take_error());
                see!(client.take_error());
                see!(client.set_read_timeout(Some(Duration::ZERO)));
                see!(client.set_write_timeout(Some(Duration::ZERO)));
                see!(client.read_timeout());
                see!(client.set_read_timeout(Some(Duration::from_secs(7))));
                see!(client.set_write_timeout(Some(Duration::from_secs(9))));
                see!(client.try_clone()?.read_timeout());
                see!(client.try_clone()?.write_timeout());
                see!(client.set_read_timeout(None));
                see!(client.write(b"one two three"));
                see!(server.read(&mut buf));
                see!(Ok(buf));
                let (mut a, mut b) = ([0; 2], [0; 3]);
                see!(server.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]));
                see!(Ok((a, b)));
                see!((&server).write_vectored(&[IoSlice::new(b"four "), IoSlice::new(b"five")]));
                see!(server.flush());
                see!(client.try_clone()?.read(&mut [0; 64]));
                client.try_clone()?.set_nonblocking(true)?;
                see!(client.read(&mut buf));
                client.set_nonblocking(false)?;
                listener.set_nonblocking(true)?;
                see!(listener.accept());
                see!(Ok((&listener).into_iter().next().unwrap().map_err(|e| e.kind())));
                listener.set_nonblocking(false)?;
                see!(client.shutdown(Shutdown::Write));
                see!(client.write(b"more"));
                see!(io::read_to_string(&server));
                see!(server.write(b"answer"));
                drop(server);
                see!(io::read_to_string(&mut client));
                see!(client.write(b"more"));
                see!(UnixListener::bind(&path));
                see!(UnixListener::bind(dir.join("none/such")));
                see!(UnixListener::bind(&long));
                see!(UnixListener::bind("a\0b"));
                see!(UnixStream::connect(dir.join("none")));
                see!(UnixStream::connect(dir));
                see!(UnixStream::connect(&long));
                see!(UnixStream::connect("a\0b"));
                see!(UnixStream::connect("\0b"));
                see!(UnixStream::connect(""));

                // A peer with a name.
                let named = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                named.bind(&socket2::SockAddr::unix(dir.join("named"))?)?;
                named.connect(&socket2::SockAddr::unix(&path)?)?;
                see!(listener.accept());
                drop(listener);
                see!(UnixStream::connect(&path));

                // Abstract addresses.
                #[cfg(target_os = "linux")]
                {
                    let name = dir.as_os_str().as_encoded_bytes();
                    let addr = SocketAddr::from_abstract_name(name)?;
                    see!(Ok((&addr, addr.as_abstract_name() == Some(name))));
                    see!(UnixStream::connect_addr(&addr));
                    let listener = UnixListener::bind_addr(&addr)?;
                    see!(UnixListener::bind_addr(&addr));
                    let from = SocketAddr::from_abstract_name([name, b"\0peer"].concat())?;
                    let named = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
                    let mut raw = vec![0];
                    raw.extend_from_slice(from.as_abstract_name().unwrap());
                    let raw: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&raw[..]);
                    named.bind(&socket2::SockAddr::unix(raw)?)?;
                    let client = UnixStream::connect_addr(&addr)?;
                    see!(listener.accept());
                    let mut target = vec![0];
                    target.extend_from_slice(name);
                    let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&target[..]);
                    named.connect(&socket2::SockAddr::unix(target)?)?;
                    see!(listener.accept());
                    see!(Ok(&client));
                    let datagram = UnixDatagram::bind_addr(&from);
                    see!(datagram);
                }
                see!(UnixStream::connect_addr(&SocketAddr::from_pathname("")?));

                // Datagrams.
                let path = dir.join("datagram");
                let server = UnixDatagram::bind(&path)?;
                let client = UnixDatagram::unbound()?;
                see!(Ok(&server));
                see!(Ok(&client));
                see!(server.local_addr());
                see!(client.local_addr());
                see!(client.peer_addr());
                see!(client.send(b"to nobody"));
                see!(client.send_to(b"one", &path));
                see!(client.send_to_addr(b"", &server.local_addr()?));
                see!(client.send_to(b"longer than four", &path));
                see!(server.recv_from(&mut buf));
                see!(server.recv_from(&mut buf));
                see!(server.recv_from(&mut buf));
                see!(Ok(buf));
                see!(client.send_to(b"x", dir.join("none")));
                see!(client.send_to(b"x", &long));
                see!(client.send_to(b"x", "a\0b"));
                see!(client.send_to(b"x", dir.join("named")));
                see!(client.send_to(&vec![0; 1 << 20], &path));
                see!(client.connect(dir.join("none")));
                see!(client.connect(&path));
                see!(client.connect_addr(&server.local_addr()?));
                see!(client.peer_addr());
                see!(Ok(&client));
                see!(client.send(b"two"));
                see!(server.recv(&mut buf));
                see!(client.set_read_timeout(Some(Duration::ZERO)));
                see!(client.set_write_timeout(Some(Duration::ZERO)));
                see!(client.set_read_timeout(Some(Duration::from_secs(7))));
                see!(client.set_write_timeout(Some(Duration::from_secs(9))));
                see!(client.try_clone()?.read_timeout());
                see!(client.try_clone()?.write_timeout());
                see!(client.take_error());
                server.set_nonblocking(true)?;
                see!(server.recv(&mut buf));
                see!(server.recv_from(&mut buf));
                let (one, other) = UnixDatagram::pair()?;
                see!(other.send(b"before the end"));
                see!(one.shutdown(Shutdown::Read));
                see!(one.recv(&mut buf));
                see!(one.recv(&mut buf));
                see!(one.recv_from(&mut buf));
                one.set_nonblocking(true)?;
                see!(one.recv(&mut buf));
                see!(other.send(b"after it"));
                see!(server.shutdown(Shutdown::Both));
                drop(server);
                see!(client.send(b"gone"));
                see!(UnixDatagram::bind(&path));
                see!(UnixDatagram::bind("").map(drop)); // the system chooses a name
                let (one, other) = UnixDatagram::pair()?;
                see!(Ok(&one));
                see!(one.send(b"pair"));
                see!(other.recv_from(&mut buf));
                drop(one);
                see!(other.send(b"gone"));

                // Descriptors.
                let (one, other) = UnixStream::pair()?;
                see!(Ok(&one));
                let fd = one.as_raw_fd();
                let raw = UnixStream::from(OwnedFd::from(one)).into_raw_fd();
                see!(Ok(fd == raw));
                // SAFETY: `into_raw_fd` gave the descriptor up.
                let mut one = unsafe { UnixStream::from_raw_fd(raw) };
                see!(one.write(b"still there"));
                see!(Ok(other.as_fd().as_raw_fd() == other.as_raw_fd()));
                let null = || std::fs::File::open("/dev/null").map(OwnedFd::from);
                see!(UnixStream::from(null()?).read(&mut buf));
                see!(UnixDatagram::from(null()?).recv(&mut buf));
                see!(UnixListener::from(null()?).accept());
                let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
                let client = std::net::TcpStream::connect(listener.local_addr()?)?;
                see!(UnixListener::from(OwnedFd::from(listener)).accept());
                drop(client);
                Ok(seen)
            }
        }
    };
}

everything_in!(of_std, std::os::unix::net);
everything_in!(of_multitask, multitask::os::unix::net);

#[test]
fn everything_of_stds_unix_sockets_exists_with_the_same_signatures() {
    of_std::signatures();
    of_multitask::signatures();
}

#[test]
fn a_program_gets_the_same_answers_from_both_on_a_thread_and_in_a_task() {
    // One after the other in one place, for the path is part of the answers.
    let folder = Folder::new();
    let dir = folder.join("answers");
    let behaviour = |of: fn(&Path) -> io::Result<Vec<String>>| {
        fs::create_dir(&dir).unwrap();
        let dir = dir.clone();
        move || {
            let answers = of(&dir).unwrap();
            fs::remove_dir_all(&dir).unwrap();
            answers
        }
    };
    let expected = behaviour(of_std::behaviour)();
    let on_a_thread = thread::spawn(behaviour(of_multitask::behaviour));
    assert_eq!(on_a_thread.join().unwrap(), expected);
    let in_a_task = in_tasks(behaviour(of_multitask::behaviour));
    assert_eq!(in_a_task, expected);
}

// ---- Streams ----

#[test]
fn a_hundred_clients_are_echoed_by_tasks_of_one_thread() {
    in_tasks_of_one_thread(|| {
        let dir = Folder::new();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        let server = spawn(move || {
            for stream in listener.incoming().take(100) {
                spawn(move || echo(stream.unwrap()));
            }
        });
        let clients: Vec<_> = (0..100u32)
            .map(|n| {
                let path = dir.join("s");
                spawn(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    for round in 0..10 {
                        assert_echoed(&mut stream, &(n * 1000 + round).to_le_bytes());
                    }
                    thread::current().id()
                })
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), thread::current().id());
        }
        server.join().unwrap();
    });
}

#[test]
fn plain_threads_without_a_scheduler_talk_to_each_other() {
    let _watch = watch();
    let dir = Folder::new();
    let listener = UnixListener::bind(dir.join("s")).unwrap();
    let server = thread::spawn(move || echo(listener.accept().unwrap().0));
    let mut stream = UnixStream::connect(dir.join("s")).unwrap();
    assert_echoed(&mut stream, b"no tasks here");
    stream.set_read_timeout(Some(SHORT)).unwrap();
    assert_timed_out(stream.read(&mut [0]));
    assert_echoed(&mut stream, b"nor here");
    drop(stream);
    server.join().unwrap();
}

#[test]
fn a_plain_thread_and_a_task_talk_to_each_other() {
    let dir = Folder::new();
    let listener = UnixListener::bind(dir.join("s")).unwrap();
    let path = dir.join("s");
    let client = thread::spawn(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        assert_echoed(&mut stream, b"from a thread");
    });
    in_tasks(move || echo(listener.accept().unwrap().0));
    client.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_addresses_are_bound_connected_and_sent_to_and_need_no_path() {
    in_tasks(|| {
        let name = |what| format!("multitask-test-{what}-{}", process::id());
        let addr = SocketAddr::from_abstract_name(name("stream")).unwrap();
        let listener = UnixListener::bind_addr(&addr).unwrap();
        let accept = waiting(move || echo(listener.accept().unwrap().0));
        let mut stream = UnixStream::connect_addr(&addr).unwrap();
        assert_echoed(&mut stream, b"abstract");
        drop(stream);
        accept.join().unwrap();

        let addr = SocketAddr::from_abstract_name(name("datagram")).unwrap();
        let receiver = UnixDatagram::bind_addr(&addr).unwrap();
        let from = SocketAddr::from_abstract_name(name("sender")).unwrap();
        let sender = UnixDatagram::bind_addr(&from).unwrap();
        let receive = waiting(move || receiver.recv_from(&mut [0; 8]).unwrap());
        sender.send_to_addr(b"abstract", &addr).unwrap();
        let (n, seen) = receive.join().unwrap();
        assert_eq!(n, 8);
        assert_eq!(seen.as_abstract_name(), from.as_abstract_name());
    });
}

#[test]
fn a_path_in_use_and_one_that_nobody_listens_at_fail_that_call_only() {
    in_tasks(|| {
        let dir = Folder::new();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        let kind = |error: io::Error| error.kind();
        let again = UnixListener::bind(dir.join("s")).unwrap_err();
        assert_eq!(kind(again), ErrorKind::AddrInUse);
        let again = UnixDatagram::bind(dir.join("s")).unwrap_err();
        assert_eq!(kind(again), ErrorKind::AddrInUse);
        let none = UnixStream::connect(dir.join("none")).unwrap_err();
        assert_eq!(kind(none), ErrorKind::NotFound);

        let mut stream = UnixStream::connect(dir.join("s")).unwrap();
        let server = spawn(move || echo(listener.accept().unwrap().0));
        assert_echoed(&mut stream, b"still here");
        drop(stream);
        server.join().unwrap();
        let left = UnixStream::connect(dir.join("s")).unwrap_err();
        assert_eq!(kind(left), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_peer_that_speaks_and_closes_at_once_is_read_to_the_end_by_a_waiting_task() {
    in_tasks(|| {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let text = waiting(move || {
            let (mut all, mut piece) = (Vec::new(), [0; 4]);
            loop {
                match reader.read(&mut piece).unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&piece[..n]),
                }
            }
        });
        writer.write_all(b"last words").unwrap();
        drop(writer); // no suspension since the write: one event tells of both
        assert_eq!(text.join().unwrap(), b"last words");
    });
}

#[test]
fn a_peer_that_closes_fails_the_task_that_waits_to_write_to_it() {
    in_tasks(|| {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        fill(
            || writer.set_nonblocking(true),
            || (&writer).write(&[0; 1000]),
        );
        writer.set_nonblocking(false).unwrap();
        let write = waiting(move || writer.write(&[0; 1000]));
        drop(reader);
        let kind = write.join().unwrap().unwrap_err().kind();
        // Reset, if the system counts what was never read.
        assert!(matches!(
            kind,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ));
    });
}

#[test]
fn a_large_write_to_a_slow_reader_lets_other_tasks_run() {
    const SIZE: usize = 4 << 20;
    in_tasks(|| {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let ticks = Arc::new(AtomicUsize::new(0));
        let ticker = spawn({
            let ticks = ticks.clone();
            move || loop {
                ticks.fetch_add(1, SeqCst);
                yield_now();
            }
        });
        let write = spawn(move || {
            let data: Vec<u8> = (0..SIZE).map(|n| n as u8).collect();
            writer.write_all(&data).unwrap();
        });
        // The reader stirs only when others have run: were the thread held by the write, that would be never.
        let mut data = vec![0; SIZE];
        for piece in data.chunks_mut(SIZE / 4) {
            let before = ticks.load(SeqCst);
            until(|| ticks.load(SeqCst) >= before + 3);
            reader.read_exact(piece).unwrap();
        }
        assert!(data.iter().enumerate().all(|(n, byte)| *byte == n as u8));
        write.join().unwrap();
        ticker.cancel();
    });
}

#[test]
fn vectored_reads_and_writes_wait_and_move_several_buffers_at_once() {
    in_tasks(|| {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        let read = waiting(move || {
            let (mut a, mut b) = ([0; 3], [0; 8]);
            let n = reader
                .read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)])
                .unwrap();
            (n, a, b)
        });
        let parts = [IoSlice::new(b"on"), IoSlice::new(b"e two")];
        assert_eq!(writer.write_vectored(&parts).unwrap(), 7);
        assert_eq!(read.join().unwrap(), (7, *b"one", *b" two\0\0\0\0"));
    });
}

#[test]
fn ending_a_stream_through_a_clone_wakes_the_task_that_reads() {
    for how in [Shutdown::Read, Shutdown::Both] {
        in_tasks(move || {
            let (mut reader, _peer) = UnixStream::pair().unwrap();
            let clone = reader.try_clone().unwrap();
            let read = waiting(move || reader.read(&mut [0; 8]));
            clone.shutdown(how).unwrap();
            assert_eq!(read.join().unwrap().unwrap(), 0, "{how:?}");
        });
    }
}

#[test]
fn several_tasks_accepting_from_one_listener_get_one_connection_each() {
    in_tasks(|| {
        let dir = Folder::new();
        let listener = Arc::new(UnixListener::bind(dir.join("s")).unwrap());
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = Arc::clone(&listener);
                waiting(move || listener.accept().unwrap().0)
            })
            .collect();
        for n in 0..4 {
            let mut stream = UnixStream::connect(dir.join("s")).unwrap();
            stream.write_all(&[n]).unwrap();
        }
        let mut heard: Vec<_> = acceptors
            .into_iter()
            .map(|task| io::read_to_string(task.join().unwrap()).unwrap())
            .collect();
        heard.sort();
        assert_eq!(heard, ["\0", "\u{1}", "\u{2}", "\u{3}"]);
    });
}

#[test]
fn an_accept_that_times_out_says_so_and_leaves_the_listener_usable() {
    in_tasks(|| {
        let dir = Folder::new();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        assert_timed_out(listener.accept_timeout(SHORT));
        assert_timed_out(listener.accept_timeout(Duration::ZERO));
        assert_timed_out(listener.accept_deadline(Instant::now() + SHORT));
        let scope = multitask::timeout(SHORT, || listener.accept().is_ok());
        assert_eq!(scope, Err(Timeout));
        let _client = UnixStream::connect(dir.join("s")).unwrap();
        listener.accept_deadline(Instant::now()).unwrap(); // looks once all the same
        let _other = UnixStream::connect(dir.join("s")).unwrap();
        listener.accept_timeout(Duration::MAX).unwrap();
    });
}

#[test]
fn a_listener_taken_in_with_a_timeout_keeps_it_and_passes_it_on() {
    in_tasks(|| {
        let dir = Folder::new();
        let listener = net::UnixListener::bind(dir.join("s")).unwrap();
        socket2::SockRef::from(&listener)
            .set_read_timeout(Some(SHORT * 5))
            .unwrap();
        let listener = UnixListener::from(listener);
        assert_timed_out(listener.accept());
        let _client = UnixStream::connect(dir.join("s")).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read_timeout().unwrap().is_some());
        assert_timed_out(stream.read(&mut [0]));
    });
}

#[test]
fn a_connect_to_a_full_backlog_waits_until_somebody_accepts() {
    in_tasks(|| {
        let full = Full::new();
        let mut connect = waiting(full.connecting());
        let_events_pass();
        assert!(!connect.is_finished());
        // One place becomes free, and it gets that: nobody else asks.
        let _oldest = full.listener.accept().unwrap();
        let mut stream = connect.join().unwrap().unwrap();
        stream.write_all(b"in").unwrap();

        connect = waiting(full.connecting());
        connect.cancel();
        assert!(matches!(connect.join(), Err(JoinError::Cancelled)));
        let scope = multitask::timeout(SHORT, full.connecting());
        assert_eq!(scope.map(|_| ()), Err(Timeout));
    });
}

#[test]
fn a_connect_to_a_full_backlog_waits_on_a_plain_thread_too() {
    let _watch = watch();
    let full = Full::new();
    let scope = multitask::timeout(SHORT, full.connecting());
    assert_eq!(scope.map(|_| ()), Err(Timeout));
    let connect = thread::spawn(full.connecting());
    let _oldest = full.listener.accept().unwrap();
    connect.join().unwrap().unwrap();
}

#[test]
fn a_connect_whose_listener_goes_while_it_waits_is_refused() {
    in_tasks(|| {
        let full = Full::new();
        let connect = waiting(full.connecting());
        drop(full);
        let error = connect.join().unwrap().unwrap_err();
        // The path goes with it.
        assert!(matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound
        ));
    });
}

#[test]
fn a_connect_in_the_destructor_of_a_cancelled_task_fails_instead_of_waiting() {
    in_tasks(|| {
        let full = Full::new();
        let (connect, answer) = (full.connecting(), Arc::new(OnceLock::new()));
        let told = Arc::clone(&answer);
        let task = waiting(move || {
            let mut connect = Some(connect);
            let _last = common::OnDrop(move || {
                told.set(connect.take().unwrap()().map(drop)).unwrap();
            });
            multitask::task::park();
        });
        task.cancel();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        let error = answer.get().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.get_ref().unwrap().is::<Cancelled>());
    });
}

/// The kernel reports room in the sender's own buffer after each failed try, and a connection that waits as hung up.
#[cfg(target_os = "linux")]
#[test]
fn waiting_for_room_at_another_socket_takes_no_processor_time() {
    fn idle(wait: impl FnOnce()) {
        let time = || -> Duration {
            let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
        };
        let before = time();
        wait();
        let taken = time() - before;
        assert!(taken < SHORT * 2, "{taken:?}");
    }
    let wait = || {
        let full = Full::new();
        let connect = full.connecting();
        idle(|| {
            multitask::timeout(SHORT * 10, connect).unwrap_err();
        });
        for connected in [false, true] {
            let crowd = Crowd::new();
            let sender = crowd.sender(connected);
            sender.set_write_timeout(Some(SHORT * 10)).unwrap();
            idle(|| assert_timed_out(crowd.send(&sender, connected)));
        }
    };
    in_tasks(wait);
    thread::spawn(wait).join().unwrap();
}

// ---- Datagrams ----

#[test]
fn a_datagram_longer_than_the_buffer_is_cut_and_an_empty_one_answers_zero() {
    in_tasks(|| {
        let (receiver, sender) = UnixDatagram::pair().unwrap();
        let receive = waiting(move || {
            let mut buf = [0; 4];
            assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
            assert_eq!(&buf, b"long");
            assert_eq!(receiver.recv(&mut buf).unwrap(), 0);
            assert_eq!(receiver.recv_from(&mut buf).unwrap().0, 3);
        });
        for data in [&b"longer than four"[..], b"", b"not"] {
            sender.send(data).unwrap();
        }
        receive.join().unwrap();
    });
}

#[test]
fn ending_a_socket_through_a_clone_wakes_the_tasks_that_receive() {
    for how in [Shutdown::Read, Shutdown::Both] {
        in_tasks(move || {
            let (receiver, _sender) = UnixDatagram::pair().unwrap();
            let clone = receiver.try_clone().unwrap();
            let other = receiver.try_clone().unwrap();
            let recv = waiting(move || receiver.recv(&mut [0; 8]).unwrap());
            let recv_from = waiting(move || other.recv_from(&mut [0; 8]).unwrap());
            clone.shutdown(how).unwrap();
            assert_eq!(recv.join().unwrap(), 0);
            let (n, from) = recv_from.join().unwrap();
            assert!(n == 0 && from.is_unnamed());
        });
    }
}

#[test]
fn several_tasks_receiving_on_one_socket_get_each_datagram_once() {
    in_tasks(|| {
        let (receiver, sender) = UnixDatagram::pair().unwrap();
        let receiver = Arc::new(receiver);
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                spawn(move || {
                    let (mut sum, mut byte) = (0u32, [0]);
                    while receiver.recv(&mut byte).unwrap() == 1 {
                        sum += u32::from(byte[0]);
                    }
                    sum
                })
            })
            .collect();
        for n in 1..=100 {
            sender.send(&[n]).unwrap();
            yield_now();
        }
        for _ in 0..4 {
            sender.send(b"").unwrap(); // the last word to each
        }
        let sum: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 5050);
    });
}

#[test]
fn a_send_to_a_full_queue_waits_until_the_receiver_takes_something() {
    for connected in [false, true] {
        in_tasks(move || {
            let crowd = Crowd::new();
            let sender = crowd.sender(connected);
            sender.set_write_timeout(Some(SHORT)).unwrap();
            assert_timed_out(crowd.send(&sender, connected));
            sender.set_write_timeout(None).unwrap();

            let send = crowd.sending(sender, connected);
            let_events_pass();
            assert!(!send.is_finished());
            crowd.receiver.recv(&mut [0; 8]).unwrap();
            assert_eq!(send.join().unwrap().unwrap(), 4);
        });
    }
}

#[test]
fn a_send_to_a_full_queue_waits_on_a_plain_thread_too() {
    let _watch = watch();
    for connected in [false, true] {
        let crowd = Crowd::new();
        let sender = crowd.sender(connected);
        sender.set_write_timeout(Some(SHORT)).unwrap();
        assert_timed_out(crowd.send(&sender, connected));
        sender.set_write_timeout(None).unwrap();
        let path = crowd.path.clone();
        let send = thread::spawn(move || match connected {
            true => sender.send(b"late"),
            false => sender.send_to(b"late", path),
        });
        crowd.receiver.recv(&mut [0; 8]).unwrap();
        assert_eq!(send.join().unwrap().unwrap(), 4);
    }
}

#[test]
fn a_receiver_that_goes_fails_the_task_that_waits_to_send_to_it() {
    for connected in [false, true] {
        in_tasks(move || {
            let crowd = Crowd::new();
            let send = crowd.sending(crowd.sender(connected), connected);
            let Crowd { receiver, _dir, .. } = crowd;
            drop(receiver);
            let error = send.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
    }
}

#[test]
fn a_task_cancelled_while_it_waits_to_send_has_sent_nothing() {
    for connected in [false, true] {
        in_tasks(move || {
            let crowd = Crowd::new();
            let send = crowd.sending(crowd.sender(connected), connected);
            send.cancel();
            assert!(matches!(send.join(), Err(JoinError::Cancelled)));
            crowd.receiver.set_nonblocking(true).unwrap();
            let mut buf = [0; 8];
            while let Ok(n) = crowd.receiver.recv(&mut buf) {
                assert_ne!(&buf[..n], b"late");
            }
        });
    }
}

#[test]
fn a_non_blocking_socket_answers_would_block_and_never_waits() {
    in_tasks(|| {
        let crowd = Crowd::new();
        let sender = crowd.sender(false);
        let would_block = |error: io::Error| assert_eq!(error.kind(), ErrorKind::WouldBlock);
        sender.set_nonblocking(true).unwrap();
        would_block(sender.send_to(b"late", &crowd.path).unwrap_err());
        would_block(sender.recv(&mut [0]).unwrap_err());
        would_block(sender.recv_from(&mut [0]).unwrap_err());

        let (mut stream, _peer) = UnixStream::pair().unwrap();
        let clone = stream.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        would_block(stream.read(&mut [0]).unwrap_err());
        clone.set_nonblocking(false).unwrap();
        clone.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(stream.read(&mut [0]));
    });
}

#[test]
fn a_read_and_a_receive_that_time_out_say_so_and_leave_the_socket_usable() {
    in_tasks(|| {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        reader.set_read_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        assert_timed_out(reader.read(&mut [0]));
        assert!(start.elapsed() >= SHORT);
        writer.write_all(b"late").unwrap();
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 4);
        writer.set_write_timeout(Some(SHORT)).unwrap();
        assert_timed_out::<()>(Err(io::copy(&mut io::repeat(0), &mut writer).unwrap_err()));

        let (receiver, sender) = UnixDatagram::pair().unwrap();
        receiver.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(receiver.recv(&mut [0]));
        assert_timed_out(receiver.recv_from(&mut [0]));
        sender.send(b"late").unwrap();
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn a_task_cancelled_in_read_closes_its_stream() {
    in_tasks(|| {
        let (mut reader, mut peer) = UnixStream::pair().unwrap();
        let read = waiting(move || reader.read(&mut [0]));
        read.cancel();
        assert!(matches!(read.join(), Err(JoinError::Cancelled)));
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_task_cancelled_in_recv_leaves_the_next_datagram_to_others() {
    in_tasks(|| {
        let (receiver, sender) = UnixDatagram::pair().unwrap();
        let receiver = Arc::new(receiver);
        let receive = waiting({
            let receiver = Arc::clone(&receiver);
            move || receiver.recv(&mut [0; 8])
        });
        receive.cancel();
        assert!(matches!(receive.join(), Err(JoinError::Cancelled)));
        sender.send(b"kept").unwrap();
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 4);
    });
}

// ---- Descriptors in and out, and sockets that outlive where they were used ----

#[test]
fn sockets_handed_out_block_again_and_keep_their_timeouts() {
    let limits = (Some(Duration::from_secs(4)), Some(Duration::from_secs(8)));
    let (stream, _peer) = UnixStream::pair().unwrap();
    assert!(non_blocking(&stream));
    stream.set_read_timeout(limits.0).unwrap();
    stream.set_write_timeout(limits.1).unwrap();
    let stds = net::UnixStream::from(stream);
    assert!(!non_blocking(&stds));
    let kept = (stds.read_timeout().unwrap(), stds.write_timeout().unwrap());
    assert_eq!(kept, limits);
    let stream = UnixStream::from(stds);
    assert!(non_blocking(&stream));
    assert_eq!(stream.read_timeout().unwrap(), limits.0);
    assert_eq!(stream.write_timeout().unwrap(), limits.1);
    stream.set_nonblocking(true).unwrap();
    assert!(non_blocking(&net::UnixStream::from(stream)));

    let (datagram, _peer) = UnixDatagram::pair().unwrap();
    assert!(non_blocking(&datagram));
    assert!(!non_blocking(&net::UnixDatagram::from(datagram)));

    let dir = Folder::new();
    let listener = UnixListener::bind(dir.join("s")).unwrap();
    assert!(non_blocking(&listener));
    assert!(!non_blocking(&OwnedFd::from(listener)));
}

#[test]
fn a_stream_outlives_the_scheduler_it_was_used_on() {
    let talk = |(mut a, mut b): (UnixStream, UnixStream)| {
        in_tasks(move || {
            let read = waiting(move || {
                a.read_exact(&mut [0; 4]).unwrap();
                a
            });
            b.write_all(b"ping").unwrap();
            (read.join().unwrap(), b)
        })
    };
    talk(talk(UnixStream::pair().unwrap()));
}

// ---- Helpers ----

/// Lets the reactor deliver what there is to deliver: it is polled at least once in 64 runs of tasks.
fn let_events_pass() {
    for _ in 0..1000 {
        yield_now();
    }
}

/// A listener with no room for another connection.
struct Full {
    listener: UnixListener,
    dir: Folder,
    _backlog: Vec<Socket>,
}

impl Full {
    fn new() -> Self {
        let dir = Folder::new();
        let addr = SockAddr::unix(dir.join("s")).unwrap();
        let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&addr).unwrap();
        listener.listen(0).unwrap();
        let connect = || {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            client.connect(&addr).ok().map(|()| client)
        };
        Full {
            listener: OwnedFd::from(listener).into(),
            _backlog: std::iter::from_fn(connect).collect(),
            dir,
        }
    }

    fn connecting(&self) -> impl FnOnce() -> io::Result<UnixStream> + Send + 'static {
        let path = self.dir.join("s");
        move || UnixStream::connect(path)
    }
}

/// A receiver whose queue is full, however much room a sender has for itself.
struct Crowd {
    receiver: UnixDatagram,
    path: PathBuf,
    _dir: Folder,
}

impl Crowd {
    fn new() -> Self {
        let _dir = Folder::new();
        let path = _dir.join("s");
        let receiver = UnixDatagram::bind(&path).unwrap();
        loop {
            let sender = UnixDatagram::unbound().unwrap();
            let send = || sender.send_to(b"filler", &path);
            if fill(|| sender.set_nonblocking(true), send) == 0 {
                break;
            }
        }
        Crowd {
            receiver,
            path,
            _dir,
        }
    }

    fn sender(&self, connected: bool) -> UnixDatagram {
        let sender = UnixDatagram::unbound().unwrap();
        if connected {
            sender.connect(&self.path).unwrap();
        }
        sender
    }

    fn send(&self, sender: &UnixDatagram, connected: bool) -> io::Result<usize> {
        match connected {
            true => sender.send(b"late"),
            false => sender.send_to(b"late", &self.path),
        }
    }

    /// A task that waits to send.
    fn sending(&self, sender: UnixDatagram, connected: bool) -> JoinHandle<io::Result<usize>> {
        let path = self.path.clone();
        waiting(move || match connected {
            true => sender.send(b"late"),
            false => sender.send_to(b"late", path),
        })
    }
}

/// Writes until there is no room, and answers how often that went well.
fn fill(prepare: impl FnOnce() -> io::Result<()>, write: impl Fn() -> io::Result<usize>) -> usize {
    prepare().unwrap();
    let mut written = 0;
    while write().is_ok() {
        written += 1;
    }
    written
}

fn echo(stream: UnixStream) {
    io::copy(&mut &stream, &mut &stream).unwrap();
}

fn assert_echoed(stream: &mut UnixStream, data: &[u8]) {
    stream.write_all(data).unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, data);
}
