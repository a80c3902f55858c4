//! `multitask::net::Server` through the public face: all are served, the limit holds, what fails ends alone, and a server that stops does
//! so in good order. What shows in the process as a whole is in `server_process`.
//!
//! Clients are std's, on plain threads, so that what is tested does not test itself. Nothing sleeps to let things settle, and nothing here
//! relies on tasks taking turns: a test knows what a handler does by what it has written.

mod common;

use common::files::Folder;
use common::sockets::watch;
use common::{scheduler, Drops, OnDrop};
use multitask::dump::TaskInfo;
use multitask::net::{Incident, Server, ServerHandle, ServerReport, TcpListener, TcpStream};
use multitask::os::unix::net::{UnixListener, UnixStream};
use multitask::sync::Barrier;
use multitask::{sleep, spawn, task, timeout, yield_now, Cancelled, Handle, Timeout};
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = common::LONG;
/// For handlers that are to be cancelled: they wait for ever.
const SHORT: Duration = Duration::from_millis(20);

// ---- serving ----

#[test]
fn all_connections_are_served_beside_each_other() {
    const CLIENTS: usize = 200;
    let all_are_here = Barrier::new(CLIENTS);
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), move |stream, _| {
        all_are_here.wait();
        echo(&stream)
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::connect(running.addr))
        .collect();
    for mut client in clients {
        client.assert_echoed(b"hello");
    }
    let report = running.stop(LONG);
    assert_eq!((report.finished, report.cancelled), (CLIENTS as u64, 0));
    assert_eq!((report.failed, report.panicked), (0, 0));
}

#[test]
fn a_dump_says_which_task_accepts_and_where_serve_was_called() {
    let _watch = watch();
    scheduler().block_on(|| {
        let server = Server::bind("127.0.0.1:0").unwrap();
        let handle = server.handle();
        let called = line!() + 1;
        let serving = spawn(move || server.serve(|_, _| ()));
        let tasks = Handle::current().unwrap();
        let acceptors = loop {
            yield_now();
            let dump = tasks.dump();
            let is_acceptor = |task: &&TaskInfo| task.name() == Some("acceptor");
            let places = dump.tasks().iter().filter(is_acceptor);
            let places: Vec<_> = places.map(|task| task.spawned_at().to_string()).collect();
            if places.len() == tasks.workers() {
                break places;
            }
        };
        for place in acceptors {
            let here = format!("{}:{called}:", file!());
            assert!(place.starts_with(&here), "{place}");
        }
        handle.stop(LONG);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_handler_is_given_the_address_of_its_client() {
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), |mut stream, peer| {
        assert_eq!(stream.peer_addr().unwrap(), peer);
        write!(stream, "{peer}")
    });
    let client = Client::connect(running.addr);
    let addr = client.0.local_addr().unwrap().to_string();
    assert_eq!(client.rest(), addr);
    assert_eq!(running.stop(LONG).finished, 1);
}

#[test]
fn on_a_plain_thread_the_default_scheduler_serves_and_its_other_tasks_go_on() {
    let _watch = watch();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let (tell, told) = mpsc::channel();
    let client = thread::spawn(move || {
        Client::connect(addr).assert_echoed(b"hello");
        told.recv().unwrap();
        handle.stop(LONG);
    });
    let other = spawn(move || {
        (0..10).for_each(|_| yield_now());
        tell.send(()).unwrap();
    });
    let report = server.serve(|stream, _| echo(&stream)).unwrap();
    assert!(other.is_finished());
    assert_eq!(report.finished, 1);
    client.join().unwrap();
    multitask::run().unwrap(); // nothing is left
}

#[test]
fn a_server_of_unix_sockets_serves_and_stops_like_one_of_tcp() {
    let folder = Folder::new();
    let path = folder.join("socket");
    let server = Server::new(UnixListener::bind(&path).unwrap());
    assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));
    let handle = server.handle();
    let running = thread::spawn(move || {
        scheduler().block_on(|| {
            server.serve(|stream: UnixStream, _nameless| {
                io::copy(&mut &stream, &mut &stream).map(drop)
            })
        })
    });
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(io::read_to_string(stream).unwrap(), "hello");
    let _stuck = std::os::unix::net::UnixStream::connect(&path).unwrap();
    until(|| handle.connections() == 1);
    handle.stop(SHORT);
    let report = running.join().unwrap().unwrap();
    assert_eq!((report.finished, report.cancelled), (1, 1));
    let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_handler_has_the_stack_that_was_asked_for() {
    let server = Server::bind("127.0.0.1:0").unwrap().stack_size(4 << 20);
    let running = serve(server, |stream, _| {
        // More than a task has otherwise.
        let mut buffer = std::hint::black_box([1; 1 << 20]);
        let n = (&stream).read(&mut buffer)?;
        (&stream).write_all(&buffer[..n])
    });
    Client::connect(running.addr).assert_echoed(b"deep");
    running.stop(LONG);
}

#[test]
fn two_servers_of_one_scheduler_serve_at_the_same_time() {
    let _watch = watch();
    let servers = [(); 2].map(|()| Server::bind("127.0.0.1:0").unwrap());
    let addrs = servers
        .each_ref()
        .map(|server| server.local_addr().unwrap());
    let handles = servers.each_ref().map(Server::handle);
    let thread = thread::spawn(move || {
        scheduler().block_on(|| {
            let both = servers.map(|server| spawn(move || server.serve(|s, _| echo(&s))));
            both.map(|one| one.join().unwrap().unwrap().finished)
        })
    });
    for addr in addrs.into_iter().rev() {
        Client::connect(addr).assert_echoed(b"hello");
    }
    handles.iter().for_each(|handle| handle.stop(LONG));
    assert_eq!(thread.join().unwrap(), [1, 1]);
}

// ---- the limit ----

#[test]
fn at_its_limit_a_server_serves_the_next_client_when_one_leaves_and_first_who_came_first() {
    let served = AtomicUsize::new(0);
    // One listener: the order of its clients is the kernel's queue.
    let server = Server::new(TcpListener::bind("127.0.0.1:0").unwrap()).max_connections(2);
    let running = serve(server, move |stream, _| {
        let number = served.fetch_add(1, SeqCst);
        (&stream).write_all(&[number as u8])?;
        echo(&stream)
    });
    let connect = |number| {
        let mut client = Client::connect(running.addr);
        // The first two have room, and may be accepted by two workers at once: one comes after the other.
        assert!(number >= 2 || client.byte() == number);
        client
    };
    let mut clients: Vec<_> = (0..6).map(connect).collect();
    assert_eq!(running.handle.connections(), 2);

    // Whoever leaves, it is the next one's turn.
    drop(clients.remove(1));
    assert_eq!(clients[1].byte(), 2);
    drop(clients.remove(0));
    assert_eq!(clients[1].byte(), 3);
    assert_eq!(running.handle.connections(), 2);
    clients[2].waits();
    drop(clients.drain(..2));
    // Two leave at once, so two come at once.
    let mut last = [clients[0].byte(), clients[1].byte()];
    last.sort();
    assert_eq!(last, [4, 5]);
    drop(clients);
    assert_eq!(running.stop(LONG).finished, 6);
}

#[test]
fn there_are_never_more_connections_than_the_limit_allows() {
    const LIMIT: usize = 3;
    let (here, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let server = Server::bind("127.0.0.1:0").unwrap().max_connections(LIMIT);
    let seen = most.clone();
    let running = serve(server, move |stream, _| {
        seen.fetch_max(here.fetch_add(1, SeqCst) + 1, SeqCst);
        let _leaves = OnDrop(|| {
            here.fetch_sub(1, SeqCst);
        });
        echo(&stream)
    });
    let addr = running.addr;
    // So many there may be,
    let mut first = [(); LIMIT].map(|()| Client::connect(addr));
    for client in &mut first {
        client.assert_echoed(b"hello");
    }
    drop(first);
    // and no more.
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..10 {
                    Client::connect(addr).assert_echoed(b"hello");
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    assert_eq!(running.stop(LONG).finished, 80 + LIMIT as u64);
    assert_eq!(most.load(SeqCst), LIMIT);
}

#[test]
#[should_panic(expected = "no connection at all")]
fn a_server_for_no_connection_is_refused() {
    drop(Server::bind("127.0.0.1:0").unwrap().max_connections(0));
}

// ---- handlers that fail ----

#[test]
fn a_panicking_handler_ends_its_own_connection_and_is_told_and_counted() {
    let (server, incidents) = watched(Server::bind("127.0.0.1:0").unwrap());
    let running = serve(server, |stream, _| {
        let mut byte = [0];
        (&stream).read_exact(&mut byte).unwrap();
        assert!(byte[0] != b'!', "not that");
        echo(&stream).unwrap();
    });
    let mut good = Client::connect(running.addr);
    good.0.write_all(b"-").unwrap();
    good.assert_echoed(b"before");
    let mut bad = Client::connect(running.addr);
    let addr = bad.0.local_addr().unwrap();
    bad.0.write_all(b"!").unwrap();
    assert_eq!(bad.rest(), "", "it is closed");
    let told = format!("connection from {addr}: its handler panicked: not that");
    assert_eq!(incidents.recv().unwrap(), told);

    good.assert_echoed(b"after");
    let mut late = Client::connect(running.addr);
    late.0.write_all(b"-").unwrap();
    late.assert_echoed(b"too");
    drop((good, late));
    let report = running.stop(LONG);
    assert_eq!((report.finished, report.panicked), (3, 1));
    assert_eq!((report.failed, report.cancelled), (0, 0));
    assert!(incidents.recv().is_err(), "nothing else");
}

#[test]
fn the_error_of_a_handler_is_told_and_counted_whatever_its_type() {
    fn fails<R: multitask::net::Handled>(
        handler: impl Fn(TcpStream, SocketAddr) -> R + Send + Sync + 'static,
    ) -> String {
        let (server, incidents) = watched(Server::bind("127.0.0.1:0").unwrap());
        let running = serve(server, handler);
        let client = Client::connect(running.addr);
        let addr = client.0.local_addr().unwrap();
        assert_eq!(client.rest(), "");
        let told = incidents.recv().unwrap();
        let report = running.stop(LONG);
        assert_eq!((report.finished, report.failed), (1, 1));
        let error = told.strip_prefix(&format!("connection from {addr}: "));
        error.expect(&told).to_owned()
    }
    assert_eq!(fails(|_, _| Err::<(), _>("text")), "text");
    assert_eq!(fails(|_, _| Err::<u64, _>(Timeout)), "timed out");
    let own = |_, _| -> Result<(), Box<dyn Error + Send + Sync>> { Err("boxed".into()) };
    assert_eq!(fails(own), "boxed");
    let io = |stream: TcpStream, _| {
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        (&stream).read(&mut [0])
    };
    assert_eq!(fails(io), "timed out");
}

#[test]
fn a_hook_that_panics_ends_nothing_and_one_that_waits_keeps_the_server_for_so_long() {
    let told = Arc::new(AtomicUsize::new(0));
    let counts = told.clone();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let server = server.on_incident(move |_: Incident<SocketAddr>| {
        sleep(SHORT);
        counts.fetch_add(1, SeqCst);
        panic!("in the hook");
    });
    let running = serve(server, |_, _| Err::<(), _>("always"));
    for _ in 0..3 {
        assert_eq!(Client::connect(running.addr).rest(), "");
    }
    let report = running.stop(LONG);
    assert_eq!((report.finished, report.failed), (3, 3));
    assert_eq!(told.load(SeqCst), 3);
}

#[test]
fn what_is_no_listener_ends_the_server_with_an_error() {
    let _watch = watch();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let silent = net::TcpListener::from(socket.unwrap());
    let server = Server::new(TcpListener::from(silent));
    let error = server.serve(|_, _| ()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));

    // Another family's connections have no address that a handler could be given.
    let folder = Folder::new();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::new(TcpListener::from(std::os::fd::OwnedFd::from(listener)));
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let error = server.serve(|_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

// ---- stopping ----

#[test]
fn an_idle_server_stops_at_once_and_refuses_clients() {
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), |_, _| ());
    let (addr, handle) = (running.addr, running.handle.clone());
    assert!(!handle.is_stopping());
    assert_eq!(running.stop(LONG), ServerReport::default());
    assert!(handle.is_stopping());
    assert_refused(addr);
    handle.stop(Duration::ZERO); // there is nothing left to be stopped
    let text = format!("{handle:?}");
    assert_eq!(text, "ServerHandle { is_stopping: true, connections: 0 }");
}

#[test]
fn a_server_that_stops_refuses_clients_and_lets_handlers_come_to_their_ends() {
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), |s, _| echo(&s));
    let mut clients = [(); 2].map(|()| Client::connect(running.addr));
    clients[0].assert_echoed(b"before");
    clients[1].assert_echoed(b"before");
    let mut finished = Client::connect(running.addr);
    finished.assert_echoed(b"before");
    drop(finished);
    until(|| running.handle.connections() == 2);

    running.handle.stop(LONG);
    until_refused(running.addr);
    clients[0].assert_echoed(b"after");
    clients[1].assert_echoed(b"after");
    drop(clients);
    let report = running.join().unwrap();
    // There may be some that came just before they were refused.
    assert_eq!(report.finished - report.drained, 1);
    assert!(report.drained >= 2);
    assert_eq!(report.cancelled, 0);
}

#[test]
fn what_has_not_ended_at_the_deadline_is_cancelled_and_its_destructors_are_waited_for() {
    let drops = Drops::default();
    let counted = drops.clone();
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), move |stream, _| {
        let dropped = counted.one();
        let mut dropped = Some(dropped);
        let _slow = OnDrop(|| {
            sleep(SHORT); // a destructor may wait, also while it unwinds
            dropped.take();
        });
        (&stream).write_all(b"!")?;
        let _end = (&stream).read(&mut [0])?;
        io::Result::Ok(())
    });
    let connect = |_| {
        let mut client = Client::connect(running.addr);
        assert_eq!(client.byte(), b'!', "its handler has begun");
        client
    };
    let mut stuck: Vec<_> = (0..4).map(connect).collect();
    let ends = stuck.pop();
    assert_eq!(running.handle.connections(), 4);
    running.handle.stop(LONG);
    drop(ends);
    until(|| running.handle.connections() == 3);
    running.handle.stop(SHORT);
    let report = running.join().unwrap();
    assert_eq!((report.cancelled, report.drained), (3, 1));
    assert_eq!((report.finished, report.failed), (1, 0));
    assert_eq!(drops.count(), 4);
    for client in stuck {
        assert_eq!(client.rest(), "", "its connection is closed");
    }
}

#[test]
fn of_two_deadlines_the_nearer_one_holds_whichever_comes_first() {
    let stuck = || {
        let running = serve(Server::bind("127.0.0.1:0").unwrap(), |s, _| echo(&s));
        let mut client = Client::connect(running.addr);
        client.assert_echoed(b"hello");
        (running, client)
    };
    for first in [LONG, Duration::MAX] {
        let (running, _client) = stuck();
        running.handle.stop(first);
        running.handle.stop(Duration::ZERO);
        assert_eq!(running.join().unwrap().cancelled, 1);

        let (running, _client) = stuck();
        running.handle.stop(first);
        until_refused(running.addr); // it drains
        until(|| running.handle.connections() == 1); // those that were let in until then have gone
        running.handle.stop(SHORT);
        assert_eq!(running.join().unwrap().cancelled, 1);

        let (running, _client) = stuck();
        running.handle.stop_deadline(Instant::now());
        running.handle.stop(first);
        assert_eq!(running.join().unwrap().cancelled, 1);
    }
}

#[test]
fn a_handler_that_stops_its_server_comes_to_its_own_end() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let handle = server.handle();
    let running = serve(server, move |mut stream, _| {
        handle.stop(LONG);
        sleep(SHORT);
        stream.write_all(b"stopped")
    });
    let other = Client::connect(running.addr);
    assert_eq!(other.rest(), "stopped");
    assert_eq!(running.join().unwrap().drained, 1);
}

#[test]
fn a_task_beside_it_stops_a_server() {
    let _watch = watch();
    let report = scheduler().block_on(|| {
        let server = Server::bind("127.0.0.1:0").unwrap();
        let handle = server.handle();
        spawn(move || handle.stop(LONG));
        server.serve(|_, _| ())
    });
    assert_eq!(report.unwrap(), ServerReport::default());
}

#[test]
fn clients_that_the_kernel_had_accepted_before_the_stop_are_served_as_far_as_there_is_room() {
    let _watch = watch();
    let server = Server::bind("127.0.0.1:0").unwrap().max_connections(2);
    let addr = server.local_addr().unwrap();
    let clients = [(); 3].map(|()| Client::connect(addr));
    server.handle().stop(LONG);
    let served = thread::spawn(move || scheduler().block_on(|| server.serve(|s, _| echo(&s))));
    let [mut first, mut second, third] = clients;
    first.assert_echoed(b"first");
    second.assert_echoed(b"second");
    assert_eq!(third.failure(), ErrorKind::ConnectionReset);
    until_refused(addr); // each worker closes its own listener
    drop((first, second));
    let report = served.join().unwrap().unwrap();
    assert_eq!((report.finished, report.drained), (2, 2));
}

#[test]
fn a_server_without_time_serves_nobody() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(server.local_addr().unwrap());
    server.handle().stop(Duration::ZERO);
    assert_eq!(server.serve(|_, _| ()).unwrap(), ServerReport::default());
    assert_eq!(client.failure(), ErrorKind::ConnectionReset);
}

#[test]
fn a_server_that_is_dropped_closes_its_listener_and_its_handler_is_dropped_with_it() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    drop(server);
    assert_refused(addr);
    handle.stop(LONG);

    let drops = Drops::default();
    let dropped = drops.one();
    let running = serve(Server::bind("127.0.0.1:0").unwrap(), move |_, _| {
        let _used = &dropped;
    });
    drop(Client::connect(running.addr).rest());
    running.stop(LONG);
    assert_eq!(drops.count(), 1);
}

// ---- interruptions ----

/// A server with two handlers that wait for ever, and a client too many, ended by `interrupt`.
fn interrupted<T: Send + 'static>(
    interrupt: impl FnOnce(Server, Box<dyn Fn(TcpStream, SocketAddr) + Send + Sync>) -> T
        + Send
        + 'static,
) -> T {
    let _watch = watch();
    let server = Server::bind("127.0.0.1:0").unwrap().max_connections(2);
    let addr = server.local_addr().unwrap();
    // The third one waits for its accept.
    let clients = [(); 3].map(|()| Client::connect(addr));
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Drops::default());
    let (begins, ends) = (begun.clone(), ended.clone());
    let handler = move |stream: TcpStream, _| {
        begins.fetch_add(1, SeqCst);
        let _ends = ends.one();
        echo(&stream).unwrap();
    };
    let thread = thread::spawn(move || {
        let scheduler = scheduler();
        let value = scheduler.block_on(|| interrupt(server, Box::new(handler)));
        assert_eq!(ended.count(), begun.load(SeqCst), "a handler is left");
        assert_eq!(scheduler.stats().live, 0, "a task is left");
        value
    });
    let value = thread.join().unwrap();
    assert_refused(addr);
    for client in clients {
        client.ends();
    }
    value
}

#[test]
fn cancelling_the_task_that_serves_ends_everything() {
    interrupted(|server, handler| {
        let handle = server.handle();
        let serving = spawn(move || server.serve(handler));
        until(|| handle.connections() == 2);
        serving.cancel();
        assert!(serving.join().unwrap_err().is_cancelled());
        assert!(handle.is_stopping());
        assert_eq!(handle.connections(), 0);
    });
}

#[test]
fn a_timeout_round_serve_ends_everything_and_the_task_goes_on() {
    interrupted(|server, handler| {
        let handle = server.handle();
        let ended = timeout(SHORT, || server.serve(handler));
        assert_eq!(ended.unwrap_err(), Timeout);
        assert_eq!(handle.connections(), 0);
        yield_now();
    });
}

#[test]
fn a_timeout_round_serve_holds_on_a_plain_thread() {
    let _watch = watch();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let client = Client::connect(addr);
    let ended = timeout(SHORT, || server.serve(|stream, _| echo(&stream)));
    assert_eq!(ended.unwrap_err(), Timeout);
    assert_refused(addr);
    client.ends();
    multitask::run().unwrap(); // nothing is left
}

#[test]
fn a_scheduler_that_is_shut_down_ends_its_servers() {
    let _watch = watch();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let drops = Drops::default();
    let counted = drops.clone();
    let (tell, tasks) = mpsc::channel();
    let thread = thread::spawn(move || {
        let scheduler = scheduler();
        let serving = scheduler.spawn(move || {
            server.serve(move |stream, _| {
                let _dropped = counted.one();
                echo(&stream)
            })
        });
        tell.send(scheduler.handle()).unwrap();
        scheduler.run().unwrap();
        // Or its tasks were, on other workers, before it was itself: then `serve` says so.
        match serving.join() {
            Err(error) => assert!(error.is_cancelled()),
            Ok(served) => assert!(served.unwrap_err().get_ref().unwrap().is::<Cancelled>()),
        }
    });
    let mut client = Client::connect(addr);
    client.assert_echoed(b"hello");
    tasks.recv().unwrap().cancel_all();
    thread.join().unwrap();
    assert_eq!((drops.count(), handle.connections()), (1, 0));
    client.ends();
    assert_refused(addr);
}

#[test]
fn a_default_scheduler_that_is_shut_down_ends_the_server_of_its_thread_with_an_error() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let _client = Client::connect(addr);
    let thread = thread::spawn(move || {
        let _watch = watch();
        let tasks = multitask::Scheduler::default_handle().unwrap();
        let stuck = move |_: TcpStream, _| {
            tasks.cancel_all();
            task::park();
        };
        server.serve(stuck)
    });
    let error = thread.join().unwrap().unwrap_err();
    assert!(error.get_ref().unwrap().is::<Cancelled>());
    assert_refused(addr);
}

// ---- ports ----

#[test]
fn two_servers_share_a_port_and_one_that_stops_leaves_all_clients_to_the_other() {
    let shared = TcpListener::builder().reuse_port(true);
    let first = Server::bind_with(shared.clone(), "127.0.0.1:0").unwrap();
    let second = Server::bind_with(shared, first.local_addr().unwrap()).unwrap();
    let handler = |name: &'static str| {
        move |mut stream: TcpStream, _: SocketAddr| stream.write_all(name.as_bytes())
    };
    let first = serve(first, handler("first"));
    let second = serve(second, handler("second"));
    let addr = first.addr;
    assert_eq!(second.addr, addr);
    let ask = || Client::connect(addr).rest();
    let answers: Vec<_> = (0..60).map(|_| ask()).collect();
    let first_answered = answers.iter().filter(|name| *name == "first").count();
    assert!((1..60).contains(&first_answered), "{first_answered} of 60");

    assert_eq!(first.stop(LONG).finished, first_answered as u64);
    assert!((0..30).all(|_| ask() == "second"));
    assert_eq!(second.stop(LONG).finished, 90 - first_answered as u64);
    assert_refused(addr);
}

#[test]
fn the_port_of_a_server_is_its_own_unless_it_is_to_be_shared() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let again = [
        Server::bind(addr).map(drop),
        TcpListener::bind_shared(addr).map(drop),
    ];
    for error in again {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn servers_and_handles_go_from_thread_to_thread() {
    fn sendable<T: Send + 'static>() {}
    fn shareable<T: Send + Sync + Clone + 'static>() {}
    sendable::<Server>();
    sendable::<Server<UnixListener>>();
    shareable::<ServerHandle>();
    sendable::<Incident<SocketAddr>>();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let text = format!("{server:?}");
    assert_eq!(text, format!("Server {{ local_addr: Some({addr}), .. }}"));
}

// ---- helpers ----

/// A server at work, on a scheduler and a thread of its own.
struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    thread: thread::JoinHandle<io::Result<ServerReport>>,
    _watch: mpsc::Sender<()>,
}

fn serve<R: multitask::net::Handled>(
    server: Server,
    handler: impl Fn(TcpStream, SocketAddr) -> R + Send + Sync + 'static,
) -> Running {
    Running {
        addr: server.local_addr().unwrap(),
        handle: server.handle(),
        thread: thread::spawn(move || {
            let scheduler = scheduler();
            let report = scheduler.block_on(|| server.serve(handler));
            assert_eq!(scheduler.stats().live, 0, "a task is left");
            report
        }),
        _watch: watch(),
    }
}

impl Running {
    fn stop(self, grace: Duration) -> ServerReport {
        self.handle.stop(grace);
        self.join().unwrap()
    }

    fn join(self) -> io::Result<ServerReport> {
        self.thread.join().unwrap()
    }
}

/// The server's incidents, as text.
fn watched(server: Server) -> (Server, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let server = server.on_incident(move |incident| {
        tell.lock().unwrap().send(incident.to_string()).unwrap();
    });
    (server, told)
}

fn echo(stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut &*stream, &mut &*stream).map(drop)
}

/// Looks until it holds: another thread is about to see to it.
fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now();
        thread::yield_now();
    }
}

struct Client(net::TcpStream);

impl Client {
    fn connect(addr: SocketAddr) -> Client {
        let stream = net::TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(50)))
            .unwrap();
        Client(stream)
    }

    fn assert_echoed(&mut self, message: &[u8]) {
        self.0.write_all(message).unwrap();
        let mut back = vec![0; message.len()];
        self.0.read_exact(&mut back).unwrap();
        assert_eq!(back, message);
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// What the server says until it closes the connection.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    /// How the connection fails.
    fn failure(mut self) -> ErrorKind {
        self.0.read(&mut [0]).unwrap_err().kind()
    }

    /// In one way or the other.
    fn ends(mut self) {
        let end = self.0.read(&mut [0]).map_err(|error| error.kind());
        assert!(
            matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }

    /// Nothing has come by now.
    fn waits(&mut self) {
        self.0.set_nonblocking(true).unwrap();
        let error = self.0.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.0.set_nonblocking(false).unwrap();
    }
}

fn assert_refused(addr: SocketAddr) {
    let error = net::TcpStream::connect(addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Those who come before may be let in.
fn until_refused(addr: SocketAddr) {
    until(|| match net::TcpStream::connect(addr) {
        Ok(_early) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    });
}
