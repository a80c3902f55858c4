//! `net::Server`, as far as it shows in the process as a whole: its descriptors, and what is left when there are none.

mod children;
mod common;

use children::Running;
use common::scheduler;
use multitask::net::{Incident, Server, ServerHandle, ServerReport, TcpStream};
use multitask::{spawn, task, yield_now, Scheduler};
use rlimit::Resource;
use std::fs::{read_dir, File};
use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const LONG: Duration = common::LONG;

fn main() {
    children::main(&[
        case!(
            without_descriptors_clients_wait_and_are_served_as_connections_end,
            Running::succeeds
        ),
        case!(
            clients_are_served_when_somebody_else_frees_a_descriptor,
            Running::succeeds
        ),
        case!(
            a_limit_below_that_of_descriptors_keeps_some_for_handlers,
            Running::succeeds
        ),
        case!(
            a_server_that_has_stopped_leaves_no_descriptor,
            Running::succeeds
        ),
        case!(
            a_server_that_was_cancelled_leaves_no_descriptor,
            Running::succeeds
        ),
        case!(an_idle_server_is_not_taken_for_deadlocked, connects_late),
    ]);
}

fn descriptors() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

/// Lets the process have so many more descriptors, beside those for the listeners that a server has for further workers.
fn spare_descriptors(spare: u64, tasks: &Scheduler) {
    let spare = spare + tasks.workers() as u64 - 1;
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let hard = rlimit::getrlimit(Resource::NOFILE).unwrap().1;
    rlimit::setrlimit(Resource::NOFILE, lowest_free + spare, hard).unwrap();
}

fn echo(stream: TcpStream, _: SocketAddr) -> io::Result<()> {
    io::copy(&mut &stream, &mut &stream).map(drop)
}

/// A client that the kernel has connected before anybody has accepted.
fn connected(addr: SocketAddr) -> TcpStream {
    net::TcpStream::connect(addr).unwrap().into()
}

fn assert_echoed(mut stream: &TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

/// A server that counts how often it pauses, which has to be for want of descriptors.
fn server() -> (Server, SocketAddr, ServerHandle, Arc<AtomicUsize>) {
    let pauses = Arc::new(AtomicUsize::new(0));
    let counts = pauses.clone();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let server = server.on_incident(move |incident| match incident {
        Incident::Paused(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            counts.fetch_add(1, SeqCst);
        }
        other => panic!("{other}"),
    });
    (server, addr, handle, pauses)
}

fn without_descriptors_clients_wait_and_are_served_as_connections_end() {
    const CLIENTS: u64 = 20;
    let (server, addr, handle, pauses) = server();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connected(addr)).collect();
    let tasks = scheduler();
    spare_descriptors(3, &tasks);
    let serving = tasks.spawn(move || server.serve(echo));
    let clients = tasks.spawn(move || {
        let clients = clients.into_iter().map(|client| {
            spawn(move || {
                assert_echoed(&client);
                assert_echoed(&client);
                // Its own descriptor is kept: that of the server is what another one gets.
                client.shutdown(net::Shutdown::Write).unwrap();
                assert_eq!((&client).read(&mut [0]).unwrap(), 0);
                client
            })
        });
        let clients: Vec<_> = clients.collect();
        let clients = clients.into_iter().map(|client| client.join().unwrap());
        let clients: Vec<_> = clients.collect();
        handle.stop(LONG);
        drop(clients);
    });
    tasks.run().unwrap();
    clients.join().unwrap();
    let report = serving.join().unwrap().unwrap();
    assert_eq!((report.finished, report.failed), (CLIENTS, 0));
    let pauses = pauses.load(SeqCst);
    assert!((1..=CLIENTS as usize).contains(&pauses), "{pauses}");
}

fn clients_are_served_when_somebody_else_frees_a_descriptor() {
    let (server, addr, handle, pauses) = server();
    let client = connected(addr);
    let tasks = scheduler();
    spare_descriptors(1, &tasks);
    let hoard = File::open("/dev/null").unwrap();
    let serving = tasks.spawn(move || server.serve(echo));
    tasks.spawn(move || {
        while pauses.load(SeqCst) == 0 {
            yield_now();
        }
        drop(hoard); // nobody tells the server
        assert_echoed(&client);
        handle.stop(LONG);
    });
    tasks.run().unwrap();
    assert_eq!(serving.join().unwrap().unwrap().finished, 1);
}

fn a_limit_below_that_of_descriptors_keeps_some_for_handlers() {
    let (server, addr, handle, pauses) = server();
    let server = server.max_connections(2);
    let clients: Vec<_> = (0..10).map(|_| connected(addr)).collect();
    let tasks = scheduler();
    spare_descriptors(4, &tasks);
    let serving = tasks.spawn(move || {
        server.serve(|stream, peer| {
            let _own = File::open("/dev/null")?;
            echo(stream, peer)
        })
    });
    tasks.spawn(move || {
        for client in &clients {
            assert_echoed(client);
            client.shutdown(net::Shutdown::Write).unwrap();
        }
        handle.stop(LONG);
    });
    tasks.run().unwrap();
    assert_eq!(serving.join().unwrap().unwrap().finished, 10);
    assert_eq!(pauses.load(SeqCst), 0);
}

/// Has clients of all kinds, then lets `end` see to the end of the server.
fn round(
    end: impl FnOnce(&ServerHandle, &task::JoinHandle<io::Result<ServerReport>>) + Send + 'static,
) -> Option<ServerReport> {
    scheduler().block_on(|| {
        let (server, addr, handle, _) = server();
        let serving = spawn(move || server.serve(echo));
        for _ in 0..50 {
            assert_echoed(&TcpStream::connect(addr).unwrap());
        }
        let stuck: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
        stuck.iter().for_each(assert_echoed);
        while handle.connections() > 5 {
            yield_now();
        }
        end(&handle, &serving);
        serving.join().ok().map(|report| report.unwrap())
    })
}

fn a_server_that_has_stopped_leaves_no_descriptor() {
    let stops = || round(|handle, _| handle.stop(Duration::from_millis(1)));
    stops();
    let before = descriptors();
    for _ in 0..10 {
        let report = stops().unwrap();
        assert_eq!((report.finished, report.cancelled), (50, 5));
    }
    assert_eq!(descriptors(), before);
}

fn a_server_that_was_cancelled_leaves_no_descriptor() {
    let cancels = || round(|_, serving| serving.cancel());
    cancels();
    let before = descriptors();
    for _ in 0..10 {
        assert!(cancels().is_none());
    }
    assert_eq!(descriptors(), before);
}

fn an_idle_server_is_not_taken_for_deadlocked() {
    let (server, addr, handle, _) = server();
    let tasks = scheduler();
    let serving = tasks.spawn(move || server.serve(move |_, _| handle.stop(LONG)));
    println!("{addr}");
    tasks.run().unwrap();
    assert_eq!(serving.join().unwrap().unwrap().finished, 1);
}

/// Connects when the server has been idle for longer than a loop's patience with a lull.
fn connects_late(mut running: Running) {
    let addr: SocketAddr = running.line().parse().unwrap();
    thread::sleep(Duration::from_millis(200));
    let _stops_it = net::TcpStream::connect(addr).unwrap();
    running.succeeds();
}
