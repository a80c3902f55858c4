//! `multitask::net::{TcpListener, TcpStream}` through the public face: the same as std's to the compiler, the same answers, and waits
//! that stop one task only.
//!
//! Only loopback addresses are spoken to, and nothing sleeps to let things settle: where a scheduler has one worker, a task that has said
//! what it is about to do is waiting once another one runs. Where it has several that task may be on its way; what is tested holds then, too.

mod common;

use common::sockets::*;
use multitask::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use multitask::{spawn, yield_now, JoinError, Timeout};
use socket2::SockRef;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs::File, thread};

// ---- Drop-in: one text, compiled and run for std::net and for multitask::net ----

/// A module that uses everything stable of `std::net`'s TCP part, by the signatures that std 1.95 has.
///
/// `signatures` is the proof to the compiler, `behaviour` the answers of a run, to be compared.
macro_rules! everything_in {
    ($name:ident, $($net:ident)::+) => {
        #[allow(deprecated)]
        mod $name {
            use std::fmt::Debug;
            use std::io::{self, IoSlice, IoSliceMut, Read, Write};
            use std::iter::{Cloned, FusedIterator};
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::time::Duration;
            use std::{option, slice, vec};
            use crate::common::sockets::told;
            use $($net)::+::{
                AddrParseError, Incoming, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
                TcpListener, TcpStream, ToSocketAddrs,
            };
            #[cfg(target_os = "linux")]
            #[allow(unused_imports)] // needed with std, whose methods these are; ours are inherent
            use std::os::linux::net::TcpStreamExt;

            pub fn signatures() {
                type Result<T> = io::Result<T>;
                type Limit = Option<Duration>;

                let _: fn(&SocketAddr, Duration) -> Result<TcpStream> = TcpStream::connect_timeout;
                let _: fn(&TcpStream) -> Result<SocketAddr> = TcpStream::peer_addr;
                let _: fn(&TcpStream) -> Result<SocketAddr> = TcpStream::local_addr;
                let _: fn(&TcpStream, Shutdown) -> Result<()> = TcpStream::shutdown;
                let _: fn(&TcpStream) -> Result<TcpStream> = TcpStream::try_clone;
                let _: fn(&TcpStream, Limit) -> Result<()> = TcpStream::set_read_timeout;
                let _: fn(&TcpStream, Limit) -> Result<()> = TcpStream::set_write_timeout;
                let _: fn(&TcpStream) -> Result<Limit> = TcpStream::read_timeout;
                let _: fn(&TcpStream) -> Result<Limit> = TcpStream::write_timeout;
                let _: fn(&TcpStream, &mut [u8]) -> Result<usize> = TcpStream::peek;
                let _: fn(&TcpStream, bool) -> Result<()> = TcpStream::set_nodelay;
                let _: fn(&TcpStream) -> Result<bool> = TcpStream::nodelay;
                let _: fn(&TcpStream, u32) -> Result<()> = TcpStream::set_ttl;
                let _: fn(&TcpStream) -> Result<u32> = TcpStream::ttl;
                let _: fn(&TcpStream) -> Result<Option<io::Error>> = TcpStream::take_error;
                let _: fn(&TcpStream, bool) -> Result<()> = TcpStream::set_nonblocking;
                #[cfg(target_os = "linux")]
                let _: fn(&TcpStream, bool) -> Result<()> = |stream, on| stream.set_quickack(on);
                #[cfg(target_os = "linux")]
                let _: fn(&TcpStream) -> Result<bool> = |stream| stream.quickack();

                let _: fn(&TcpListener) -> Result<SocketAddr> = TcpListener::local_addr;
                let _: fn(&TcpListener) -> Result<TcpListener> = TcpListener::try_clone;
                let _: fn(&TcpListener) -> Result<(TcpStream, SocketAddr)> = TcpListener::accept;
                let _: for<'a> fn(&'a TcpListener) -> Incoming<'a> = TcpListener::incoming;
                let _: fn(&TcpListener, u32) -> Result<()> = TcpListener::set_ttl;
                let _: fn(&TcpListener) -> Result<u32> = TcpListener::ttl;
                let _: fn(&TcpListener, bool) -> Result<()> = TcpListener::set_only_v6;
                let _: fn(&TcpListener) -> Result<bool> = TcpListener::only_v6;
                let _: fn(&TcpListener) -> Result<Option<io::Error>> = TcpListener::take_error;
                let _: fn(&TcpListener, bool) -> Result<()> = TcpListener::set_nonblocking;

                socket::<TcpStream>();
                socket::<TcpListener>();
                stream::<TcpStream>();
                stream::<&'static TcpStream>();
                iterator::<Incoming<'static>>();

                type One = option::IntoIter<SocketAddr>;
                type Many = vec::IntoIter<SocketAddr>;
                address::<SocketAddr, One>();
                address::<SocketAddrV4, One>();
                address::<SocketAddrV6, One>();
                address::<(IpAddr, u16), One>();
                address::<(Ipv4Addr, u16), One>();
                address::<(Ipv6Addr, u16), One>();
                address::<(&'static str, u16), Many>();
                address::<(String, u16), Many>();
                address::<&'static str, Many>();
                address::<String, Many>();
                address::<&'static String, Many>();
                address::<&'static [SocketAddr], Cloned<slice::Iter<'static, SocketAddr>>>();
                address::<Anywhere, Many>();
                unsized_address::<str>();

                let _: std::result::Result<SocketAddr, AddrParseError> = "127.0.0.1:1".parse();
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
                T: Iterator<Item = io::Result<TcpStream>> + FusedIterator + Debug,
                T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe,
            {
            }

            fn address<T: ToSocketAddrs<Iter = I>, I>() {
                let _: fn(T) -> io::Result<TcpStream> = TcpStream::connect::<T>;
                let _: fn(T) -> io::Result<TcpListener> = TcpListener::bind::<T>;
            }

            fn unsized_address<T: ToSocketAddrs + ?Sized + 'static>() {
                let _ = TcpStream::connect::<&T>;
            }

            /// Someone else's address type.
            struct Anywhere;

            impl ToSocketAddrs for Anywhere {
                type Iter = vec::IntoIter<SocketAddr>;
                fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                    ("127.0.0.1", 0).to_socket_addrs()
                }
            }

            /// What a program sees of it all: the answers, without the numbers that differ from run to run.
            pub fn behaviour() -> io::Result<Vec<String>> {
                let mut seen = Vec::new();
                macro_rules! see {
                    ($result:expr) => {
                        seen.push(format!("{}: {}", stringify!($result), told($result)))
                    };
                }

                let listener = TcpListener::bind(Anywhere)?;
                let addr = listener.local_addr()?;
                let mut client = TcpStream::connect(addr)?;
                let (mut server, peer) = listener.accept()?;
                assert_eq!(peer, client.local_addr()?);
                assert_eq!(client.peer_addr()?, addr);
                assert_eq!(server.local_addr()?, addr);

                see!(Ok(&listener));
                see!(Ok(&client));
                see!(Ok(&server));
                see!(Ok(listener.incoming()));
                see!(Ok(listener.incoming().size_hint()));

                // Options.
                see!(client.set_read_timeout(Some(Duration::ZERO)));
                see!(client.set_write_timeout(Some(Duration::ZERO)));
                see!(client.read_timeout());
                see!(client.set_read_timeout(Some(Duration::from_secs(7))));
                see!(client.set_write_timeout(Some(Duration::from_secs(9))));
                see!(client.try_clone()?.read_timeout());
                see!(client.try_clone()?.write_timeout());
                see!(client.set_read_timeout(None));
                see!(client.read_timeout());
                see!(client.nodelay());
                see!(client.set_nodelay(true));
                see!(client.nodelay());
                see!(client.set_ttl(42));
                see!(client.ttl());
                see!(client.set_ttl(0));
                see!(client.take_error());
                #[cfg(target_os = "linux")]
                see!(client.set_quickack(true).and_then(|()| client.quickack()));
                see!(listener.set_ttl(43));
                see!(listener.ttl());
                see!(listener.take_error());
                see!(listener.set_only_v6(true));
                see!(listener.only_v6());

                // Data.
                see!(client.write(b"one two three"));
                let mut buf = [0; 4];
                see!(server.peek(&mut buf));
                see!(server.read(&mut buf));
                see!(Ok(buf));
                let (mut a, mut b) = ([0; 2], [0; 3]);
                see!(server.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]));
                see!(Ok((a, b)));
                see!((&server).write_vectored(&[IoSlice::new(b"four "), IoSlice::new(b"five")]));
                see!(server.flush());
                see!(client.try_clone()?.read(&mut [0; 64]));
                see!(client.write(b""));

                // Non-blocking.
                client.try_clone()?.set_nonblocking(true)?;
                see!(client.read(&mut buf));
                see!(client.peek(&mut buf));
                client.set_nonblocking(false)?;
                listener.set_nonblocking(true)?;
                see!(listener.accept());
                see!(Ok(listener.incoming().next().unwrap().map_err(|e| e.kind())));
                listener.set_nonblocking(false)?;

                // Descriptors.
                let fd = client.as_raw_fd();
                let client = OwnedFd::from(client);
                see!(Ok(client.as_raw_fd() == fd));
                let raw = TcpStream::from(client).into_raw_fd();
                // SAFETY: `into_raw_fd` gave the descriptor up.
                let mut client = unsafe { TcpStream::from_raw_fd(raw) };
                see!(client.write(b"still there"));
                let listener = TcpListener::from(OwnedFd::from(listener));
                see!(Ok(listener.as_fd().as_raw_fd() == listener.as_raw_fd()));
                see!(TcpStream::from(OwnedFd::from(std::fs::File::open("/dev/null")?)).read(&mut buf));
                see!(TcpListener::from(OwnedFd::from(std::fs::File::open("/dev/null")?)).accept());

                // Endings.
                see!(client.shutdown(Shutdown::Write));
                see!(client.shutdown(Shutdown::Write));
                see!(client.write(b"more"));
                see!(io::read_to_string(&server));
                see!(server.read(&mut buf));
                see!(server.write(b"answer"));
                drop(server);
                see!(io::read_to_string(&mut client));
                drop(client);

                // Addresses.
                see!(TcpListener::bind(addr));
                see!(TcpListener::bind(&[addr, addr][..]));
                let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
                silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
                let closed = silent.local_addr()?.as_socket().unwrap();
                see!(TcpStream::connect(closed));
                see!(TcpStream::connect_timeout(&closed, Duration::from_secs(60)));
                see!(TcpStream::connect_timeout(&closed, Duration::ZERO));
                see!(TcpStream::connect_timeout(&addr, Duration::ZERO));
                see!(TcpStream::connect(&[][..]));
                see!(TcpStream::connect(&[closed, closed][..]));
                see!(TcpStream::connect(&[closed, addr][..]));
                see!(TcpStream::connect("127.0.0.1"));
                see!(TcpStream::connect("127.0.0.1:"));
                see!(TcpStream::connect("127.0.0.1:65536"));
                see!(TcpStream::connect("a\0b:80"));
                see!(TcpStream::connect(UNKNOWN));
                see!(TcpListener::bind(UNKNOWN));
                see!((UNKNOWN, 1).to_socket_addrs());
                see!("::1:80".to_socket_addrs());
                see!("[::1]:80".to_socket_addrs());
                see!((String::from("::1"), 80).to_socket_addrs());
                see!((Ipv6Addr::LOCALHOST, 80).to_socket_addrs());
                see!((&&"127.0.0.1:80").to_socket_addrs());
                Ok(seen)
            }

            /// No resolver asks the network for it: a label has at most 63 characters.
            const UNKNOWN: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid:80";
        }
    };
}

everything_in!(of_std, std::net);
everything_in!(of_multitask, multitask::net);

#[test]
fn everything_of_std_net_exists_with_the_same_signatures() {
    of_std::signatures();
    of_multitask::signatures();
}

#[test]
fn a_program_gets_the_same_answers_from_both_on_a_thread_and_in_a_task() {
    let expected = of_std::behaviour().unwrap();
    let on_a_thread = thread::spawn(|| of_multitask::behaviour().unwrap())
        .join()
        .unwrap();
    assert_eq!(on_a_thread, expected);
    assert_eq!(in_tasks(|| of_multitask::behaviour().unwrap()), expected);
}

// ---- Talking ----

#[test]
fn a_hundred_clients_are_echoed_by_tasks_of_one_thread() {
    in_tasks_of_one_thread(|| {
        let (listener, addr) = listening();
        let server = spawn(move || {
            for stream in listener.incoming().take(100) {
                spawn(move || echo(stream.unwrap()));
            }
        });
        let clients: Vec<_> = (0..100u32)
            .map(|n| {
                spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    for round in 0..10 {
                        assert_echoed(&mut stream, &(n * 1000 + round).to_le_bytes());
                    }
                    thread::current().id()
                })
            })
            .collect();
        let mut threads: Vec<_> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        threads.dedup();
        assert_eq!(threads, [thread::current().id()]);
        server.join().unwrap();
    });
}

#[test]
fn plain_threads_without_a_scheduler_talk_to_each_other() {
    let _watch = watch();
    let (listener, addr) = listening();
    let server = thread::spawn(move || echo(listener.accept().unwrap().0));
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        assert_echoed(&mut stream, b"no tasks here");
        stream.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(stream.read(&mut [0]));
        assert_echoed(&mut stream, b"nor here");
    });
    client.join().unwrap();
    server.join().unwrap();
}

#[test]
fn a_plain_thread_and_a_task_talk_to_each_other() {
    let (listener, addr) = listening();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        assert_echoed(&mut stream, b"from a thread");
    });
    in_tasks(move || echo(listener.accept().unwrap().0));
    client.join().unwrap();
}

#[test]
fn a_peer_that_speaks_and_closes_at_once_is_read_to_the_end_by_a_waiting_task() {
    in_tasks(|| {
        let (reader, mut writer) = pair();
        let waiting = Flag::new();
        let text = spawn({
            let waiting = waiting.clone();
            move || {
                waiting.raise();
                read_in_small_pieces(reader)
            }
        });
        waiting.seen();
        writer.write_all(b"last words").unwrap();
        drop(writer); // no suspension since the write: one event tells of both
        assert_eq!(text.join().unwrap(), b"last words");
    });
}

#[test]
fn a_peer_that_spoke_and_closed_before_is_read_to_the_end() {
    in_tasks(|| {
        let (reader, mut writer) = pair();
        writer.write_all(b"last words").unwrap();
        drop(writer);
        assert_eq!(read_in_small_pieces(reader), b"last words");
    });
}

/// What a task reads that waits in its first read as `speak` does something to the other end, without suspension: one event tells of
/// all that. It has room to spare each time, and says what each read brought, up to the end or a failure.
fn read_with_room(speak: impl FnOnce(TcpStream)) -> Vec<Vec<u8>> {
    let (mut reader, writer) = pair();
    let waiting = Flag::new();
    let reads = spawn({
        let waiting = waiting.clone();
        move || {
            waiting.raise();
            let mut reads = Vec::new();
            loop {
                let mut room = [0; 64];
                match reader.read(&mut room) {
                    Ok(0) | Err(_) => return reads,
                    Ok(count) => reads.push(room[..count].to_vec()),
                }
            }
        }
    });
    waiting.seen();
    speak(writer);
    reads.join().unwrap()
}

#[test]
fn the_end_that_came_with_the_last_bytes_is_seen_by_a_reader_with_room_to_spare() {
    in_tasks_of_one_thread(|| {
        let reads = read_with_room(|mut writer| writer.write_all(b"last words").unwrap());
        assert_eq!(reads, [b"last words"]);
    });
}

#[test]
fn what_comes_after_urgent_data_is_read_though_a_read_stops_before_that() {
    in_tasks_of_one_thread(|| {
        let reads = read_with_room(|mut writer| {
            writer.write_all(b"before").unwrap();
            let sent = SockRef::from(&writer).send_out_of_band(b"!").unwrap();
            assert_eq!(sent, 1);
            writer.write_all(b"after").unwrap();
        });
        assert_eq!(reads, [&b"before"[..], b"after"]);
    });
}

#[test]
fn a_connection_that_was_emptied_is_asked_again_where_nobody_may_wait() {
    in_tasks_of_one_thread(|| {
        let (mut reader, mut writer) = pair();
        writer.write_all(b"some").unwrap();
        assert_eq!(reader.read(&mut [0; 64]).unwrap(), 4);
        writer.write_all(b"more").unwrap();
        // No event has told of it yet.
        reader.set_nonblocking(true).unwrap();
        assert_eq!(reader.read(&mut [0; 64]).unwrap(), 4);
        let nothing = reader.read(&mut [0; 64]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        reader.set_nonblocking(false).unwrap();

        writer.write_all(b"last").unwrap();
        assert_eq!(reader.peek(&mut [0; 64]).unwrap(), 4);
        assert_eq!(reader.peek(&mut [0; 64]).unwrap(), 4);
        assert_eq!(reader.read(&mut [0; 64]).unwrap(), 4);
        reader.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(reader.read(&mut [0; 64]));
    });
}

#[test]
fn several_tasks_reading_one_stream_share_its_bytes_and_lose_none() {
    in_tasks(|| {
        let (reader, mut writer) = pair();
        let reader = Arc::new(reader);
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let reader = Arc::clone(&reader);
                spawn(move || {
                    let (mut sum, mut byte) = (0u32, [0]);
                    while (&*reader).read(&mut byte).unwrap() == 1 {
                        sum += u32::from(byte[0]);
                    }
                    sum
                })
            })
            .collect();
        for n in 1..=100 {
            writer.write_all(&[n]).unwrap();
            yield_now();
        }
        drop(writer);
        let sum: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 5050);
    });
}

#[test]
fn several_tasks_accepting_from_one_listener_get_one_connection_each() {
    in_tasks(|| {
        let (listener, addr) = listening();
        let listener = Arc::new(listener);
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = Arc::clone(&listener);
                spawn(move || listener.accept().unwrap())
            })
            .collect();
        yield_now();
        let clients: Vec<_> = (0..4).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let mut expected: Vec<_> = clients
            .iter()
            .map(|client| client.local_addr().unwrap())
            .collect();
        let mut accepted: Vec<_> = acceptors
            .into_iter()
            .map(|task| task.join().unwrap().1)
            .collect();
        expected.sort();
        accepted.sort();
        assert_eq!(accepted, expected);
    });
}

#[test]
fn peek_waits_for_data_and_leaves_it() {
    in_tasks(|| {
        let (mut reader, mut writer) = pair();
        let peeked = spawn(move || {
            let mut buf = [0; 2];
            assert_eq!(reader.peek(&mut buf).unwrap(), 2);
            assert_eq!(&buf, b"ab");
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        yield_now();
        writer.write_all(b"abc").unwrap();
        drop(writer);
        assert_eq!(peeked.join().unwrap(), "abc");
    });
}

#[test]
fn vectored_reads_and_writes_wait_and_move_several_buffers_at_once() {
    in_tasks(|| {
        let (mut reader, mut writer) = pair();
        let read = spawn(move || {
            let (mut a, mut b) = ([0; 3], [0; 8]);
            let n = reader
                .read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)])
                .unwrap();
            (n, a, b)
        });
        yield_now();
        let parts = [
            IoSlice::new(b"on"),
            IoSlice::new(b"e t"),
            IoSlice::new(b"wo"),
        ];
        assert_eq!(writer.write_vectored(&parts).unwrap(), 7);
        assert_eq!(read.join().unwrap(), (7, *b"one", *b" two\0\0\0\0"));
    });
}

#[test]
fn ending_a_connection_through_a_clone_wakes_the_task_that_reads() {
    for how in [Shutdown::Read, Shutdown::Both] {
        in_tasks(move || {
            let (mut reader, _peer) = pair();
            let clone = reader.try_clone().unwrap();
            let waiting = Flag::new();
            let read = spawn({
                let waiting = waiting.clone();
                move || {
                    waiting.raise();
                    reader.read(&mut [0; 8])
                }
            });
            waiting.seen();
            clone.shutdown(how).unwrap();
            assert_eq!(read.join().unwrap().unwrap(), 0, "{how:?}");
        });
    }
}

#[test]
fn the_answer_can_be_read_after_the_question_was_ended() {
    in_tasks(|| {
        let (mut asks, mut answers) = pair();
        let server = spawn(move || {
            let question = io::read_to_string(&answers).unwrap();
            write!(answers, "{question}!").unwrap();
        });
        asks.write_all(b"why").unwrap();
        asks.shutdown(Shutdown::Write).unwrap();
        assert_eq!(io::read_to_string(&mut asks).unwrap(), "why!");
        server.join().unwrap();
    });
}

#[test]
fn a_name_and_a_list_are_tried_address_by_address() {
    in_tasks(|| {
        let (listener, addr) = listening();
        TcpStream::connect(("localhost", addr.port())).unwrap(); // ::1 may come first, and refuse
        let refusing = Refusing::new();
        let stream = TcpStream::connect(&[refusing.addr, addr][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let other = TcpListener::bind(&[addr, free][..]).unwrap();
        assert_ne!(other.local_addr().unwrap(), addr);
        drop(listener);
    });
}

#[test]
fn a_burst_of_connections_waits_in_the_kernel_until_somebody_accepts() {
    const BURST: usize = 200; // more than std's backlog
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    if limit.is_ok_and(|limit| limit.trim().parse::<usize>().unwrap() < BURST) {
        return; // the system does not let anyone have a backlog of that size
    }
    in_tasks(|| {
        let (listener, addr) = listening();
        // Beyond the backlog packets are lost, again and again, as nobody accepts meanwhile.
        let connect = || TcpStream::connect_timeout(&addr, Duration::from_secs(10)).unwrap();
        let clients: Vec<_> = (0..BURST).map(|_| connect()).collect();
        for client in clients {
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn a_port_can_be_bound_again_at_once_though_old_connections_are_remembered() {
    in_tasks(|| {
        let (listener, addr) = listening();
        let mut client = TcpStream::connect(addr).unwrap();
        drop(listener.accept().unwrap()); // who closes first keeps the connection in TIME_WAIT
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop((client, listener));
        TcpListener::bind(addr).unwrap();
    });
}

// ---- Shared ports, and what is set before a listener is bound ----

#[test]
fn listeners_of_one_port_share_its_connections_and_each_goes_to_one_of_them() {
    in_tasks(|| {
        let first = TcpListener::bind_shared("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        let more = (0..2).map(|_| TcpListener::bind_shared(addr).unwrap());
        let listeners: Vec<_> = [first].into_iter().chain(more).collect();
        let clients: Vec<_> = (0..60)
            .map(|_| TcpStream::connect(addr).unwrap().local_addr().unwrap())
            .collect();

        let mut accepted = Vec::new();
        for listener in &listeners {
            let before = accepted.len();
            while let Ok((_, peer)) = listener.accept_timeout(Duration::ZERO) {
                accepted.push(peer);
            }
            assert!(accepted.len() > before, "one got none of sixty");
        }
        accepted.sort();
        let mut clients = clients;
        clients.sort();
        assert_eq!(accepted, clients);
    });
}

#[test]
fn listeners_of_two_processes_share_a_port() {
    const CHILD: &str = "MULTITASK_TEST_SHARED_PORT";
    const WELCOMES: [&str; 2] = ["from the parent", "from the child"];
    let welcome = |listener: TcpListener, word: &'static str| {
        move || loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(word.as_bytes()).unwrap();
        }
    };
    if let Some(addr) = env::var_os(CHILD) {
        let listener = TcpListener::bind_shared(addr.to_str().unwrap()).unwrap();
        println!("\nready");
        return welcome(listener, WELCOMES[1])();
    }
    let listener = TcpListener::bind_shared("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _watch = watch();
    let mut child = multitask::process::Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "listeners_of_two_processes_share_a_port",
            "--nocapture",
        ])
        .env(CHILD, addr.to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line == "ready"));

    let ours = spawn(welcome(listener, WELCOMES[0]));
    let answers: Vec<String> = (0..60)
        .map(|_| io::read_to_string(TcpStream::connect(addr).unwrap()).unwrap())
        .collect();
    for word in WELCOMES {
        assert!(answers.iter().any(|answer| answer == word), "{answers:?}");
    }
    ours.cancel();
    assert!(ours.join().unwrap_err().is_cancelled());
}

#[test]
fn a_port_is_shared_by_those_only_that_were_bound_so() {
    in_tasks(|| {
        let (own, addr) = listening();
        let error = TcpListener::bind_shared(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(own);
        let shared = TcpListener::bind_shared(addr).unwrap();
        let error = TcpListener::bind(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(shared);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn beyond_its_backlog_a_listener_lets_nobody_in_until_it_accepts() {
    in_tasks(|| {
        let listener = TcpListener::builder().backlog(1).bind("127.0.0.1:0");
        let listener = listener.unwrap();
        let addr = listener.local_addr().unwrap();
        let _first = TcpStream::connect(addr).unwrap();
        // Linux counts one more than it was told; others may not.
        let mut waiting = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&addr, SHORT) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(waiting.len() <= 1, "{}", waiting.len());
        listener.accept().unwrap();
        TcpStream::connect_timeout(&addr, Duration::from_secs(10)).unwrap();
    });
}

#[test]
fn a_listener_for_ipv6_alone_leaves_the_port_of_ipv4_to_others() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // there is no IPv6 here
    }
    // Somebody has the port of IPv4 already: where many connections come and go, hardly one is free for all its addresses.
    let bind = |only_v6| {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let any_v6 = (Ipv6Addr::UNSPECIFIED, v4.local_addr().unwrap().port());
        let v6 = TcpListener::builder().only_v6(only_v6).bind(any_v6);
        v6.map(drop).map_err(|error| error.kind())
    };
    // Another program may have that of IPv6.
    assert!((0..100).any(|_| bind(true) == Ok(())));
    assert_eq!(bind(false), Err(ErrorKind::AddrInUse));
    let v4 = TcpListener::builder().only_v6(true).bind("127.0.0.1:0");
    v4.expect("it means nothing to IPv4");
}

#[test]
fn an_accepted_connection_has_the_time_to_live_that_its_listener_was_made_with() {
    in_tasks(|| {
        let listener = TcpListener::builder().ttl(42).bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.ttl().unwrap(), 42);
        assert_eq!(listener.accept().unwrap().0.ttl().unwrap(), 42);
        let error = TcpListener::builder().ttl(256).bind("127.0.0.1:0");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn without_reuse_address_old_connections_keep_their_port_for_a_while() {
    in_tasks(|| {
        let options = TcpListener::builder().reuse_address(false);
        let listener = options.bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        drop(listener.accept().unwrap()); // who closes first keeps the connection in TIME_WAIT
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop((client, listener));
        let error = options.bind(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

// ---- Not waiting, or not for ever ----

#[test]
fn a_non_blocking_socket_answers_would_block_and_never_waits() {
    in_tasks(|| {
        let (listener, addr) = listening();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(
            listener.accept_timeout(SHORT).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );

        let mut client = TcpStream::connect(addr).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        assert_eq!(
            client.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(
            client.peek(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let (sent, error) = fill(&mut client);
        assert_eq!(error.kind(), ErrorKind::WouldBlock);

        // The one accepted from a non-blocking listener waits: Linux does not hand the mode on. What was sent may take its time.
        server.read_exact(&mut vec![0; sent]).unwrap();
        server.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(server.read(&mut [0]));

        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(client.read(&mut [0]));
    });
}

#[test]
fn clones_share_the_non_blocking_flag_and_the_timeouts() {
    let (mut stream, _peer) = pair();
    let clone = stream.try_clone().unwrap();
    clone.set_nonblocking(true).unwrap();
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    clone.set_nonblocking(false).unwrap();
    clone.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(stream.read_timeout().unwrap(), Some(SHORT));
    assert_timed_out(stream.read(&mut [0]));
}

#[test]
fn a_read_that_times_out_says_so_and_leaves_the_stream_usable() {
    in_tasks(|| {
        let (mut reader, mut writer) = pair();
        reader.set_read_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        assert_timed_out(reader.read(&mut [0; 8]));
        assert!(start.elapsed() >= SHORT);
        assert_timed_out(reader.peek(&mut [0; 8]));
        assert_timed_out(reader.read_vectored(&mut [IoSliceMut::new(&mut [0; 8])]));

        writer.write_all(b"late").unwrap();
        let mut buf = [0; 4];
        reader.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"late");
    });
}

#[test]
fn a_write_that_times_out_says_so_and_leaves_the_stream_usable() {
    in_tasks(|| {
        let (mut reader, mut writer) = pair();
        writer.set_write_timeout(Some(SHORT)).unwrap();
        assert_timed_out::<()>(Err(fill(&mut writer).1));
        let drain = spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
        writer.set_write_timeout(None).unwrap();
        writer.write_all(&vec![0; 1 << 20]).unwrap();
        drop(writer);
        assert!(drain.join().unwrap() > 1 << 20);
    });
}

#[test]
fn an_accept_that_times_out_says_so_and_leaves_the_listener_usable() {
    in_tasks(|| {
        let (listener, addr) = listening();
        assert_timed_out(listener.accept_timeout(SHORT));
        assert_timed_out(listener.accept_timeout(Duration::ZERO));
        assert_timed_out(listener.accept_deadline(Instant::now() + SHORT));
        let client = TcpStream::connect(addr).unwrap();
        let (_, peer) = listener.accept_deadline(Instant::now()).unwrap(); // looks once all the same
        assert_eq!(peer, client.local_addr().unwrap());
        let _other = TcpStream::connect(addr).unwrap();
        listener.accept_timeout(Duration::MAX).unwrap();
    });
}

#[test]
fn a_connect_that_nobody_answers_times_out_and_other_tasks_run_meanwhile() {
    in_tasks(|| {
        let deaf = Deaf::new();
        let ticks = Arc::new(AtomicUsize::new(0));
        let ticker = spawn({
            let ticks = ticks.clone();
            move || loop {
                ticks.fetch_add(1, SeqCst);
                multitask::sleep(Duration::from_millis(1));
            }
        });
        // On a machine that has other things to do the time may be up before they had their turn.
        let mut limits = std::iter::successors(Some(SHORT * 5), |limit| Some(*limit * 2));
        while ticks.load(SeqCst) < 2 {
            let limit = limits.next().expect("they go on for ever");
            assert_timed_out(TcpStream::connect_timeout(&deaf.addr, limit));
        }
        ticker.cancel();

        let (listener, addr) = listening();
        TcpStream::connect_timeout(&addr, Duration::MAX).unwrap();
        listener.accept().unwrap();
    });
}

#[test]
fn a_timeout_scope_ends_a_read_an_accept_and_a_connect() {
    in_tasks(|| {
        let (mut reader, mut writer) = pair();
        let (listener, addr) = listening();
        let deaf = Deaf::new();
        assert_eq!(
            multitask::timeout(SHORT, || reader.read(&mut [0]).is_ok()),
            Err(Timeout)
        );
        assert_eq!(
            multitask::timeout(SHORT, || listener.accept().is_ok()),
            Err(Timeout)
        );
        assert_eq!(
            multitask::timeout(SHORT, || TcpStream::connect(deaf.addr).is_ok()),
            Err(Timeout)
        );
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 1);
        let client = TcpStream::connect(addr).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn a_task_cancelled_in_read_closes_its_stream() {
    in_tasks(|| {
        let (mut reader, mut peer) = pair();
        let waiting = Flag::new();
        let read = spawn({
            let waiting = waiting.clone();
            move || {
                waiting.raise();
                reader.read(&mut [0])
            }
        });
        waiting.seen();
        read.cancel();
        assert!(matches!(read.join(), Err(JoinError::Cancelled)));
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    });
}

// ---- Errors belong to one task ----

#[test]
fn a_refused_or_impossible_connection_fails_that_call_and_the_task_goes_on() {
    in_tasks(|| {
        let (listener, addr) = listening();
        let refusing = Refusing::new();
        let kind = |result: io::Result<TcpStream>| result.unwrap_err().kind();
        assert_eq!(
            kind(TcpStream::connect(refusing.addr)),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(
            kind(TcpStream::connect_timeout(&refusing.addr, common::LONG)),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(
            TcpListener::bind(addr).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        assert_eq!(kind(TcpStream::connect("no port")), ErrorKind::InvalidInput);
        let none = TcpStream::connect(&[][..]).unwrap_err();
        assert_eq!(none.to_string(), "could not resolve to any addresses");

        let mut client = TcpStream::connect(addr).unwrap();
        let server = spawn(move || echo(listener.accept().unwrap().0));
        assert_echoed(&mut client, b"still here");
        drop(client);
        server.join().unwrap();
    });
}

#[test]
fn a_peer_that_resets_fails_the_task_that_writes_to_it_and_no_other() {
    in_tasks(|| {
        let (mut victim, mut resetting) = pair();
        let (mut client, server) = pair();
        let echo = spawn(move || echo(server));
        let write = spawn(move || victim.write_all(&vec![0; 64 << 20]));

        resetting.read_exact(&mut [0; 1]).unwrap(); // the write has begun, and waits: nothing holds 64 MB
        resetting.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(resetting.linger().unwrap(), Some(Duration::ZERO));
        drop(resetting);

        assert_eq!(
            write.join().unwrap().unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert_echoed(&mut client, b"unharmed");
        drop(client);
        echo.join().unwrap();
    });
}

#[test]
fn a_pending_error_is_taken_once() {
    in_tasks(|| {
        let refusing = Refusing::new();
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&refusing.addr.into()).unwrap_err(); // under way
        let stream = TcpStream::from(OwnedFd::from(socket));
        let error = loop {
            match stream.take_error().unwrap() {
                Some(error) => break error,
                None => yield_now(),
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(stream.take_error().unwrap().is_none());
    });
}

/// Runs in a process of its own, that alone has so few descriptors.
#[test]
fn running_out_of_descriptors_fails_the_accepting_task_only() {
    const CHILD: &str = "MULTITASK_TEST_FEW_DESCRIPTORS";
    if env::var_os(CHILD).is_some() {
        return in_tasks(with_few_descriptors);
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "running_out_of_descriptors_fails_the_accepting_task_only",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
}

fn with_few_descriptors() {
    let (listener, addr) = listening();
    let mut open = TcpStream::connect(addr).unwrap();
    let (served, _) = listener.accept().unwrap();
    let echo = spawn(move || echo(served));
    assert_echoed(&mut open, b"before");

    let late = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let waiting = Flag::new();
    let accept = spawn({
        let waiting = waiting.clone();
        move || {
            waiting.raise();
            let error = listener.accept().unwrap_err();
            (error, listener)
        }
    });
    waiting.seen();
    let mut hoard = Vec::new();
    let error = loop {
        match File::open("/dev/null") {
            Ok(file) => hoard.push(file),
            Err(error) => break error,
        }
    };
    late.connect(&addr.into()).unwrap();
    let (failed, listener) = accept.join().unwrap();
    assert_eq!(failed.raw_os_error(), error.raw_os_error());
    assert_echoed(&mut open, b"during");

    drop(hoard);
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(Some(peer), late.local_addr().unwrap().as_socket());
    assert_echoed(&mut open, b"after");
    drop(open);
    echo.join().unwrap();
}

// ---- Descriptors in and out, and sockets that outlive where they were used ----

#[test]
fn a_socket_handed_out_blocks_again_and_keeps_its_timeouts() {
    let limits = (Some(Duration::from_secs(4)), Some(Duration::from_secs(8)));
    let (ours, _peer) = pair();
    assert!(non_blocking(&ours));
    ours.set_read_timeout(limits.0).unwrap();
    ours.set_write_timeout(limits.1).unwrap();

    let stds = std::net::TcpStream::from(ours);
    assert!(!non_blocking(&stds));
    assert_eq!(
        (stds.read_timeout().unwrap(), stds.write_timeout().unwrap()),
        limits
    );

    let ours = TcpStream::from(stds);
    assert!(non_blocking(&ours));
    assert_eq!(
        (ours.read_timeout().unwrap(), ours.write_timeout().unwrap()),
        limits
    );

    let (listener, _) = listening();
    assert!(non_blocking(&listener));
    assert!(!non_blocking(&OwnedFd::from(listener)));
}

#[test]
fn a_socket_handed_out_after_set_nonblocking_stays_non_blocking() {
    let (ours, _peer) = pair();
    ours.set_nonblocking(true).unwrap();
    assert!(non_blocking(&std::net::TcpStream::from(ours)));

    let (listener, _) = listening();
    listener.set_nonblocking(true).unwrap();
    assert!(non_blocking(&std::net::TcpListener::from(listener)));
}

#[test]
fn a_socket_taken_in_suspends_the_task_whatever_its_mode_was() {
    for mode in [false, true] {
        in_tasks(move || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            client.set_nonblocking(mode).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(50)))
                .unwrap();
            listener.set_nonblocking(mode).unwrap();

            let (mut client, listener) = (TcpStream::from(client), TcpListener::from(listener));
            let addr = listener.local_addr().unwrap();
            let accept = spawn(move || listener.accept().unwrap().1);
            let read = spawn(move || client.read(&mut [0]).unwrap());
            yield_now();
            peer.write_all(b"x").unwrap();
            assert_eq!(read.join().unwrap(), 1);
            let connected = TcpStream::connect(addr).unwrap();
            assert_eq!(accept.join().unwrap(), connected.local_addr().unwrap());
        });
    }
}

#[test]
fn a_listener_taken_in_with_a_timeout_keeps_it_and_passes_it_on() {
    in_tasks(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener)
            .set_read_timeout(Some(SHORT * 5))
            .unwrap();
        let listener = TcpListener::from(listener);
        assert_timed_out(listener.accept());
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let kernels = SockRef::from(&stream).read_timeout().unwrap();
        assert_eq!(stream.read_timeout().unwrap(), kernels);
    });
}

#[test]
fn dropping_a_clone_that_was_waited_on_leaves_the_other_one_waiting() {
    in_tasks(|| {
        let (kept, mut peer) = pair();
        let kept = Arc::new(kept);
        for _ in 0..3 {
            // Each clone gets the descriptor number of the one before, for the same connection.
            let mut clone = kept.try_clone().unwrap();
            clone.set_read_timeout(Some(SHORT)).unwrap();
            assert_timed_out(clone.read(&mut [0]));
            clone.set_read_timeout(None).unwrap();
            let waiting = Flag::new();
            let read = spawn({
                let (kept, waiting) = (Arc::clone(&kept), waiting.clone());
                move || {
                    waiting.raise();
                    (&*kept).read(&mut [0; 8]).unwrap()
                }
            });
            waiting.seen();
            drop(clone);
            peer.write_all(b"both").unwrap();
            assert_eq!(read.join().unwrap(), 4);
        }
    });
}

#[test]
fn a_socket_with_the_number_of_a_closed_one_is_waited_for_afresh() {
    in_tasks(|| {
        // The kernel gives the lowest free number out; tests that run beside may take one, hardly all ten times.
        for _ in 0..10 {
            exchange_words(pair());
        }
    });
}

#[test]
fn a_stream_goes_from_one_scheduler_to_others_and_back() {
    /// Each lives on, and still knows the descriptors, while the next one uses them.
    fn through(schedulers: usize, streams: (TcpStream, TcpStream)) -> (TcpStream, TcpStream) {
        in_tasks(move || {
            let mut streams = exchange_words(streams);
            if schedulers > 1 {
                let next = thread::spawn(move || through(schedulers - 1, streams));
                streams = next.join().unwrap();
            }
            exchange_words(streams)
        })
    }
    let mut streams = pair();
    // The first of them are gone when the second come.
    for _ in 0..2 {
        streams = through(4, streams);
    }
}

#[test]
fn a_stream_outlives_the_scheduler_it_was_used_on() {
    let mut streams = pair();
    // So many that one comes to lie where another one was.
    for _ in 0..50 {
        streams = in_tasks(move || exchange_words(streams));
    }
    let (mut a, mut b) = streams;
    let reader = thread::spawn(move || io::read_to_string(&mut a).unwrap());
    b.write_all(b"on plain threads in the end").unwrap();
    drop(b);
    assert_eq!(reader.join().unwrap(), "on plain threads in the end");
}

#[test]
fn one_stream_is_read_on_one_scheduler_while_it_is_written_on_another() {
    const SIZE: usize = 4 << 20;
    let _watch = watch();
    let (stream, peer) = pair();
    let stream = Arc::new(stream);
    let echo = thread::spawn(move || echo(peer));
    let reader = thread::spawn({
        let stream = Arc::clone(&stream);
        move || in_tasks(move || io::copy(&mut &*stream, &mut io::sink()).unwrap())
    });
    in_tasks(move || {
        (&*stream).write_all(&vec![7; SIZE]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(reader.join().unwrap(), SIZE as u64);
    echo.join().unwrap();
}

#[test]
fn a_stream_that_one_thread_has_used_for_long_is_used_by_another_one_meanwhile_and_closed_by_a_third(
) {
    const REQUESTS: u64 = 500;
    const SIZE: usize = 1 << 20;
    let _watch = watch();
    for _ in 0..5 {
        let (stream, peer) = pair();
        let echo = thread::spawn(move || in_tasks(move || echo(peer)));
        let stream = Arc::new(stream);
        // Where its waiters stand is this thread's own after that.
        in_tasks({
            let stream = Arc::clone(&stream);
            move || {
                for i in 0..REQUESTS {
                    let mut answer = [0; 8];
                    (&*stream).write_all(&i.to_be_bytes()).unwrap();
                    (&*stream).read_exact(&mut answer).unwrap();
                    assert_eq!(u64::from_be_bytes(answer), i);
                }
            }
        });
        let reader = thread::spawn({
            let stream = Arc::clone(&stream);
            move || in_tasks(move || io::copy(&mut &*stream, &mut io::sink()).unwrap())
        });
        in_tasks({
            let stream = Arc::clone(&stream);
            move || {
                (&*stream).write_all(&vec![7; SIZE]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
        });
        assert_eq!(reader.join().unwrap(), SIZE as u64);
        thread::spawn(move || drop(stream)).join().unwrap();
        echo.join().unwrap();
    }
}

/// One of the two waits in `read`, on the scheduler of whoever calls, until the other one writes.
fn exchange_words((mut a, mut b): (TcpStream, TcpStream)) -> (TcpStream, TcpStream) {
    let waiting = Flag::new();
    let reader = spawn({
        let waiting = waiting.clone();
        move || {
            let mut word = [0; 4];
            waiting.raise();
            a.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"ping");
            a
        }
    });
    waiting.seen();
    b.write_all(b"ping").unwrap();
    (reader.join().unwrap(), b)
}

// ---- Helpers ----

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// The two ends of a connection. Neither call waits: the kernel completes the connection before it is accepted.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listening();
    let client = TcpStream::connect(addr).unwrap();
    (client, listener.accept().unwrap().0)
}

fn echo(stream: TcpStream) {
    io::copy(&mut &stream, &mut &stream).unwrap();
}

fn assert_echoed(stream: &mut TcpStream, data: &[u8]) {
    stream.write_all(data).unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, data);
}

/// Writes until that fails: how much was taken, and why no more.
fn fill(stream: &mut TcpStream) -> (usize, io::Error) {
    let mut taken = 0;
    loop {
        match stream.write(&[0; 1 << 16]) {
            Ok(n) => taken += n,
            Err(error) => return (taken, error),
        }
    }
}

/// Pieces smaller than what arrives: a short read that is no sign of the end.
fn read_in_small_pieces(mut stream: TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4]);
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => return all,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

/// A loopback port that is taken, so nobody else can get it, and refuses connections.
struct Refusing {
    addr: SocketAddr,
    _socket: socket2::Socket,
}

impl Refusing {
    fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Refusing {
            addr,
            _socket: socket,
        }
    }
}

/// A loopback port that does not answer: its backlog is full, so the kernel drops what comes.
struct Deaf {
    addr: SocketAddr,
    _socket: socket2::Socket,
    _backlog: Vec<std::net::TcpStream>,
}

impl Deaf {
    fn new() -> Self {
        let Refusing { addr, _socket } = Refusing::new();
        _socket.listen(0).unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200));
        let _backlog = std::iter::from_fn(|| connect().ok()).collect();
        Deaf {
            addr,
            _socket,
            _backlog,
        }
    }
}
