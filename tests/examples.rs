//! The examples, run as a user runs them: what they print, how they end, and what goes through their pipes and sockets.
//!
//! `cargo test` builds them beside this test. Nothing sleeps: a server is ready when it says so, and a program that has
//! not ended after [`PATIENCE`] is killed, which ends every wait for it.

mod programs;

use programs::files::Folder;
use programs::{example, text, Guest, Program, Server, PATIENCE};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

// ---- printers and parent_child ----

#[test]
fn the_printers_take_turns() {
    let lines = "hello\ngoodbye\n".repeat(3);
    assert_eq!(successful("printers", &[]), (lines, String::new()));
}

#[test]
fn the_parent_gets_a_value_and_a_panic_and_nothing_is_reported_twice() {
    let lines = "good child says: Hi, Mom!\ncaught exception: oops!\n".to_owned();
    assert_eq!(successful("parent_child", &[]), (lines, String::new()));
}

// ---- ping_pong, producer_consumer and hackysack ----

#[test]
fn the_ball_goes_from_one_side_to_the_other() {
    let lines = "ping 1\npong 2\nping 3\npong 4\nping 5\n".to_owned();
    assert_eq!(successful("ping_pong", &[]), (lines, String::new()));
}

#[test]
fn the_producer_is_ahead_by_what_the_queue_holds_and_the_consumers_wait_for() {
    // Two items are handed over, two are buffered, and the fifth waits.
    let lines = "\
        put 1\nput 2\nput 3\nput 4\nput 5\n\
        first got 1\nsecond got 2\nfirst got 3\nsecond got 4\n\
        put 6\nnothing more to put\n\
        first got 5\nsecond got 6\nfirst is done\nsecond is done\n";
    let output = successful("producer_consumer", &[]);
    assert_eq!(output, (lines.to_owned(), String::new()));
}

#[test]
fn players_that_are_tasks_and_players_that_are_threads_play_the_same_game() {
    for (players, kicks, last) in [("2", "7", 1), ("50", "2000", 14)] {
        let line = format!("{players} players, {kicks} kicks: the ball lies with player {last}\n");
        for args in [&[players, kicks][..], &["--threads", players, kicks]] {
            let (stdout, stderr) = successful("hackysack", args);
            assert_eq!(stdout, line, "{args:?}");
            assert!(stderr.ends_with(" ns a kick\n"), "{stderr:?}");
        }
    }
}

#[test]
fn a_game_of_one_is_refused() {
    let output = Program::start("hackysack", &["1"]).finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("usage: "), "{output:?}");
}

// ---- echo_server ----

#[test]
fn an_interrupted_server_runs_its_destructors_and_ends_well() {
    for signal in ["INT", "TERM"] {
        let server = Server::echoing(&[]);
        let mut idle = TcpStream::connect(&server.addr).unwrap(); // still connected when the signal comes
        assert_eq!(echoed(&mut idle, b"ping"), b"ping");
        let mut other = TcpStream::connect(&server.addr).unwrap();
        assert_eq!(echoed(&mut other, b"pong"), b"pong");

        assert_eq!(server.stop(signal), "served 2 connections\n");
        assert_eq!(
            idle.read(&mut [0]).unwrap(),
            0,
            "the connection was not closed"
        );
    }
}

#[test]
fn a_server_told_to_end_waits_for_its_connections_until_it_is_told_again() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::echoing(&["--grace", "3600"]);
        let mut clients = [(); 3].map(|()| TcpStream::connect(&server.addr).unwrap());
        for client in &mut clients {
            assert_eq!(echoed(client, b"before"), b"before");
        }
        server.send(signal);
        let said = server.complaint();
        assert_eq!(said, "stopping: 3 connections have 3600s to end\n");
        for client in &mut clients {
            assert_eq!(echoed(client, b"after"), b"after");
        }
        let [mut ends, mut idle, mut other] = clients;
        ends.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ends.read(&mut [0]).unwrap(), 0);

        let (last_words, log) = server.end(signal);
        for cut_off in [&mut idle, &mut other] {
            assert_eq!(cut_off.read(&mut [0]).unwrap(), 0);
        }
        assert_eq!(log, "1 ended in time, 2 were cancelled\n");
        assert_eq!(last_words, "served 3 connections\n");
    }
}

#[test]
fn a_server_cuts_connections_off_when_their_grace_is_over() {
    for grace in ["0", "0.1"] {
        let server = Server::echoing(&["--grace", grace, "--workers", "1"]);
        let mut clients = [(); 2].map(|()| TcpStream::connect(&server.addr).unwrap());
        for client in &mut clients {
            assert_eq!(echoed(client, b"before"), b"before");
        }
        let (last_words, log) = server.end("TERM");
        assert!(
            log.ends_with("0 ended in time, 2 were cancelled\n"),
            "{log}"
        );
        assert_eq!(last_words, "served 2 connections\n");
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
    }
}

#[test]
fn a_server_at_its_limit_serves_the_next_client_when_one_leaves() {
    let server = Server::echoing(&["--max-connections", "1"]);
    let mut first = TcpStream::connect(&server.addr).unwrap();
    assert_eq!(echoed(&mut first, b"first"), b"first");
    let mut second = TcpStream::connect(&server.addr).unwrap();
    second.write_all(b"second").unwrap();
    assert_eq!(echoed(&mut first, b"still"), b"still");
    second.set_nonblocking(true).unwrap();
    let not_yet = second.read(&mut [0]).unwrap_err();
    assert_eq!(not_yet.kind(), io::ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    assert_eq!(echoed(&mut second, b""), b"");
    let mut reply = [0; 6];
    second.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"second");
    drop(second);
    assert_eq!(server.stop("INT"), "served 2 connections\n");
}

#[test]
fn a_server_refuses_options_that_it_does_not_know() {
    for args in [
        &["--grace", "soon"][..],
        &["--grace", "-1"],
        &["--max-connections", "0"],
        &["--workers"],
        &["--frobnicate"],
    ] {
        let output = Program::start("echo_server", args).finish();
        let refused = (output.status.code(), text(&output.stdout));
        assert_eq!(refused, (Some(1), ""), "{args:?}");
    }
}

#[test]
fn a_reset_connection_ends_its_own_task_only() {
    let server = Server::echoing(&[]);
    let mut other = TcpStream::connect(&server.addr).unwrap();
    assert_eq!(echoed(&mut other, b"before"), b"before");

    let mut rude = TcpStream::connect(&server.addr).unwrap();
    rude.write_all(b"a reply that nobody reads").unwrap();
    rude.peek(&mut [0]).unwrap();
    drop(rude); // with unread data in its buffer: the kernel sends a reset

    assert_eq!(echoed(&mut other, b"after"), b"after");
    assert_eq!(server.stop("INT"), "served 2 connections\n");
}

#[test]
#[cfg(target_os = "linux")] // `prlimit` is
fn a_server_without_descriptors_serves_again_when_one_is_free() {
    let server = Server::echoing(&[]);
    let pid = server.program.id().to_string();
    let open = |fd: &u32| Path::new(&format!("/proc/{pid}/fd/{fd}")).is_symlink();
    let second_free = (0..).filter(|fd| !open(fd)).nth(1).unwrap();
    let limit = format!("--nofile={second_free}"); // one more, and no further
    assert!(Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .unwrap()
        .success());

    let streams: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(&server.addr).unwrap())
        .collect();
    for mut stream in streams {
        assert_eq!(echoed(&mut stream, b"my turn"), b"my turn");
    }
    let (last_words, complaints) = server.end("INT");
    assert_eq!(last_words, "served 20 connections\n");
    assert!(complaints.starts_with("accept: "), "{complaints:?}");
}

#[test]
fn a_server_of_all_kinds_of_addresses_serves_each_and_counts_them() {
    let ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let folder = Folder::new();
    let socket = folder.join("socket");
    let unix = format!("unix:{}", socket.display());
    let mut at = vec!["127.0.0.1:0", "udp:127.0.0.1:0", &unix];
    if ipv6 {
        at.extend(["[::1]:0", "udp:[::1]:0"]);
    }
    let server = Server::listening("echo_server", &at);
    let (mut connections, mut datagrams) = (0, 0);
    for addr in &server.addrs {
        if let Some(addr) = addr.strip_prefix("udp:") {
            let socket = UdpSocket::bind((addr.parse::<SocketAddr>().unwrap().ip(), 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(addr).unwrap();
            for message in ["one", "two"] {
                socket.send(message.as_bytes()).unwrap();
                let mut reply = [0; 10];
                assert_eq!(socket.recv(&mut reply).unwrap(), 3);
                assert_eq!(&reply[..3], message.as_bytes());
                datagrams += 1;
            }
        } else if let Some(path) = addr.strip_prefix("unix:") {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(b"ping").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(io::read_to_string(stream).unwrap(), "ping");
            connections += 1;
        } else {
            let mut stream = TcpStream::connect(addr).unwrap();
            assert_eq!(echoed(&mut stream, b"ping"), b"ping");
            connections += 1;
        }
    }
    let farewell = format!("served {connections} connections and {datagrams} datagrams\n");
    assert_eq!(server.stop("INT"), farewell);
    assert!(!socket.exists(), "the file of the socket was not removed");
}

#[test]
fn a_server_says_which_address_it_cannot_have() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let output = Program::start("echo_server", &["127.0.0.1:0", &taken]).finish();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains(&taken), "{output:?}");
}

// ---- echo_client ----

#[test]
fn lines_come_back_through_the_client_over_any_kind_of_address() {
    let folder = Folder::new();
    let unix = format!("unix:{}", folder.path("socket"));
    let at = ["127.0.0.1:0", "udp:127.0.0.1:0", &unix];
    let mut at = at.to_vec();
    let name = format!("unix:@multitask-{}", std::process::id());
    if cfg!(target_os = "linux") {
        at.push(&name);
    }
    let server = Server::listening("echo_server", &at);
    for addr in &server.addrs {
        let lines = b"one\ntwo\nthree and no newline";
        assert_eq!(through_client(addr, lines), lines, "{addr}");
        assert_eq!(through_client(addr, b""), b"", "{addr}");
    }
    server.stop("INT");
}

#[test]
fn a_client_says_how_many_datagrams_were_not_answered() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = format!("udp:{}", silent.local_addr().unwrap());
    let mut client = Program::start("echo_client", &[&addr]);
    let mut stdin = client.child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    let mut line = [0; 10];
    for expected in ["one\n", "two\n"] {
        let n = silent.recv(&mut line).unwrap();
        assert_eq!(text(&line[..n]), expected, "a datagram is a line");
    }
    drop(stdin);
    let output = client.finish();
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
    let said = text(&output.stderr);
    assert!(said.contains("2 answers did not come"), "{said}");
}

#[test]
fn a_megabyte_comes_back_through_the_client_byte_for_byte() {
    let server = Server::echoing(&[]);
    let sent: Vec<u8> = (0..1_u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    assert_eq!(through_client(&server.addr, &sent), sent);
    server.stop("INT");
}

#[test]
fn what_has_no_newline_comes_back_before_the_input_ends() {
    let server = Server::echoing(&[]);
    let mut client = Program::start("echo_client", &[&server.addr]);
    let mut stdin = client.child.stdin.take().unwrap();
    let mut answer = [0; 3];
    stdin.write_all(b"abc").unwrap();
    client
        .child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut answer)
        .unwrap();
    assert_eq!(&answer, b"abc");
    drop(stdin);
    assert!(client.finish().status.success());
    server.stop("INT");
}

#[test]
fn the_client_ends_with_the_server_while_its_input_is_open() {
    let server = Server::echoing(&[]);
    let mut client = Program::start("echo_client", &[&server.addr]);
    let mut stdin = client.child.stdin.take().unwrap();
    stdin.write_all(b"x").unwrap();
    client
        .child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0])
        .unwrap();
    server.stop("INT");
    let output = client.finish();
    assert!(output.status.success(), "{output:?}");
    drop(stdin);
}

#[test]
fn a_client_that_cannot_connect_says_why_and_fails() {
    let vacant = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = Program::start("echo_client", &[&vacant.to_string()]).finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("ConnectionRefused"),
        "{output:?}"
    );
}

// ---- line_chat ----

#[test]
fn what_one_says_in_the_chat_all_others_read_from_hello_to_goodbye() {
    let server = Server::listening("line_chat", &["127.0.0.1:0"]);
    let (mut ann, hello) = Guest::named(&server, "ann");
    assert_eq!(hello, "* hello ann, here: nobody else");
    let (mut bob, hello) = Guest::named(&server, "bob");
    assert_eq!(hello, "* hello bob, here: ann");
    assert_eq!(ann.hears(), "* bob has joined");
    let (mut eve, refused) = Guest::named(&server, "ann");
    assert_eq!(
        (refused, eve.hears()),
        ("* not that one".into(), "* your name?".into())
    );
    eve.says("eve");
    assert_eq!(eve.hears(), "* hello eve, here: ann, bob");
    assert_eq!([ann.hears(), bob.hears()], ["* eve has joined"; 2]);

    ann.says("good morning");
    assert_eq!([bob.hears(), eve.hears()], ["ann: good morning"; 2]);
    eve.says("is it?");
    assert_eq!(
        [ann.hears(), bob.hears()],
        ["eve: is it?"; 2],
        "and ann not what she said"
    );

    bob.says("/quit");
    assert_eq!(bob.hears(), "* goodbye");
    bob.hears_no_more();
    assert_eq!([ann.hears(), eve.hears()], ["* bob has left"; 2]);
    drop(eve);
    assert_eq!(ann.hears(), "* eve has left");

    let (mut bob, hello) = Guest::named(&server, "bob");
    assert_eq!(
        (hello, ann.hears()),
        ("* hello bob, here: ann".into(), "* bob has joined".into())
    );
    assert_eq!(server.stop("INT"), "goodbye to 2\n");
    for guest in [&mut ann, &mut bob] {
        assert_eq!(guest.hears(), "* the chat is over: goodbye");
        guest.hears_no_more();
    }
}

#[test]
fn one_who_does_not_read_keeps_nobody_waiting_and_is_told_what_was_lost() {
    // More than the buffers of the system take, in pieces that fit into the queue of one who reads.
    const LINES: usize = 4_000;
    const PIECE: usize = 50;
    // However long it lasts, nobody is shown the door.
    let server = Server::started("line_chat", &["--timeout", "3600"], &["127.0.0.1:0"]);
    let (mut slow, _) = Guest::named(&server, "slow");
    let small = SockRef::from(slow.0.get_ref()).set_recv_buffer_size(256 << 10);
    small.unwrap();
    let (mut fast, _) = Guest::named(&server, "fast");
    let (mut talker, _) = Guest::named(&server, "talker");
    assert_eq!(fast.hears(), "* talker has joined");
    let long = "x".repeat(3_000);
    for first in (0..LINES).step_by(PIECE) {
        for n in first..first + PIECE {
            talker.says(&format!("{n} {long}"));
        }
        for n in first..first + PIECE {
            assert_eq!(fast.hears(), format!("talker: {n} {long}"));
        }
    }

    // Lines are lost whenever there is no room, which the system may make at any time, and each gap is told of with the
    // next line that has room: one is said for each that is read.
    assert_eq!(
        [slow.hears(), slow.hears()],
        ["* fast has joined", "* talker has joined"]
    );
    let (mut said, mut next, mut lost) = (LINES, 0, 0);
    loop {
        let line = slow.hears();
        if let Some(told) = line.strip_prefix("* you read too slowly: ") {
            let gap: usize = told.split_whitespace().next().unwrap().parse().unwrap();
            next += gap;
            lost += gap;
        } else {
            let number = line.split_whitespace().nth(1);
            let told_of = number == Some(&next.to_string());
            assert!(told_of, "{next} is missing, not told of: {line:.20}");
            next += 1;
            if next > LINES {
                break;
            }
        }
        talker.says(&format!("{said} again"));
        assert_eq!(fast.hears(), format!("talker: {said} again"));
        said += 1;
    }
    assert!(lost > 0, "nothing was lost of {said} lines");
    server.stop("TERM");
}

// ---- stdin_count ----

#[test]
fn the_lines_of_a_short_input_are_counted_to_the_last() {
    let mut program = Program::start("stdin_count", &[]);
    let mut stdin = program.child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\nno newline").unwrap();
    drop(stdin);
    let output = program.finish();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout).lines().next(), Some("3 lines"));
}

#[test]
fn at_most_one_tick_in_fifty_is_missed_while_lines_are_counted() {
    // A machine that is busy with something else may stop the whole program: if it always does, less is asked for.
    let mut was_free = false;
    let kept = (0..20).any(|_| {
        let mut program = Program::start("stdin_count", &["--seconds", "1"]);
        let mut stdin = program.child.stdin.take().unwrap();
        let lines = b"y\n".repeat(4096);
        let pid = program.id();
        let feeder = thread::spawn(move || {
            let mut stopped = Duration::ZERO;
            loop {
                let written = stdin.write_all(&lines);
                stopped = time_without_processor(pid).unwrap_or(stopped);
                if written.is_err() {
                    return stopped;
                }
            }
        });
        let output = program.finish();
        let stopped = feeder.join().unwrap();
        was_free |= stopped < Duration::from_millis(20);
        assert!(output.status.success(), "{output:?}");
        let numbers: Vec<u64> = text(&output.stdout)
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [lines, ticks, due] = numbers[..] else {
            panic!("{output:?}");
        };
        let was_stopped = stopped > Duration::from_millis(300);
        assert!(
            lines > 0 && (was_stopped || ticks * 20 >= due),
            "{stopped:?} {output:?}"
        );
        lines > 100_000 && ticks >= 90 && ticks * 50 >= due * 49
    });
    assert!(kept || !was_free, "ticks are missed");
}

/// For how long a process was ready to run and had no processor to do so; `None` where the system does not say.
fn time_without_processor(pid: u32) -> Option<Duration> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanos = told.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(nanos.parse().ok()?))
}

// ---- child_lines ----

#[test]
fn the_lines_of_a_child_come_one_by_one_and_one_that_is_late_comes_whole() {
    let lines = "\
        child says: one\nchild says: two\n\
        no line for 1s, only \"the beginning of three\"\n\
        child says: the beginning of three, and the end\n\
        exit status: 4\n";
    // A machine that is busy with something else may keep the child from its first line for as long: not every time.
    let late = |(output, _): &(String, String)| output.starts_with("no line");
    let mut outputs = (0..5).map(|_| successful("child_lines", &[]));
    let output = outputs.find(|output| !late(output));
    assert_eq!(output, Some((lines.to_owned(), String::new())));
}

// ---- demo and million ----

#[test]
fn the_demo_without_a_terminal_prints_a_whole_table_and_no_control_character() {
    let (stdout, stderr) = successful("demo", &["--clients", "50", "--seconds", "1"]);
    assert_eq!(stderr, "");
    assert!(
        !stdout.contains(|c: char| c.is_control() && c != '\n'),
        "{stdout:?}"
    );
    assert!(stdout.contains("50 clients of 50"), "{stdout}");
    assert!(stdout.contains("errors: 0\n"), "{stdout}");
    for name in [
        "tasks",
        "requests",
        "requests/s",
        "latency p50",
        "latency p99",
        "latency p99.9",
    ] {
        let row = stdout.lines().find_map(|line| {
            line.strip_prefix(name)
                .filter(|rest| rest.starts_with("  "))
        });
        let values: Vec<_> = row
            .unwrap_or_else(|| panic!("no row `{name}` in {stdout}"))
            .split_whitespace()
            .collect();
        assert!(
            values.len() == 2 && !values.contains(&"0"),
            "`{name}` is {values:?} in {stdout}"
        );
    }
}

#[test]
fn the_demo_refuses_what_it_does_not_know() {
    for args in [
        &["--clients", "0"][..],
        &["--clients"],
        &["--seconds", "soon"],
        &["--frobnicate"],
    ] {
        let output = Program::start("demo", args).finish();
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(1), ""),
            "{args:?}"
        );
    }
}

#[test]
fn two_thousand_tasks_are_parked_and_wake_up() {
    let (stdout, stderr) = successful("million", &["2000"]);
    assert!(stdout.starts_with("2000 tasks parked"), "{stdout}");
    for name in [
        "spawn and park",
        "bytes per task",
        "mappings",
        "wake all and join",
    ] {
        assert!(
            stdout.lines().any(|line| line.starts_with(name)),
            "no `{name}` in {stdout}"
        );
    }
    assert_eq!(stderr, "");
}

#[test]
#[cfg(target_os = "linux")] // `prlimit` is
fn more_tasks_than_the_address_space_holds_are_refused_in_words() {
    let limited = [
        "--as=2000000000",
        example("million").to_str().unwrap(),
        "100000",
    ]
    .map(str::to_owned);
    let output = Program::from(Command::new("prlimit").args(limited)).finish();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains("of 100000 tasks: "),
        "{output:?}"
    );
}

// ---- running them ----

/// Runs an example that must succeed; what it wrote to standard output and error.
fn successful(name: &str, args: &[&str]) -> (String, String) {
    let output = Program::start(name, args).finish();
    assert!(output.status.success(), "{output:?}");
    (
        text(&output.stdout).to_owned(),
        text(&output.stderr).to_owned(),
    )
}

/// Sends `message` and reads as much.
fn echoed(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reply = vec![0; message.len()];
    stream.write_all(message).unwrap();
    stream.read_exact(&mut reply).unwrap();
    reply
}

/// What `echo_client` writes when this is its input.
fn through_client(addr: &str, input: &[u8]) -> Vec<u8> {
    let mut client = Program::start("echo_client", &[addr]);
    let mut stdin = client.child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        client.finish()
    });
    assert!(output.status.success(), "{:?}", output.status);
    output.stdout
}
