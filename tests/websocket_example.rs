//! The chat for browsers: two tabs of one, and clients that mean no good.
//!
//! `cargo test` builds the example beside this test. The rules of `programs` hold.

mod programs;

use programs::browser::Browser;
use programs::{is_installed, Server, PATIENCE};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

// ---- a browser ----

#[test]
fn what_is_said_in_one_tab_is_read_in_both_and_the_end_as_well() {
    if !is_installed("chromium", "chromium") {
        return;
    }
    let chat = Chat::start(&[]);
    let mut browser = Browser::start();
    let [mut ada, mut ben] = ["ada", "ben"].map(|name| {
        let mut tab = browser.tab();
        tab.open(&format!("http://{}/", chat.addr));
        tab.wait_for_text("* your name?");
        tab.evaluate(&say(name));
        tab.wait_for_text(&format!("* {name} has joined"));
        tab
    });
    ada.wait_for_text("* ben has joined");
    ada.evaluate(&say("hello <b>ben</b>"));
    ben.wait_for_text("ada: hello <b>ben</b>");
    ben.evaluate(&say("grüß dich"));
    for tab in [&mut ada, &mut ben] {
        let shown = tab.wait_for_text("ben: grüß dich");
        let lines: Vec<_> = shown
            .lines()
            .map(str::trim)
            .filter(|line| line.contains(": "))
            .collect();
        assert_eq!(lines, ["ben: grüß dich", "ada: hello <b>ben</b>"]);
    }
    let mut third = chat.member("cy");
    third.close(None).unwrap();
    ada.wait_for_text("* cy has left");

    chat.server.send("TERM");
    for tab in [&mut ada, &mut ben] {
        tab.wait_for_text("* closed: 1001 the chat is over");
    }
    assert_eq!(chat.server.ended(), ("goodbye to 2\n".into(), "".into()));
}

#[test]
fn a_page_from_elsewhere_may_not_speak_here() {
    if !is_installed("chromium", "chromium") {
        return;
    }
    let (chat, elsewhere) = (Chat::start(&[]), Chat::start(&[]));
    let mut browser = Browser::start();
    let mut tab = browser.tab();
    let mut open = |page: &Chat| {
        tab.open(&format!("http://{}/", page.addr));
        let script = format!(
            "new Promise(done => {{
                const socket = new WebSocket('ws://{}/chat');
                socket.onopen = () => done('open');
                socket.onclose = event => done('closed: ' + event.code);
            }})",
            chat.addr
        );
        tab.evaluate(&script)
    };
    assert_eq!(open(&elsewhere), "closed: 1006");
    assert_eq!(open(&chat), "open");
}

/// As somebody who fills in the form.
fn say(what: &str) -> String {
    format!("document.querySelector('input').value = {what:?}; document.querySelector('form').requestSubmit()")
}

// ---- clients by hand ----

#[test]
fn a_ping_is_answered_and_a_farewell_too() {
    let chat = Chat::start(&[]);
    let mut ada = chat.member("ada");
    ada.send(Message::Ping("are you there?".into())).unwrap();
    assert_eq!(ada.read().unwrap(), Message::Pong("are you there?".into()));
    ada.close(None).unwrap();
    assert!(matches!(ada.read(), Ok(Message::Close(None))));
    assert!(matches!(ada.read(), Err(Error::ConnectionClosed)));
    assert_eq!(chat.server.stop("INT"), "goodbye to 0\n");
}

#[test]
fn who_does_what_he_may_not_is_told_so_and_others_are_served_meanwhile() {
    let chat = Chat::start(&["--max-message", "100", "--timeout", "0.5"]);
    let mut good = chat.member("good");
    let long = Message::text("x".repeat(101));
    for (name, says, code) in [
        ("a", Some(long), CloseCode::Size),
        (
            "a",
            Some(Message::binary(&b"x"[..])),
            CloseCode::Unsupported,
        ),
        ("good", None, CloseCode::Policy),
        ("two words", None, CloseCode::Policy),
        ("", None, CloseCode::Policy),
    ] {
        let mut bad = chat.client().0;
        bad.send(Message::text(name)).unwrap();
        if let Some(says) = says {
            bad.send(says).unwrap();
        }
        assert_eq!(closed(&mut bad), code, "{name:?}");
    }
    let mut nameless = chat.client().0;
    assert_eq!(closed(&mut nameless), CloseCode::Policy, "time is up");
    // Masked, as they have to be; the mask is zero.
    for (frame, code) in [
        (&b"\x81\x81\0\0\0\0\xff"[..], CloseCode::Invalid),
        (b"\x81\x01x", CloseCode::Protocol),         // not masked
        (b"\xf1\x81\0\0\0\0x", CloseCode::Protocol), // reserved bits
        (
            b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            CloseCode::Size,
        ),
    ] {
        let mut bad = chat.client().0;
        bad.get_mut().write_all(frame).unwrap();
        assert_eq!(closed(&mut bad), code, "{frame:x?}");
    }
    good.send(Message::text("still here")).unwrap();
    hear(&mut good, "good: still here");
    assert_eq!(chat.server.stop("TERM"), "goodbye to 1\n");
}

#[test]
fn who_never_reads_is_shut_out_and_others_miss_nothing() {
    // So long that only what it has not read yet can shut it out.
    let chat = Chat::start(&["--timeout", "3600"]);
    let deaf = chat.member("deaf");
    let mut ada = chat.member("ada");
    let line = "x".repeat(4000);
    let mut said = 0;
    loop {
        ada.send(Message::text(&line)).unwrap();
        said += 1;
        assert!(said < 20_000, "all that a system keeps is full by far");
        let heard = ada.read().unwrap().into_text().unwrap();
        if heard == "* deaf has left" {
            break;
        }
        assert_eq!(heard, format!("ada: {line}"));
    }
    assert_eq!(ada.read().unwrap().into_text().unwrap().len(), 4005);
    assert!(said > 1000, "it has left after {said}");
    drop(deaf);
    assert_eq!(chat.server.stop("TERM"), "goodbye to 1\n");
}

#[test]
fn what_is_no_request_for_a_socket_is_answered_and_closed() {
    let chat = Chat::start(&["--timeout", "0.5"]);
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    let long = format!("X: {}\r\n", "x".repeat(8 << 10));
    let upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status) in [
        (get("/", ""), "200 OK"),
        (get("/nothing", ""), "404 Not Found"),
        (get("/chat", ""), "400 Bad Request"),
        (
            get("/chat", &upgrade.replace("13", "12")),
            "400 Bad Request",
        ),
        (
            get("/chat", &format!("{upgrade}Origin: http://elsewhere\r\n")),
            "403 Forbidden",
        ),
        (
            get("/chat", &format!("{upgrade}Origin: null\r\n")),
            "403 Forbidden",
        ),
        (get("/", &long), "400 Bad Request"),
        ("\x16\x03\x01\x02\0\x01\0".into(), "400 Bad Request"),
    ] {
        let mut stream = chat.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{request:?}: {answer}"
        );
    }
    for begin in ["", "GET / HTTP/1.1\r\n"] {
        let mut silent = chat.connect();
        silent.write_all(begin.as_bytes()).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "time is up");
    }
    assert_eq!(
        chat.server.end("TERM"),
        ("goodbye to 0\n".into(), "".into())
    );
}

#[test]
fn who_floods_with_pings_and_never_reads_is_cut_off() {
    let chat = Chat::start(&["--timeout", "0.5"]);
    let mut good = chat.member("good");
    let bad = chat.client().0;
    let flood = thread::spawn(move || {
        // Pings of 100 bytes, masked with zero.
        let ping = [&b"\x89\xe4\0\0\0\0"[..], &[b'x'; 100]]
            .concat()
            .repeat(1000);
        while bad.get_ref().write_all(&ping).is_ok() {}
    });
    good.send(Message::text("hello")).unwrap();
    hear(&mut good, "good: hello");
    flood.join().unwrap();
    assert_eq!(chat.server.stop("TERM"), "goodbye to 1\n");
}

struct Chat {
    server: Server,
    addr: String,
}

type Client = WebSocket<TcpStream>;

impl Chat {
    fn start(options: &[&str]) -> Chat {
        let server = Server::started("websocket_chat", options, &["127.0.0.1:0"]);
        let addr = server
            .addr
            .trim_matches(|c| c == '/' || char::is_alphabetic(c));
        let addr = addr.trim_start_matches("://").to_owned();
        Chat { server, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn client(&self) -> (Client, Response) {
        tungstenite::client(format!("ws://{}/chat", self.addr), self.connect()).unwrap()
    }

    /// Returns when it is one.
    fn member(&self, name: &str) -> Client {
        let mut client = self.client().0;
        client.send(Message::text(name)).unwrap();
        hear(&mut client, &format!("* {name} has joined"));
        client
    }
}

/// Reads on until it hears this.
#[track_caller]
fn hear(client: &mut Client, text: &str) {
    while client.read().unwrap().to_text().unwrap() != text {}
}

/// Reads on until it is told to go, and why.
#[track_caller]
fn closed(client: &mut Client) -> CloseCode {
    loop {
        if let Message::Close(end) = client.read().unwrap() {
            return end.expect("a reason").code;
        }
    }
}
