//! Clients that mean no good: they are told so, or cut off, and never keep others waiting.
//!
//! One whose machine has gone says nothing, and reads nothing, for ever: to the server it is one of those here.

use crate::peers::{farewell, get, noise, serving, Folder};
use crate::programs::served;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

const QUICK: [&str; 8] = [
    "--head-time",
    "0.5",
    "--body-time",
    "0.5",
    "--idle-time",
    "0.5",
    "--write-time",
    "0.5",
];

/// More than a server of tasks needs that keeps nothing of what it refuses; in an unoptimised build.
const MEMORY: u64 = 100 << 20;

#[test]
fn who_sends_a_byte_at_a_time_is_told_that_time_is_up_and_others_are_served_meanwhile() {
    let server = serving(&QUICK);
    let endless = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    let second = get("/plaintext") + "GET /";
    for (begin, answered) in [
        ("GET /", 0),
        ("GET / HTTP/1.1\r\nX: ", 0),
        (endless, 0),
        (&second, 1),
    ] {
        served(|| {
            let mut client = server.client();
            client.0.get_ref().write_all(begin.as_bytes())?;
            let dribbles = client.0.get_ref().try_clone()?;
            let dribble = thread::spawn(move || {
                while (&dribbles).write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
            server.guest();
            client.awaits()?; // nothing comes if the beginning was too late
            (0..answered).for_each(|_| assert_eq!(client.hears().status, 200));
            assert_eq!(client.hears().status, 408);
            client.hears_no_more();
            drop(client);
            dribble.join().unwrap();
            Ok(())
        });
    }
    server.stop("TERM");
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    let server = serving(&QUICK);
    let mut silent = server.client();
    let (mut idle, came) = server.guest();
    silent.hears_no_more();
    idle.hears_no_more();
    assert_eq!(server.stop("TERM"), farewell(1, 1 + came, 0));
}

#[test]
fn who_never_reads_is_cut_off_and_others_are_served_meanwhile() {
    let folder = Folder::new();
    folder.file("large.bin", &noise(1 << 20));
    let root = ["--root", folder.0.to_str().unwrap()];
    let server = serving(&[&QUICK[..], &root].concat());
    let deaf = ["/files/large.bin", "/plaintext"].map(|path| {
        let client = server.client();
        thread::spawn(move || {
            let row = get(path).repeat(100);
            loop {
                if let Err(error) = client.0.get_ref().write_all(row.as_bytes()) {
                    return error.kind();
                }
            }
        })
    });
    for deaf in deaf {
        server.guest();
        let end = deaf.join().unwrap();
        assert!(
            matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{end}"
        );
    }
    server.guest();
    assert!(server.memory() < MEMORY, "{}", server.memory());
}

#[test]
fn a_gigabyte_of_anything_is_refused_and_not_kept() {
    let server = serving(&[]);
    let chunked = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begins = [
        ("", 414),
        ("GET /", 414),
        ("GET / HTTP/1.1\r\nX: ", 431),
        (
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n",
            413,
        ),
        (&*format!("{chunked}3b9aca00\r\n"), 413),
        (&*format!("{chunked}1;"), 400),
        (&*format!("{chunked}0\r\n"), 431),
    ];
    let mut good = server.client();
    for (begin, status) in begins {
        let mut client = server.client();
        client.says(begin.as_bytes());
        let floods = client.0.get_ref().try_clone().unwrap();
        let flood = thread::spawn(move || {
            let piece = vec![b'x'; 1 << 20];
            while (&floods).write_all(&piece).is_ok() {}
        });
        assert_eq!(client.hears().status, status, "{begin:?}");
        good.is_served();
        if status != 414 {
            client.0.get_ref().shutdown(Shutdown::Both).unwrap(); // else the server does it, after a while
        }
        flood.join().unwrap();
    }
    assert!(server.memory() < MEMORY, "{}", server.memory());
}

#[test]
fn garbage_is_refused_and_others_are_served_meanwhile() {
    let server = serving(&[]);
    let mut good = server.client();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let mut garbage = vec![
        hello,
        b"\0".to_vec(),
        b"EHLO there\r\n".to_vec(),
        vec![0xff; 100_000],
    ];
    garbage.extend((1..20).map(|n| noise(n * 1_000)));
    for garbage in garbage {
        let mut client = server.client();
        // It may be refused before all of it is written.
        let _written = client.0.get_ref().write_all(&garbage);
        let status = client.hears().status;
        assert!((400..=505).contains(&status), "{status}");
        client.hears_no_more();
        good.is_served();
    }
}

#[test]
fn who_stops_in_the_middle_is_answered_if_he_still_listens() {
    let server = serving(&[]);
    let echo = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf";
    for half in ["GET / HT", "GET / HTTP/1.1\r\nHost: h\r\n", echo] {
        let mut client = server.client();
        client.says(half.as_bytes());
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.hears().status, 400, "{half:?}");
        client.hears_no_more();
    }
    let mut client = server.client();
    client.says(get("/plaintext").as_bytes());
    client.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.hears().status, 200, "the question was whole");
    client.hears_no_more();
    server.stop("TERM");
}

#[test]
fn five_thousand_that_ask_nothing_keep_nobody_waiting_and_are_closed() {
    const MANY: usize = 5_000;
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let many = MANY.min(allowed as usize - 200);
    if many < MANY {
        let said = format!(
            "SKIPPED: {} connections, as no more descriptors are allowed\n",
            MANY - many
        );
        io::stderr().write_all(said.as_bytes()).unwrap();
    }
    let server = serving(&["--head-time", "3"]);
    let crowd: Vec<_> = (0..many).map(|_| server.client()).collect();
    let (_, came) = server.guest();
    for mut client in crowd {
        client.hears_no_more();
    }
    let (_, came_again) = server.guest();
    assert!(server.memory() < 2 * MEMORY, "{}", server.memory());
    assert_eq!(
        server.stop("TERM"),
        farewell(2, many as u64 + came + came_again, 0)
    );
}

#[test]
fn bodies_beyond_what_may_be_in_memory_are_refused_for_now() {
    let server = serving(&["--max-bodies", "65536"]);
    let mut first = server.client();
    first.says(
        b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nb",
    );
    assert_eq!(first.line(), "HTTP/1.1 100 Continue\r\n"); // so it has the beginning
    assert_eq!(first.line(), "\r\n");

    let small = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    let mut second = server.client();
    second.says(small);
    let refused = second.hears();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    second.hears_no_more();

    first.says(b"ody");
    assert_eq!(first.hears().body, b"body");
    let mut third = server.client();
    third.says(small);
    assert_eq!(third.hears().status, 200);
}

#[test]
fn a_server_at_its_limit_lets_the_next_one_in_when_one_leaves() {
    let server = serving(&["--max-connections", "1"]);
    let mut first = server.client();
    first.is_served();
    let mut second = server.client();
    second.says(get("/plaintext").as_bytes());
    first.is_served();
    drop(first);
    assert_eq!(second.hears().body, b"Hello, World!");
}
