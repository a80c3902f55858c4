//! Phones that register: with a server that says what the test wants it to, with `sipsak`, and among datagrams that mean no good.
//!
//! `cargo test` builds the example beside this test. The rules of `programs` hold.

mod programs;

use programs::{is_installed, text, Program, Server, PATIENCE};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output};

// ---- who asks ----

#[test]
fn a_request_is_sent_again_as_it_was_until_there_is_a_reply() {
    let server = Stub::new();
    let mut phones = server.registers(&["--t1", "0.05", "--t2", "60"], &["sip:ada@test"]);
    let first = server.hear().0;
    assert!(
        first.starts_with("REGISTER sip:ada@test SIP/2.0\r\n"),
        "{first}"
    );
    for _ in 0..2 {
        assert_eq!(server.hear().0, first);
    }
    let (_, peer) = server.hear();
    server.says(&reply("200 OK", &first), peer);
    let said = phones.finish();
    assert!(said.status.success(), "{said:?}");
    let sent = sent_until(&said, "200 OK");
    assert!(sent >= 4, "{sent}");
}

/// How many requests it sent, it says, until it had this end.
fn sent_until(said: &Output, end: &str) -> usize {
    let prefix = format!("sip:ada@test: {end}, ");
    let sent = text(&said.stdout).trim_end().strip_prefix(&prefix);
    let sent = sent.and_then(|sent| sent.strip_suffix(" sent"));
    sent.unwrap().parse().unwrap()
}

#[test]
fn who_gets_no_reply_sends_eleven_and_then_gives_up() {
    let server = Stub::new();
    // After 0, 1, 3, 7, 15, 23, .. 63 T1.
    let mut phones = server.registers(&["--t1", "0.01", "--t2", "0.08"], &["sip:ada@test"]);
    let said = phones.finish();
    assert_eq!(text(&said.stdout), "sip:ada@test: no reply, 11 sent\n");
    assert!(!said.status.success());
    assert_eq!(server.count(), 11);
}

#[test]
fn while_it_is_worked_on_it_is_asked_again_after_t2_only() {
    let server = Stub::new();
    // Without a word it would be after 0, 1, 3, 7, 15, 31 T1; of these it leaves out those that come after the word.
    let mut phones = server.registers(&["--t1", "0.1", "--t2", "6.4"], &["sip:ada@test"]);
    let (request, peer) = server.hear();
    server.says(&reply("100 Trying", &request), peer);
    let said = phones.finish();
    let sent = sent_until(&said, "no reply");
    assert!(sent < 6, "{sent}");
}

#[test]
fn replies_in_any_order_reach_who_asked_and_others_nobody() {
    let server = Stub::new();
    // All that is said at once fits into what the system keeps for a socket.
    let names: Vec<_> = (0..10).map(|n| format!("sip:{n}@test")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut phones = server.registers(&["--t1", "60"], &names);
    let heard: Vec<_> = names.iter().map(|_| server.hear()).collect();
    for (n, (request, peer)) in heard.iter().enumerate().rev() {
        let right = reply(
            &format!("{} for {}", 200 + n, request.split(' ').nth(1).unwrap()),
            request,
        );
        let headers = right.split_once("\r\n").unwrap().1;
        for wrong in [
            right.replace("Call-ID: ", "Call-ID: x"),
            right.replace("CSeq: 1", "CSeq: 2"),
            right[..right.len() - 2].to_owned(),
            format!("SIP/2.0 what\r\n{headers}"),
            format!("SIP/2.0 99999 much\r\n{headers}"),
            request.clone(),
            "\r\n\r\n".into(),
            String::new(),
        ] {
            server.says(&wrong.replace("for", "not for"), *peer);
        }
        server.says(&right, *peer);
        server.says(&right, *peer); // the network may double what it likes
    }
    let said = phones.finish();
    assert!(said.status.success(), "{said:?}");
    let mut said: Vec<_> = text(&said.stdout).lines().collect();
    said.sort();
    let expected = heard.iter().enumerate().map(|(n, (request, _))| {
        let name = request.split(' ').nth(1).unwrap();
        format!("{name}: {} for {name}, 1 sent", 200 + n)
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(said, expected);
}

#[test]
fn of_replies_that_nobody_waits_for_none_is_kept() {
    const REPLIES: usize = 3000;
    /// Less than a fifth of one kind of them, and more than what else comes and goes.
    const LITTLE: u64 = 4 << 20;
    let server = Stub::new();
    let mut phones = server.registers(&["--t1", "60"], &["sip:ada@test", "sip:ben@test"]);
    let [(first, peer), (second, _)] = [server.hear(), server.hear()];
    server.says(&reply("200 OK", &first), peer);
    // It says so when it waits no more.
    let mut said = BufReader::new(phones.child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.ends_with("@test: 200 OK, 1 sent\n"), "{line}");

    let before = phones.memory();
    let long = format!("200 {}", "x".repeat(7500));
    let never_asked = reply(&long, &second).replace("Call-ID: ", "Call-ID: x");
    let not_that = reply(&long, &second).replace("CSeq: 1", "CSeq: 2");
    let no_more = reply(&long, &first);
    for unwanted in [never_asked, not_that, no_more] {
        for _ in 0..REPLIES / A_FEW {
            (0..A_FEW).for_each(|_| server.says(&unwanted, peer));
            until_all_are_taken(peer);
        }
    }
    let grown = phones.memory() - before;
    assert!(grown < LITTLE, "{grown}");

    server.says(&reply("200 OK", &second), peer);
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.ends_with("@test: 200 OK, 1 sent\n"), "{line}");
    assert!(phones.finish().status.success());
}

/// So many of the longest fit into what the system keeps for a socket.
const A_FEW: usize = 8;

/// Waits until all that was sent to this socket has been received. None may have been lost: then it would be of no use.
fn until_all_are_taken(socket: SocketAddr) {
    let mut missed = 0;
    loop {
        match received(socket) {
            Some(true) => return,
            Some(false) => {}
            // The list is read in parts, and one that stays may be missed while others come and go.
            None => missed += 1,
        }
        assert!(missed < 1000, "its socket is open");
        std::thread::yield_now();
    }
}

/// Whether all was; `None` if the system does not tell of the socket.
fn received(socket: SocketAddr) -> Option<bool> {
    // `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer drops`
    let sockets = std::fs::read_to_string("/proc/net/udp").unwrap();
    let port = format!(":{:04X}", socket.port());
    let lines = sockets.lines().map(|line| line.split_whitespace());
    let socket: Vec<&str> = lines
        .map(Iterator::collect::<Vec<_>>)
        .find(|line| line.get(1).is_some_and(|local| local.ends_with(&port)))?;
    assert_eq!(socket.last(), Some(&"0"), "none is dropped");
    Some(socket[4].ends_with(":00000000"))
}

// ---- who is asked ----

#[test]
fn sipsak_registers_with_the_server() {
    if !is_installed("sipsak", "sipsak") {
        return;
    }
    let server = serving();
    let phone = format!("sip:ada@{}", server.addr);
    let args = ["-U", "-vvv", "-C", "sip:ada@here", "-s", &phone];
    let said = Program::from(Command::new("sipsak").args(args)).finish();
    assert!(said.status.success(), "{said:?}");
    let told = text(&said.stdout);
    // In brackets it is what the server has understood.
    assert!(told.contains("SIP/2.0 200 OK"), "{told}");
    assert!(told.contains("Contact: <sip:ada@here>"), "{told}");
    assert_eq!(server.end("TERM"), (String::new(), String::new()));
}

#[test]
fn a_hundred_phones_register_with_the_server() {
    let server = serving();
    let names: Vec<_> = (0..100).map(|n| format!("sip:{n}@test")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let said = Program::start(
        "sip_register",
        &[&["register", &server.addr], &names[..]].concat(),
    )
    .finish();
    assert!(said.status.success(), "{said:?}");
    let lines = text(&said.stdout).lines();
    assert_eq!(
        lines.filter(|line| line.contains(": 200 OK, ")).count(),
        100
    );
    assert_eq!(server.end("TERM"), (String::new(), String::new()));
}

#[test]
fn a_request_that_comes_again_gets_the_same_reply_and_garbage_none() {
    let server = serving();
    let client = Stub::new();
    let server_addr: SocketAddr = server.addr.parse().unwrap();
    let request = |call: &str, method: &str, more: &str| {
        format!(
            "{method} sip:test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nv: SIP/2.0/UDP i\r\nt: <sip:ada@test>\r\n\
             From: <sip:ada@test>;tag=1\r\ni: {call}\r\nCSeq: 1 {method}\r\n{more}\r\n"
        )
    };
    let ask = |message: &str| {
        client.says(message, server_addr);
        client.hear().0
    };
    let first = ask(&request("1", "REGISTER", "m: <sip:ada@here>\r\n"));
    assert!(first.starts_with("SIP/2.0 200 OK\r\n"), "{first}");
    assert!(
        first.contains("via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nvia: SIP/2.0/UDP i\r\n"),
        "{first}"
    );
    assert!(first.contains("\r\nContact: <sip:ada@here>\r\n"), "{first}");
    let moved = ask(&request("2", "REGISTER", "m: <sip:ada@there>\r\n"));
    assert!(
        moved.contains("\r\nContact: <sip:ada@there>\r\n"),
        "{moved}"
    );
    assert_eq!(
        ask(&request("1", "REGISTER", "m: <sip:ada@here>\r\n")),
        first
    );
    let now = ask(&request("3", "REGISTER", ""));
    assert!(now.contains("\r\nContact: <sip:ada@there>\r\n"), "{now}");
    let left = ask(&request("4", "REGISTER", "m: *\r\nExpires: 0\r\n"));
    assert!(
        left.starts_with("SIP/2.0 200 OK\r\n") && !left.contains("Contact"),
        "{left}"
    );
    let refused = ask(&request("5", "INVITE", ""));
    assert!(refused.starts_with("SIP/2.0 405 "), "{refused}");

    let good = request("6", "REGISTER", "");
    for length in (0..good.len()).step_by(5) {
        client.says(&good[..length], server_addr);
    }
    client.says(&first, server_addr); // a reply
    client.says(&request("7", "ACK", ""), server_addr);
    client.says(&request("8\u{1b}[2J", "REGISTER", ""), server_addr);
    client.says(&"x".repeat(60_000), server_addr);
    client.0.send_to(&[0xff; 100], server_addr).unwrap();
    let last = ask(&request("9", "REGISTER", ""));
    assert!(last.contains("\r\ncall-id: 9\r\n"), "{last}");
    assert_eq!(server.end("INT"), (String::new(), String::new()));
}

fn serving() -> Server {
    Server::started("sip_register", &["serve"], &["127.0.0.1:0"])
}

/// A socket that says what the test wants it to.
struct Stub(UdpSocket);

impl Stub {
    fn new() -> Stub {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Stub(socket)
    }

    fn registers(&self, options: &[&str], phones: &[&str]) -> Program {
        let addr = self.0.local_addr().unwrap().to_string();
        let args = [options, &["register", &addr], phones].concat();
        Program::start("sip_register", &args)
    }

    fn hear(&self) -> (String, SocketAddr) {
        let mut buf = [0; 8192];
        let (length, peer) = self.0.recv_from(&mut buf).unwrap();
        (text(&buf[..length]).to_owned(), peer)
    }

    /// Of what has come.
    fn count(&self) -> usize {
        self.0.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| self.0.recv(&mut [0; 8192]).ok()).count()
    }

    fn says(&self, message: &str, peer: SocketAddr) {
        self.0.send_to(message.as_bytes(), peer).unwrap();
    }
}

/// A reply with the headers of the request.
fn reply(status: &str, request: &str) -> String {
    let headers = request.split_once("\r\n").unwrap().1;
    format!("SIP/2.0 {status}\r\n{headers}")
}
