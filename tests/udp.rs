//! `multitask::net::UdpSocket` through the public face: the same as std's to the compiler, the same answers, waits that stop one task
//! only, and the batches that std does not have.
//!
//! Only loopback addresses are spoken to, where no datagram is lost that there is room for, and nothing sleeps to let things settle.

mod common;

use common::sockets::*;
use multitask::net::{Datagram, RecvBatch, SocketAddr, UdpSocket};
use multitask::{spawn, yield_now, JoinError, Timeout};
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

// ---- Drop-in: one text, compiled and run for std::net and for multitask::net ----

/// A module that uses everything stable of `std::net::UdpSocket`, by the signatures that std 1.95 has.
///
/// `signatures` is the proof to the compiler, `behaviour` the answers of a run, to be compared.
macro_rules! everything_in {
    ($name:ident, $($net:ident)::+) => {
        mod $name {
            use crate::common::sockets::told;
            use std::fmt::Debug;
            use std::io;
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::time::Duration;
            use $($net)::+::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

            pub fn signatures() {
                type Result<T> = io::Result<T>;
                type Limit = Option<Duration>;
                type V4Group = fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Result<()>;
                type V6Group = fn(&UdpSocket, &Ipv6Addr, u32) -> Result<()>;

                let _: fn(&UdpSocket, &mut [u8]) -> Result<(usize, SocketAddr)> = UdpSocket::recv_from;
                let _: fn(&UdpSocket, &mut [u8]) -> Result<(usize, SocketAddr)> = UdpSocket::peek_from;
                let _: fn(&UdpSocket) -> Result<SocketAddr> = UdpSocket::peer_addr;
                let _: fn(&UdpSocket) -> Result<SocketAddr> = UdpSocket::local_addr;
                let _: fn(&UdpSocket) -> Result<UdpSocket> = UdpSocket::try_clone;
                let _: fn(&UdpSocket, Limit) -> Result<()> = UdpSocket::set_read_timeout;
                let _: fn(&UdpSocket, Limit) -> Result<()> = UdpSocket::set_write_timeout;
                let _: fn(&UdpSocket) -> Result<Limit> = UdpSocket::read_timeout;
                let _: fn(&UdpSocket) -> Result<Limit> = UdpSocket::write_timeout;
                let _: fn(&UdpSocket, bool) -> Result<()> = UdpSocket::set_broadcast;
                let _: fn(&UdpSocket) -> Result<bool> = UdpSocket::broadcast;
                let _: fn(&UdpSocket, bool) -> Result<()> = UdpSocket::set_multicast_loop_v4;
                let _: fn(&UdpSocket) -> Result<bool> = UdpSocket::multicast_loop_v4;
                let _: fn(&UdpSocket, u32) -> Result<()> = UdpSocket::set_multicast_ttl_v4;
                let _: fn(&UdpSocket) -> Result<u32> = UdpSocket::multicast_ttl_v4;
                let _: fn(&UdpSocket, bool) -> Result<()> = UdpSocket::set_multicast_loop_v6;
                let _: fn(&UdpSocket) -> Result<bool> = UdpSocket::multicast_loop_v6;
                let _: fn(&UdpSocket, u32) -> Result<()> = UdpSocket::set_ttl;
                let _: fn(&UdpSocket) -> Result<u32> = UdpSocket::ttl;
                let _: V4Group = UdpSocket::join_multicast_v4;
                let _: V4Group = UdpSocket::leave_multicast_v4;
                let _: V6Group = UdpSocket::join_multicast_v6;
                let _: V6Group = UdpSocket::leave_multicast_v6;
                let _: fn(&UdpSocket) -> Result<Option<io::Error>> = UdpSocket::take_error;
                let _: fn(&UdpSocket, &[u8]) -> Result<usize> = UdpSocket::send;
                let _: fn(&UdpSocket, &mut [u8]) -> Result<usize> = UdpSocket::recv;
                let _: fn(&UdpSocket, &mut [u8]) -> Result<usize> = UdpSocket::peek;
                let _: fn(&UdpSocket, bool) -> Result<()> = UdpSocket::set_nonblocking;

                socket::<UdpSocket>();
                address::<SocketAddr>();
                address::<&'static str>();
                address::<(String, u16)>();
                address::<&'static [SocketAddr]>();
            }

            fn socket<T>()
            where
                T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static,
                T: AsFd + AsRawFd + FromRawFd + IntoRawFd + From<OwnedFd> + Into<OwnedFd>,
            {
                let _: for<'a> fn(&'a T) -> BorrowedFd<'a> = T::as_fd;
                let _: unsafe fn(RawFd) -> T = T::from_raw_fd;
            }

            fn address<T: ToSocketAddrs>() {
                let _: fn(T) -> io::Result<UdpSocket> = UdpSocket::bind::<T>;
                let _: fn(&UdpSocket, T) -> io::Result<()> = UdpSocket::connect::<T>;
                let _: fn(&UdpSocket, &[u8], T) -> io::Result<usize> = UdpSocket::send_to::<T>;
            }

            /// What a program sees of it all: the answers, without the numbers that differ from run to run.
            pub fn behaviour() -> io::Result<Vec<String>> {
                let mut seen = Vec::new();
                macro_rules! see {
                    ($result:expr) => {
                        seen.push(format!("{}: {}", stringify!($result), told($result)))
                    };
                }

                let server = UdpSocket::bind("127.0.0.1:0")?;
                let addr = server.local_addr()?;
                let client = UdpSocket::bind(("127.0.0.1", 0))?;
                let mut buf = [0; 4];
                see!(Ok(&server));

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
                see!(client.broadcast());
                see!(client.set_broadcast(true));
                see!(client.broadcast());
                see!(client.multicast_loop_v4());
                see!(client.set_multicast_loop_v4(false));
                see!(client.multicast_loop_v4());
                see!(client.multicast_ttl_v4());
                see!(client.set_multicast_ttl_v4(5));
                see!(client.multicast_ttl_v4());
                see!(client.set_multicast_loop_v6(false));
                see!(client.multicast_loop_v6());
                see!(client.set_ttl(42));
                see!(client.ttl());
                see!(client.set_ttl(0));
                let (group, host) = (Ipv4Addr::new(224, 0, 0, 123), Ipv4Addr::LOCALHOST);
                see!(client.leave_multicast_v4(&group, &host));
                see!(client.join_multicast_v4(&group, &host));
                see!(client.join_multicast_v4(&group, &host));
                see!(client.leave_multicast_v4(&group, &host));
                see!(client.join_multicast_v4(&host, &host));
                see!(client.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0));
                see!(client.leave_multicast_v6(&Ipv6Addr::LOCALHOST, 0));
                see!(client.take_error());

                // Data.
                see!(client.peer_addr());
                see!(client.send(b"to nobody"));
                see!(client.send_to(b"one", addr));
                see!(client.send_to(b"", addr));
                see!(client.send_to(b"longer than four", addr));
                see!(server.peek(&mut buf));
                see!(server.peek_from(&mut buf));
                let (n, from) = server.recv_from(&mut buf)?;
                assert_eq!(from, client.local_addr()?);
                see!(Ok((n, buf)));
                see!(server.recv_from(&mut buf));
                see!(server.recv(&mut buf));
                see!(Ok(buf));
                see!(client.send_to(&[0; 70_000], addr));
                see!(client.send_to(b"x", "127.0.0.1:0"));
                see!(client.send_to(b"x", &[][..]));
                see!(client.send_to(b"x", "no port"));
                see!(client.send_to(b"x", "[::1]:9"));
                see!(client.connect(addr));
                see!(client.peer_addr());
                see!(Ok(client.peer_addr()? == addr));
                see!(client.send(b"two"));
                see!(server.recv(&mut buf));
                see!(client.connect(&[][..]));
                see!(client.connect("[::1]:9"));
                see!(client.connect(&["[::1]:9".parse().unwrap(), addr][..]));

                // Non-blocking.
                client.try_clone()?.set_nonblocking(true)?;
                see!(client.recv(&mut buf));
                see!(client.recv_from(&mut buf));
                see!(client.peek(&mut buf));
                see!(client.peek_from(&mut buf));
                client.set_nonblocking(false)?;

                // Descriptors.
                let fd = client.as_raw_fd();
                let client = OwnedFd::from(client);
                see!(Ok(client.as_raw_fd() == fd));
                let raw = UdpSocket::from(client).into_raw_fd();
                // SAFETY: `into_raw_fd` gave the descriptor up.
                let client = unsafe { UdpSocket::from_raw_fd(raw) };
                see!(client.send(b"still there"));
                see!(Ok(client.as_fd().as_raw_fd() == raw));
                see!(UdpSocket::from(OwnedFd::from(std::fs::File::open("/dev/null")?)).recv(&mut buf));

                // Endings.
                see!(UdpSocket::bind(addr));
                see!(UdpSocket::bind(&[addr, "127.0.0.1:0".parse().unwrap()][..]).map(drop));
                see!(UdpSocket::bind(&[][..]));
                see!(UdpSocket::bind("192.0.2.1:0"));
                drop(server);
                see!(client.send(b"nobody there"));
                see!(client.recv(&mut buf));
                see!(client.send(b"nobody there"));
                see!(client.send(b"nobody there"));
                see!(client.take_error());
                see!(client.take_error());
                Ok(seen)
            }
        }
    };
}

everything_in!(of_std, std::net);
everything_in!(of_multitask, multitask::net);

#[test]
fn everything_of_stds_udp_socket_exists_with_the_same_signatures() {
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
fn a_hundred_clients_are_answered_by_one_task_of_one_thread() {
    in_tasks_of_one_thread(|| {
        let (server, addr) = bound();
        let echo = spawn(move || echo(server, 1000));
        let clients: Vec<_> = (0..100u32)
            .map(|n| {
                spawn(move || {
                    let (client, _) = bound();
                    client.connect(addr).unwrap();
                    for round in 0..10 {
                        assert_echoed(&client, &(n * 1000 + round).to_le_bytes());
                    }
                    thread::current().id()
                })
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), thread::current().id());
        }
        echo.join().unwrap();
    });
}

#[test]
fn plain_threads_without_a_scheduler_talk_to_each_other() {
    let _watch = watch();
    let (server, addr) = bound();
    let server = thread::spawn(move || echo(server, 2));
    let client = thread::spawn(move || {
        let (client, _) = bound();
        client.connect(addr).unwrap();
        assert_echoed(&client, b"no tasks here");
        client.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(client.recv(&mut [0]));
        assert_timed_out(client.recv_many(&mut RecvBatch::new(4, 4)));
        client.set_read_timeout(None).unwrap();
        assert_echoed(&client, b"nor here");
    });
    client.join().unwrap();
    server.join().unwrap();
}

#[test]
fn a_plain_thread_and_a_task_talk_to_each_other() {
    let (server, addr) = bound();
    let client = thread::spawn(move || {
        let (client, _) = bound();
        client.connect(addr).unwrap();
        assert_echoed(&client, b"from a thread");
    });
    in_tasks(move || echo(server, 1));
    client.join().unwrap();
}

#[test]
fn several_tasks_receiving_on_one_socket_get_each_datagram_once() {
    in_tasks(|| {
        let (receiver, addr) = bound();
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
        let (sender, _) = bound();
        for n in 1..=100 {
            sender.send_to(&[n], addr).unwrap();
            yield_now();
        }
        for _ in 0..4 {
            sender.send_to(b"", addr).unwrap(); // the last word to each
        }
        let sum: u32 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 5050);
    });
}

#[test]
fn an_empty_datagram_ends_a_wait_and_names_its_sender() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let (sender, from) = bound();
        let receive = waiting(move || receiver.recv_from(&mut [7; 4]).unwrap());
        sender.send_to(b"", addr).unwrap();
        assert_eq!(receive.join().unwrap(), (0, from));
    });
}

#[test]
fn a_datagram_longer_than_the_buffer_is_cut_and_the_next_one_is_whole() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let (sender, _) = bound();
        let receive = waiting(move || {
            let mut buf = [0; 4];
            assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
            assert_eq!(&buf, b"long");
            assert_eq!(receiver.recv(&mut buf).unwrap(), 3);
            assert_eq!(&buf[..3], b"not");
        });
        sender.send_to(b"longer than four", addr).unwrap();
        sender.send_to(b"not", addr).unwrap();
        receive.join().unwrap();
    });
}

#[test]
fn peek_waits_for_a_datagram_and_leaves_it() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let (sender, from) = bound();
        let peek = waiting(move || {
            let mut buf = [0; 8];
            assert_eq!(receiver.peek_from(&mut buf).unwrap(), (4, from));
            assert_eq!(receiver.peek(&mut buf).unwrap(), 4);
            assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
            assert_eq!(&buf[..4], b"seen");
        });
        sender.send_to(b"seen", addr).unwrap();
        peek.join().unwrap();
    });
}

#[test]
fn a_connected_socket_hears_its_peer_and_nobody_else() {
    in_tasks(|| {
        let ((ours, addr), (peer, peer_addr), (stranger, _)) = (bound(), bound(), bound());
        ours.connect(peer_addr).unwrap();
        let receive = waiting(move || {
            let mut buf = [0; 8];
            let n = ours.recv(&mut buf).unwrap();
            buf[..n].to_vec()
        });
        stranger.send_to(b"stranger", addr).unwrap();
        peer.send_to(b"peer", addr).unwrap();
        assert_eq!(receive.join().unwrap(), b"peer");
    });
}

#[test]
fn a_waiting_receiver_is_told_that_nobody_was_there_to_receive_what_was_sent() {
    in_tasks(|| {
        let (gone, addr) = bound();
        drop(gone);
        let (ours, _) = bound();
        ours.connect(addr).unwrap();
        let sender = ours.try_clone().unwrap();
        let receive = waiting(move || {
            let error = ours.recv(&mut [0; 8]).unwrap_err();
            (error.kind(), ours)
        });
        sender.send(b"anybody?").unwrap();
        let (kind, ours) = receive.join().unwrap();
        assert_eq!(kind, ErrorKind::ConnectionRefused);

        // The error is reported once, and the socket stays usable.
        let (back, back_addr) = bound();
        ours.connect(back_addr).unwrap();
        ours.send(b"here").unwrap();
        assert_eq!(back.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn a_member_of_a_group_hears_what_is_sent_to_it_until_it_leaves() {
    in_tasks(|| {
        let group = Ipv4Addr::new(239, 255, 77, 78);
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let to = (group, member.local_addr().unwrap().port());
        if member
            .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .is_err()
        {
            return; // the system has no multicast
        }
        let (sender, from) = bound();
        SockRef::from(&sender)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .unwrap();
        let mut buf = [0; 8];
        sender.send_to(b"to all", to).unwrap();
        assert_eq!(member.recv_from(&mut buf).unwrap(), (6, from));

        member
            .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
            .unwrap();
        sender.send_to(b"lost", to).unwrap();
        let direct = (Ipv4Addr::LOCALHOST, to.1);
        sender.send_to(b"direct", direct).unwrap();
        member.recv_from(&mut buf).unwrap();
        assert_eq!(&buf[..6], b"direct");
    });
}

#[test]
fn sockets_of_one_port_share_its_datagrams_and_each_sender_keeps_to_one_of_them() {
    in_tasks(|| {
        let first = UdpSocket::bind_shared("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        let second = UdpSocket::bind_shared(addr).unwrap();
        let senders: Vec<_> = (0..40).map(|_| bound()).collect();
        for _ in 0..2 {
            for (sender, _) in &senders {
                sender.send_to(b"hello", addr).unwrap();
            }
        }

        let heard = [first, second].map(|socket| {
            socket.set_nonblocking(true).unwrap(); // on loopback all are here
            let mut from = Vec::new();
            while let Ok((_, sender)) = socket.recv_from(&mut [0; 8]) {
                from.push(sender);
            }
            from
        });
        assert!(heard.iter().all(|from| !from.is_empty()), "{heard:?}");
        for (_, sender) in senders {
            let mut counts = heard
                .each_ref()
                .map(|from| from.iter().filter(|&&from| from == sender).count());
            counts.sort();
            assert_eq!(counts, [0, 2]);
        }
    });
}

#[test]
fn a_port_is_shared_by_those_sockets_only_that_were_bound_so() {
    let (own, addr) = bound();
    let error = UdpSocket::bind_shared(addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(own);
    let shared = UdpSocket::bind_shared(addr).unwrap();
    let error = UdpSocket::bind(addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(shared);
}

#[test]
fn no_two_sockets_that_share_get_the_same_port_if_they_ask_for_any() {
    // Of so many, some would meet.
    for _ in 0..4 {
        let sockets: Vec<_> = (0..400)
            .map(|_| UdpSocket::bind_shared("127.0.0.1:0").unwrap())
            .collect();
        let mut ports: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), sockets.len());
    }
}

#[test]
fn a_name_is_looked_up_away_from_the_worker_for_bind_connect_and_send_to() {
    in_tasks(|| {
        let (server, addr) = bound();
        let client = UdpSocket::bind(("localhost", 0)).unwrap();
        if client.local_addr().unwrap().is_ipv4() {
            client.connect(("localhost", addr.port())).unwrap();
            client.send(b"named").unwrap();
            assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
        }
    });
}

// ---- Not waiting, or not for ever ----

#[test]
fn a_non_blocking_socket_answers_would_block_and_never_waits() {
    in_tasks(|| {
        let (socket, _) = bound();
        let clone = socket.try_clone().unwrap();
        clone.set_nonblocking(true).unwrap();
        let would_block = |error: io::Error| assert_eq!(error.kind(), ErrorKind::WouldBlock);
        would_block(socket.recv(&mut [0]).unwrap_err());
        would_block(socket.recv_from(&mut [0]).unwrap_err());
        would_block(socket.peek(&mut [0]).unwrap_err());
        would_block(socket.peek_from(&mut [0]).unwrap_err());
        would_block(socket.recv_many(&mut RecvBatch::new(1, 1)).unwrap_err());
        clone.set_nonblocking(false).unwrap();
        clone.set_read_timeout(Some(SHORT)).unwrap();
        assert_timed_out(socket.recv(&mut [0]));
    });
}

#[test]
fn a_receive_that_times_out_says_so_and_leaves_the_socket_usable() {
    in_tasks(|| {
        let (socket, addr) = bound();
        socket.set_read_timeout(Some(SHORT)).unwrap();
        let start = Instant::now();
        assert_timed_out(socket.recv(&mut [0]));
        assert!(start.elapsed() >= SHORT);
        assert_timed_out(socket.recv_from(&mut [0]));
        assert_timed_out(socket.peek(&mut [0]));
        assert_timed_out(socket.peek_from(&mut [0]));
        assert_timed_out(socket.recv_many(&mut RecvBatch::new(4, 4)));
        bound().0.send_to(b"late", addr).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn a_timeout_scope_ends_a_receive() {
    in_tasks(|| {
        let (socket, _) = bound();
        let scope = multitask::timeout(SHORT, || socket.recv(&mut [0]).is_ok());
        assert_eq!(scope, Err(Timeout));
        let mut batch = RecvBatch::new(4, 4);
        let scope = multitask::timeout(SHORT, || socket.recv_many(&mut batch).is_ok());
        assert_eq!(scope, Err(Timeout));
    });
}

#[test]
fn a_task_cancelled_in_a_receive_leaves_the_next_datagram_to_others() {
    in_tasks(|| {
        let (socket, addr) = bound();
        let socket = Arc::new(socket);
        for many in [false, true] {
            let receive = waiting({
                let socket = Arc::clone(&socket);
                move || match many {
                    false => socket.recv(&mut [0; 8]),
                    true => socket.recv_many(&mut RecvBatch::new(4, 8)),
                }
            });
            receive.cancel();
            assert!(matches!(receive.join(), Err(JoinError::Cancelled)));
            bound().0.send_to(b"kept", addr).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
        }
    });
}

#[test]
fn a_send_waits_for_room_and_lets_other_tasks_run() {
    in_tasks(|| {
        let (socket, peer) = narrow();
        let sent = fill(&socket);
        socket.set_write_timeout(Some(SHORT)).unwrap();
        assert_timed_out(socket.send(b"late"));
        assert_timed_out(socket.send_many(&["late", "later"]));
        socket.set_write_timeout(None).unwrap();

        let send = waiting(move || {
            socket.send(b"late").unwrap();
            let mut rest = &["later", "latest"][..];
            while !rest.is_empty() {
                rest = &rest[socket.send_many(rest).unwrap()..];
            }
        });
        let mut buf = [0; 8];
        let mut received = Vec::new();
        while received.len() < sent + 3 {
            match peer.recv(&mut buf) {
                Ok(n) => received.push(buf[..n].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(received[sent..], [&b"late"[..], b"later", b"latest"]);
        send.join().unwrap();
    });
}

// ---- Many at once ----

#[test]
fn a_batch_is_what_is_there_in_order_with_senders_and_cut_datagrams_marked() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let ((one, one_addr), (other, other_addr)) = (bound(), bound());
        let receive = waiting(move || {
            let mut batch = RecvBatch::new(8, 6);
            let mut all = Vec::new();
            while all.len() < 4 {
                let n = receiver.recv_many(&mut batch).unwrap();
                assert!(n >= 1 && n == batch.len() && n == batch.iter().len());
                all.extend(batch.iter().map(|d| (d.data.to_vec(), d.from, d.truncated)));
            }
            all
        });
        one.send_many_to(&[("first", addr), ("", addr)]).unwrap();
        other.connect(addr).unwrap();
        assert_eq!(other.send_many(&["second", "too long"]).unwrap(), 2);
        assert_eq!(
            receive.join().unwrap(),
            [
                (b"first".to_vec(), one_addr, false),
                (b"".to_vec(), one_addr, false),
                (b"second".to_vec(), other_addr, false),
                (b"too lo".to_vec(), other_addr, true),
            ]
        );
    });
}

#[test]
fn a_batch_takes_as_many_as_it_has_room_for_and_leaves_the_rest() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let (sender, _) = bound();
        sender.connect(addr).unwrap();
        let datagrams: Vec<_> = (0..10u8).map(|n| [n; 3]).collect();
        assert_eq!(sender.send_many(&datagrams).unwrap(), 10);

        let mut batch = RecvBatch::new(4, 100);
        assert_eq!((batch.capacity(), batch.len()), (4, 0));
        assert!(batch.is_empty() && batch.iter().next().is_none());
        let mut received = Vec::new();
        for expected in [4, 4, 2] {
            assert_eq!(receiver.recv_many(&mut batch).unwrap(), expected);
            for Datagram { data, .. } in &batch {
                received.push(data.to_vec());
            }
        }
        assert_eq!(received, datagrams);
    });
}

#[test]
fn a_failed_call_empties_the_batch_and_one_without_room_receives_nothing() {
    in_tasks(|| {
        let (socket, addr) = bound();
        socket.send_to(b"x", addr).unwrap();
        assert_eq!(socket.recv_many(&mut RecvBatch::new(0, 1)).unwrap(), 0);
        let mut batch = RecvBatch::new(2, 2);
        assert_eq!(socket.recv_many(&mut batch).unwrap(), 1);
        socket.set_nonblocking(true).unwrap();
        socket.recv_many(&mut batch).unwrap_err();
        assert!(batch.is_empty());
    });
}

#[test]
fn a_batch_goes_to_another_thread_with_what_it_holds() {
    let (socket, addr) = bound();
    socket.send_to(b"travels", addr).unwrap();
    let mut batch = RecvBatch::new(2, 16);
    socket.recv_many(&mut batch).unwrap();
    let text = thread::spawn(move || format!("{batch:?}")).join().unwrap();
    assert!(text.contains(&format!("from: {addr}")), "{text}");
}

#[test]
fn a_waiting_batch_is_told_that_nobody_was_there_to_receive_what_was_sent() {
    in_tasks(|| {
        let (gone, addr) = bound();
        drop(gone);
        let (ours, _) = bound();
        ours.connect(addr).unwrap();
        let sender = ours.try_clone().unwrap();
        let receive = waiting(move || ours.recv_many(&mut RecvBatch::new(4, 4)));
        sender.send(b"anybody?").unwrap();
        let error = receive.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn sending_many_stops_at_the_one_that_cannot_be_sent_and_reports_it_when_it_is_the_first() {
    in_tasks(|| {
        let (receiver, addr) = bound();
        let (sender, _) = bound();
        let too_long = vec![0; 70_000];
        let datagrams = [(&b"good"[..], addr), (&too_long, addr), (b"good", addr)];
        assert_eq!(sender.send_many_to(&datagrams).unwrap(), 1);
        let error = sender.send_many_to(&datagrams[1..]).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            sender.send_to(&too_long, addr).unwrap_err().raw_os_error()
        );
        assert_eq!(sender.send_many_to(&datagrams[2..]).unwrap(), 1);
        assert_eq!(sender.send_many_to::<&[u8]>(&[]).unwrap(), 0);
        assert_eq!(receiver.recv_many(&mut RecvBatch::new(8, 8)).unwrap(), 2);
    });
}

#[test]
fn sending_many_to_nobody_fails_as_sending_one_does() {
    let (socket, _) = bound();
    assert_eq!(
        socket.send_many(&["x"]).unwrap_err().raw_os_error(),
        socket.send(b"x").unwrap_err().raw_os_error()
    );
}

#[test]
fn more_datagrams_than_the_system_takes_at_a_time_are_sent_in_parts() {
    in_tasks(|| {
        let (socket, addr) = bound();
        let many = vec![("", addr); 3000];
        let mut rest = &many[..];
        while !rest.is_empty() {
            let n = socket.send_many_to(rest).unwrap();
            assert!(n > 0);
            rest = &rest[n..];
        }
    });
}

#[test]
fn a_batch_on_a_socket_of_another_family_is_refused_for_its_senders_have_no_ip_address() {
    let (local, other) = UnixDatagram::pair().unwrap();
    other.send(b"x").unwrap();
    let mut batch = RecvBatch::new(1, 1);
    let error = UdpSocket::from(OwnedFd::from(local)).recv_many(&mut batch);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(batch.is_empty());
}

#[test]
#[should_panic(expected = "at least one byte")]
fn a_batch_whose_datagrams_have_no_bytes_cannot_be_made() {
    RecvBatch::new(1, 0);
}

// ---- Descriptors in and out, and sockets that outlive where they were used ----

#[test]
fn a_socket_handed_out_blocks_again_and_keeps_its_timeouts() {
    let limits = (Some(Duration::from_secs(4)), Some(Duration::from_secs(8)));
    let (ours, _) = bound();
    assert!(non_blocking(&ours));
    ours.set_read_timeout(limits.0).unwrap();
    ours.set_write_timeout(limits.1).unwrap();

    let stds = std::net::UdpSocket::from(ours);
    assert!(!non_blocking(&stds));
    let kept = (stds.read_timeout().unwrap(), stds.write_timeout().unwrap());
    assert_eq!(kept, limits);

    let ours = UdpSocket::from(stds);
    assert!(non_blocking(&ours));
    let kept = (ours.read_timeout().unwrap(), ours.write_timeout().unwrap());
    assert_eq!(kept, limits);

    ours.set_nonblocking(true).unwrap();
    assert!(non_blocking(&std::net::UdpSocket::from(ours)));
}

#[test]
fn a_socket_taken_in_suspends_the_task_whatever_its_mode_was() {
    for mode in [false, true] {
        in_tasks(move || {
            let stds = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            stds.set_nonblocking(mode).unwrap();
            let addr = stds.local_addr().unwrap();
            let ours = UdpSocket::from(stds);
            let receive = waiting(move || ours.recv(&mut [0; 8]).unwrap());
            bound().0.send_to(b"x", addr).unwrap();
            assert_eq!(receive.join().unwrap(), 1);
        });
    }
}

#[test]
fn a_socket_outlives_the_scheduler_it_was_used_on() {
    let (server, addr) = bound();
    let serve = |server: UdpSocket| {
        in_tasks(move || {
            let echo = waiting(move || {
                echo(server.try_clone().unwrap(), 1);
                server
            });
            let (client, _) = bound();
            client.connect(addr).unwrap();
            assert_echoed(&client, b"where?");
            echo.join().unwrap()
        })
    };
    serve(serve(server));
}

// ---- Helpers ----

fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Answers so many datagrams.
fn echo(socket: UdpSocket, datagrams: usize) {
    let mut buf = [0; 64];
    for _ in 0..datagrams {
        let (n, from) = socket.recv_from(&mut buf).unwrap();
        assert_eq!(socket.send_to(&buf[..n], from).unwrap(), n);
    }
}

fn assert_echoed(socket: &UdpSocket, data: &[u8]) {
    assert_eq!(socket.send(data).unwrap(), data.len());
    let mut back = [0; 64];
    let n = socket.recv(&mut back).unwrap();
    assert_eq!(&back[..n], data);
}

/// A socket with little room, and its peer, which does not wait. A UDP socket of the loopback interface always has room, since what is sent is
/// received at once, or lost; a Unix one has not.
fn narrow() -> (UdpSocket, UnixDatagram) {
    let (ours, peer) = UnixDatagram::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    (UdpSocket::from(OwnedFd::from(ours)), peer)
}

/// Sends until there is no room, and answers how many went.
fn fill(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while socket.send(b"filler").is_ok() {
        sent += 1;
    }
    socket.set_nonblocking(false).unwrap();
    sent
}
