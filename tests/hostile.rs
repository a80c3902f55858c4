//! Hostile peers of the example servers, by std's sockets and threads. While each attack goes on somebody who behaves is served; what the attackers
//! cost the server is bounded; and at the end it stops in good order, and has not panicked.
//!
//! That somebody is served is waited for, for at most [`SOON`]. Attackers are let go when a limit of the example says so, which options set to
//! less than what it is otherwise.
#![cfg(target_os = "linux")] // what the server's process has is read in `/proc`

mod common;
mod programs;

use common::Random;
use programs::{Guest, Server, PATIENCE};
use rlimit::Resource;
use socket2::{Domain, SockRef, Socket, Type};
use std::fs::read_dir;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Whoever behaves is served within this time, whatever the others do: on a machine that is busy with other tests, too.
const SOON: Duration = Duration::from_secs(60);
/// As much as nobody has time for.
const GIGABYTE: usize = 1 << 30;
/// Bytes that a server may take for a handful of clients, whatever they do.
const LITTLE: u64 = 8 << 20;
/// And for one of thousands.
const EACH: u64 = 40 << 10;

// ---- echo_server ----

#[test]
fn who_sends_a_byte_at_a_time_takes_nobody_s_turn() {
    let server = Server::echoing(&["--timeout", "3600"]);
    let before = memory(&server);
    let mut slow: Vec<_> = (0..50).map(|_| connect(&server)).collect();
    for byte in 0..20 {
        for stream in &mut slow {
            stream.write_all(&[byte]).unwrap();
            served(&server);
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [byte]);
        }
    }
    assert!(memory(&server) < before + LITTLE);
    ends_well(server, "served 1050 connections\n");
}

#[test]
fn who_sends_and_never_reads_is_let_go() {
    let server = Server::echoing(&["--timeout", "0.3"]);
    let before = memory(&server);
    let attackers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&server);
            thread::spawn(move || {
                let some = [b'x'; 1 << 16];
                loop {
                    if let Err(error) = stream.write_all(&some) {
                        return error;
                    }
                }
            })
        })
        .collect();
    while !attackers.iter().all(thread::JoinHandle::is_finished) {
        served(&server);
    }
    for attacker in attackers {
        assert_let_go(&attacker.join().unwrap());
    }
    assert!(memory(&server) < before + LITTLE);
    ends_well(server, "served ");
}

#[test]
fn who_takes_his_answer_a_byte_at_a_time_is_let_go_as_well() {
    let server = Server::echoing(&["--timeout", "0.3"]);
    let mut stream = connect(&server);
    stream.set_nonblocking(true).unwrap();
    let error = loop {
        match stream.write(&[b'x'; 1 << 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break error,
            Ok(_) => continue,
        }
        served(&server);
        match stream.read(&mut [0]) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => break error,
            _ => {}
        }
    };
    assert_let_go(&error);
    ends_well(server, "served ");
}

#[test]
fn a_gigabyte_without_a_newline_costs_no_more_than_a_line() {
    let server = Server::start();
    let before = memory(&server);
    let stream = connect(&server);
    let mut sends = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let some = [b'x'; 1 << 16];
        for _ in 0..GIGABYTE / some.len() {
            sends.write_all(&some).unwrap();
        }
    });
    let mut stream = stream;
    let receiver = thread::spawn(move || {
        let mut some = vec![0; 1 << 18];
        let mut left = GIGABYTE;
        while left > 0 {
            let n = stream.read(&mut some).unwrap();
            assert!(n > 0 && some[..n].iter().all(|&byte| byte == b'x'));
            left -= n;
        }
    });
    while !receiver.is_finished() {
        served(&server);
    }
    sender.join().unwrap();
    receiver.join().unwrap();
    assert!(memory(&server) < before + LITTLE);
    ends_well(server, "served ");
}

#[test]
fn garbage_is_sent_back_as_it_is() {
    let server = Server::start();
    let mut random = Random::new(1);
    for _ in 0..20 {
        let garbage: Vec<u8> = (0..50_000).map(|_| random.below(256) as u8).collect();
        let mut stream = connect(&server);
        stream.write_all(&garbage).unwrap();
        served(&server);
        let mut back = vec![0; garbage.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, garbage);
    }
    ends_well(server, "served 40 connections\n");
}

#[test]
fn a_connection_whose_other_end_is_no_more_is_closed() {
    let server = Server::echoing(&["--timeout", "0.5"]);
    let before = descriptors(&server);
    let mut silent = Vec::new();
    for n in 0..100 {
        let stream = match n % 2 {
            0 => programs::served(|| converses(&server)).0,
            _ => connect(&server),
        };
        silent.extend(vanish(stream));
    }
    served(&server);
    // No client says that it goes.
    while descriptors(&server) > before {
        served(&server);
    }
    ends_well(server, "served ");
}

#[test]
fn five_thousand_clients_without_a_request_keep_nobody_else_out() {
    let server = Server::echoing(&["--timeout", "3"]);
    let before = memory(&server);
    let crowd = crowd(5000);
    let mut idle = Vec::new();
    for n in 0..crowd {
        idle.push(connect(&server));
        if n % 500 == 0 {
            served(&server);
        }
    }
    served(&server);
    for mut stream in idle {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is let go");
    }
    let grown = memory(&server) - before;
    assert!(grown < crowd as u64 * EACH, "{grown}");
    ends_well(server, "served ");
}

#[test]
fn five_thousand_clients_without_a_request_and_no_descriptors_make_others_wait_but_not_for_ever() {
    let server = Server::echoing(&["--timeout", "0.1"]);
    let begun = Instant::now();
    limit_descriptors(&server, 300);
    let idle = knocks(&server, crowd(5000));
    served(&server);
    served(&server);
    drop(idle);
    let log = ends_well(server, "served ");
    assert!(log.starts_with("accept: "), "{log}");
    // Each but the first after a second without: else they fill the log, and a pipe that nobody reads, which stops the server.
    let told = log.matches("accept: ").count() as u64;
    assert!(told <= 1 + begun.elapsed().as_secs(), "{told} times");
}

// ---- line_chat ----

#[test]
fn who_does_not_say_its_name_is_shown_the_door() {
    let server = chat(&["--timeout", "0.5"]);
    let mut friends = Friends::meet(&server);
    let mut silent = connect(&server);
    let mut slow = connect(&server);
    let slow = thread::spawn(move || loop {
        if let Err(error) = slow.write_all(b"x") {
            return error;
        }
        thread::sleep(Duration::from_millis(5)); // its pace
    });
    while !slow.is_finished() {
        friends.talk();
    }
    assert_let_go(&slow.join().unwrap());
    assert_eq!(&rest(&mut silent), "* your name?\n");
    ends_well(server, "goodbye to 2\n");
}

#[test]
fn who_has_no_proper_name_is_shown_the_door() {
    let server = chat(&[]);
    let mut friends = Friends::meet(&server);
    let long = format!("{}\n", "x".repeat(33));
    for names in [
        &b"\n/quit\nann\n"[..],
        b"ann: hi\nann\x1b[2J\n\xff\xfe\n",
        long.repeat(3).as_bytes(),
    ] {
        let mut nobody = connect(&server);
        nobody.write_all(names).unwrap();
        let told = rest(&mut nobody);
        assert_eq!(told, "* your name?\n* not that one\n".repeat(3));
    }
    assert_eq!(friends.talk(), [""; 0], "nobody has joined");
    ends_well(server, "goodbye to 2\n");
}

#[test]
fn who_does_not_finish_a_line_is_shown_the_door_and_who_is_silent_is_not() {
    let server = chat(&["--timeout", "0.5"]);
    let mut friends = Friends::meet(&server);
    let (mut silent, _) = Guest::named(&server, "silent");
    let (mut slow, _) = Guest::named(&server, "slow");
    slow.0
        .get_mut()
        .write_all(b"this is the beginning of")
        .unwrap();
    friends.hear("* slow has left");
    assert_eq!(slow.hears(), "* you take too long: goodbye");
    assert!(friends.talk().is_empty());
    silent.says("still here");
    friends.hear("silent: still here");
    ends_well(server, "goodbye to 3\n");
}

#[test]
fn a_line_of_a_gigabyte_is_refused_at_the_limit() {
    for max in ["100", "4096"] {
        let server = chat(&["--max-line", max]);
        let mut friends = Friends::meet(&server);
        let before = memory(&server);
        let named = connect(&server);
        let (guest, _) = Guest::named(&server, "endless");
        let attackers = [named, guest.0.into_inner()].map(|mut stream| {
            thread::spawn(move || {
                let some = [b'x'; 1 << 16];
                let all = (0..GIGABYTE / some.len()).try_for_each(|_| stream.write_all(&some));
                all.expect_err("nobody takes all of it")
            })
        });
        friends.hear("* endless has left");
        for attacker in attackers {
            assert_let_go(&attacker.join().unwrap());
        }
        assert!(memory(&server) < before + LITTLE);
        ends_well(server, "goodbye to 2\n");
    }
}

#[test]
fn who_never_reads_is_shown_the_door() {
    let server = chat(&["--timeout", "0.5"]);
    let mut friends = Friends::meet(&server);
    let before = memory(&server);
    let (mute, _) = Guest::named(&server, "mute");
    SockRef::from(mute.0.get_ref())
        .set_recv_buffer_size(4096)
        .unwrap();
    let long = "x".repeat(3000);
    while !friends.heard("* mute has left") {
        friends.say(&long);
    }
    assert!(memory(&server) < before + LITTLE);
    ends_well(server, "goodbye to 2\n");
}

#[test]
fn garbage_reaches_the_others_as_text() {
    let server = chat(&[]);
    let mut friends = Friends::meet(&server);
    let before = memory(&server);
    let (guest, _) = Guest::named(&server, "noise");
    let mut stream = guest.0.into_inner();
    let noise = thread::spawn(move || {
        let mut random = Random::new(2);
        for _ in 0..500 {
            let mut line: Vec<u8> = (0..random.below(1000))
                .map(|_| random.below(256) as u8)
                .collect();
            line.push(b'\n');
            stream.write_all(&line).unwrap();
        }
        stream.write_all(b"/quit\n").unwrap();
        io::copy(&mut stream, &mut io::sink()).unwrap();
    });
    while !friends.heard("* noise has left") {
        friends.talk();
    }
    noise.join().unwrap();
    let mut heard = friends.others.iter();
    assert!(heard.any(|line| line.starts_with("noise: ")));
    let clean = |line: &String| !line.contains(char::is_control);
    assert!(friends.others.iter().all(clean));
    assert!(memory(&server) < before + LITTLE);
    ends_well(server, "goodbye to 2\n");
}

#[test]
fn who_says_more_than_others_can_read_is_slowed_down() {
    // At a thousand a second, but for the first 20.
    const LINES: usize = 2000;
    const TIME: Duration = Duration::from_millis(1900);
    let server = chat(&[]);
    let mut friends = Friends::meet(&server);
    let (mut loud, _) = Guest::named(&server, "loud");
    friends.hear("* loud has joined");
    let lines: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    let start = Instant::now();
    loud.says(lines.trim_end());
    for n in 0..LINES {
        assert_eq!(friends.bob.hears(), format!("loud: {n}"), "none is lost");
    }
    assert!(start.elapsed() > TIME, "{:?}", start.elapsed());
    ends_well(server, "goodbye to 3\n");
}

#[test]
fn a_member_whose_other_end_is_no_more_leaves() {
    let server = chat(&["--idle", "5"]);
    let mut friends = Friends::meet(&server);
    let (ghost, _) = Guest::named(&server, "ghost");
    let (silent, _) = Guest::named(&server, "silent");
    let _kept = vanish(ghost.0.into_inner());
    while !friends.heard("* ghost has left") || !friends.heard("* silent has left") {
        friends.talk();
    }
    drop(silent);
    ends_well(server, "goodbye to 2\n");
}

#[test]
fn five_thousand_clients_without_a_name_keep_nobody_from_talking() {
    let server = chat(&["--timeout", "3"]);
    let mut friends = Friends::meet(&server);
    let before = memory(&server);
    let crowd = crowd(5000);
    let mut idle = Vec::new();
    for n in 0..crowd {
        idle.push(connect(&server));
        if n % 500 == 0 {
            friends.talk();
        }
    }
    let (mut late, hello) = Guest::named(&server, "late");
    assert_eq!(hello, "* hello late, here: ann, bob");
    late.says("hello");
    friends.hear("late: hello");
    for mut stream in idle {
        assert_eq!(rest(&mut stream), "* your name?\n");
    }
    let grown = memory(&server) - before;
    assert!(grown < crowd as u64 * EACH, "{grown}");
    ends_well(server, "goodbye to 3\n");
}

#[test]
fn a_chat_without_descriptors_goes_on_and_lets_others_in_by_and_by() {
    let server = chat(&["--timeout", "0.1"]);
    let mut friends = Friends::meet(&server);
    limit_descriptors(&server, 300);
    let idle = knocks(&server, crowd(3000));
    friends.talk();
    let mut late = connect(&server);
    late.set_read_timeout(Some(SOON)).unwrap();
    let mut asked = [0; 13];
    late.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"* your name?\n");
    friends.talk();
    drop(idle);
    let log = ends_well(server, "goodbye to 2\n");
    assert!(log.starts_with("accept: "), "{log}");
}

// ---- attackers ----

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// So many who ask to be connected, and wait for nothing.
fn knocks(server: &Server, count: usize) -> Vec<Socket> {
    let addr: SocketAddr = server.addr.parse().unwrap();
    let knock = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => panic!("{error}"),
            _ => socket,
        }
    };
    (0..count).map(knock).collect()
}

/// So many, or as many as this process may have.
fn crowd(count: usize) -> usize {
    let (_, hard) = rlimit::getrlimit(Resource::NOFILE).unwrap();
    rlimit::setrlimit(Resource::NOFILE, hard, hard).unwrap();
    count.min(hard as usize / 4)
}

/// Ends a connection without a word to the other end, as a machine does that loses its power. That takes a privilege: without it the client
/// is returned, and says nothing.
fn vanish(stream: TcpStream) -> Option<TcpStream> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and the descriptor is open.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    // A socket under repair sends nothing when it is closed.
    (set != 0).then_some(stream)
}

/// The server has closed the connection, with bytes under way.
#[track_caller]
fn assert_let_go(error: &io::Error) {
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{error}"
    );
}

/// All that comes, to the end or to where the connection is reset.
fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_let_go(&error);
    }
    String::from_utf8(rest).unwrap()
}

// ---- those who behave ----

/// Somebody is served.
fn served(server: &Server) {
    programs::served(|| converses(server));
}

/// Says hello to the `echo_server`, and hears it.
fn converses(server: &Server) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(&server.addr)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"hello")?;
    let mut back = [0; 5];
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"hello");
    Ok(stream)
}

fn chat(options: &[&str]) -> Server {
    Server::started("line_chat", options, &["127.0.0.1:0"])
}

/// Ann and Bob, who want to talk to each other. Both read: where a client's buffers are full the system may keep back what that client says.
struct Friends {
    ann: Guest,
    bob: Guest,
    said: usize,
    /// What Bob has heard of others.
    others: Vec<String>,
}

impl Friends {
    fn meet(server: &Server) -> Friends {
        let (bob, _) = Guest::named(server, "bob");
        let (ann, _) = Guest::named(server, "ann");
        let mut friends = Friends {
            ann,
            bob,
            said: 0,
            others: Vec::new(),
        };
        friends.hear("* ann has joined");
        friends
    }

    /// Bob hears what Ann says, and Ann what Bob says; and what he has heard of others meanwhile.
    fn talk(&mut self) -> Vec<String> {
        let before = self.others.len();
        self.say("hello Bob");
        self.bob.says("hello Ann");
        until(&mut self.ann, "bob: hello Ann", drop);
        self.others[before..].to_vec()
    }

    fn say(&mut self, text: &str) {
        self.said += 1;
        let line = format!("{} {text}", self.said);
        self.ann.says(&line);
        self.hear(&format!("ann: {line}"));
    }

    /// Until Bob hears this line.
    fn hear(&mut self, awaited: &str) {
        until(&mut self.bob, awaited, |line| self.others.push(line));
    }

    /// Whether Bob has heard it.
    fn heard(&self, line: &str) -> bool {
        self.others.iter().any(|other| other == line)
    }
}

/// Until the guest hears this line.
fn until(guest: &mut Guest, awaited: &str, mut others: impl FnMut(String)) {
    loop {
        let line = guest.hears();
        assert_ne!(line, "", "somebody who behaves was shown the door");
        if line == awaited {
            return;
        }
        others(line);
    }
}

// ---- the server ----

/// Lets it have so many descriptors.
fn limit_descriptors(server: &Server, count: usize) {
    let pid = server.program.id().to_string();
    let limit = format!("--nofile={count}");
    let mut prlimit = Command::new("prlimit");
    let set = prlimit.args(["--pid", &pid, &limit]).status();
    assert!(set.unwrap().success());
}

fn descriptors(server: &Server) -> usize {
    let path = format!("/proc/{}/fd", server.program.id());
    read_dir(path).unwrap().count()
}

/// The most bytes that it ever had.
fn memory(server: &Server) -> u64 {
    server.program.memory()
}

/// It stops when it is told to, with these last words; what it has complained of.
fn ends_well(server: Server, farewell: &str) -> String {
    let (last_words, log) = server.end("TERM");
    assert!(last_words.starts_with(farewell), "{last_words}");
    assert!(!log.contains("panicked"), "{log}");
    log
}
