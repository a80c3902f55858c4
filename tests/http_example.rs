//! The HTTP examples beside programs that nobody here wrote, and beside clients that mean no good.
//!
//! The rules of `tests/examples.rs` hold. A client that is slow on purpose sleeps between its bytes; nobody else sleeps. What a part of the
//! bytes means is for `tests/http_parser.rs`; here it is what a socket, and the whole server, make of it.

mod programs;

use programs::{is_installed, text, Program, Server, PATIENCE};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

// ---- curl, wrk ----

#[test]
fn curl_gets_heads_and_posts() {
    if !is_installed("curl", "curl") {
        return;
    }
    let server = serving(&[]);
    let page = curl(&[&server.url("/plaintext")]);
    assert_eq!(page, "Hello, World!");
    let head = curl(&["--head", &server.url("/plaintext")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 13\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");

    let echo = server.url("/echo");
    assert_eq!(curl(&["--data", "to and fro", &echo]), "to and fro");
    let chunked = [
        "--header",
        "Transfer-Encoding: chunked",
        "--data",
        "in chunks",
        &echo,
    ];
    assert_eq!(curl(&chunked), "in chunks");
    let refused = curl(&[
        "--data",
        "x",
        "--write-out",
        "%{http_code}",
        &server.url("/"),
    ]);
    assert!(refused.ends_with("405"), "{refused}");
    assert_eq!(server.stop("TERM"), farewell(5, 5, 0));
}

#[test]
fn curl_asks_several_times_on_one_connection() {
    if !is_installed("curl", "curl") {
        return;
    }
    let server = serving(&[]);
    let url = server.url("/plaintext");
    let report = ["--write-out", " %{num_connects}\n"];
    let said = curl(&[&report[..], &[&*url; 3]].concat());
    assert_eq!(said, "Hello, World! 1\nHello, World! 0\nHello, World! 0\n");
    assert_eq!(server.stop("INT"), farewell(3, 1, 0));
}

#[test]
fn a_megabyte_comes_back_through_curl_and_what_is_too_large_is_refused() {
    if !is_installed("curl", "curl") {
        return;
    }
    let folder = Folder::new("upload");
    let sent = noise(1 << 20);
    let file = folder.file("sent", &sent);
    let data = format!("@{file}");
    let server = serving(&["--max-body", "1048576"]);
    let echo = server.url("/echo");
    for coding in ["Content-Type: x/y", "Transfer-Encoding: chunked"] {
        let back = folder.path("back");
        curl(&[
            "--header",
            coding,
            "--data-binary",
            &data,
            "--output",
            &back,
            &echo,
        ]);
        assert!(fs::read(&back).unwrap() == sent, "{coding}: it has changed");
    }

    folder.file("sent", &noise((1 << 20) + 1));
    for coding in ["Content-Type: x/y", "Transfer-Encoding: chunked"] {
        let report = ["--write-out", "%{http_code}", "--output", "/dev/null"];
        let args = ["--header", coding, "--data-binary", &data, &echo];
        assert_eq!(curl(&[&report[..], &args].concat()), "413", "{coding}");
    }
    server.stop("TERM");
}

#[test]
fn wrk_sees_no_error_and_counts_what_the_server_counts() {
    if !is_installed("wrk", "wrk") {
        return;
    }
    let folder = Folder::new("wrk");
    let script = "init = function() local one = wrk.format('GET', '/plaintext'); all = string.rep(one, 16) end\n\
                  request = function() return all end\n";
    let script = folder.file("pipeline.lua", script.as_bytes());
    for args in [&[][..], &["--script", &script]] {
        let server = serving(&[]);
        let url = server.url("/plaintext");
        let fixed = [
            "--threads",
            "1",
            "--connections",
            "20",
            "--duration",
            "1",
            &url,
        ];
        let said = run("wrk", &[&fixed, args].concat());
        for trouble in ["Socket errors", "Non-2xx"] {
            assert!(!said.contains(trouble), "{said}");
        }
        let counted = said
            .lines()
            .find_map(|line| line.trim().split_once(" requests in"));
        let counted: u64 = counted.expect(&said).0.parse().unwrap();
        let served = server.stop("TERM");
        let served: u64 = served.split(' ').nth(1).unwrap().parse().unwrap();
        // What was on its way when time was up wrk does not count; a batch for each connection at most.
        assert!(
            counted > 0 && (counted..=counted + 20 * 16).contains(&served),
            "{said}{served}"
        );
    }
}

// ---- requests in a row, and in pieces ----

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let server = serving(&[]);
    let mut client = server.client();
    let echo = |n: usize| {
        let body = "x".repeat(n);
        format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n{body}")
    };
    let row: String = (0..200).map(|n| echo(n) + &get("/plaintext")).collect();
    client.says(row.as_bytes());
    for n in 0..200 {
        let answer = client.hears();
        assert_eq!((answer.status, answer.body.len()), (200, n));
        assert_eq!(client.hears().body, b"Hello, World!");
    }
    client.says(&get("/nothing").into_bytes());
    assert_eq!(
        client.hears().status,
        404,
        "and then there is nothing left over"
    );
    drop(client);
    assert_eq!(server.stop("TERM"), farewell(401, 1, 0));
}

#[test]
fn a_request_is_answered_the_same_wherever_it_is_cut() {
    let server = serving(&[]);
    let mut client = server.client();
    let request = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
    for at in 1..request.len() {
        let (begin, end) = request.split_at(at);
        client.says(begin.as_bytes());
        client.says(end.as_bytes());
        let answer = client.hears();
        assert_eq!(
            (answer.status, &*answer.body),
            (200, &b"hello world"[..]),
            "cut at {at}"
        );
    }
    for byte in request.bytes() {
        client.says(&[byte]);
    }
    assert_eq!(client.hears().body, b"hello world", "byte by byte");
}

#[test]
fn a_client_that_waits_for_a_word_before_its_body_gets_it() {
    let server = serving(&["--max-body", "10"]);
    let mut client = server.client();
    let head = |length| {
        format!("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    client.says(head(4).as_bytes());
    assert_eq!(client.line(), "HTTP/1.1 100 Continue\r\n");
    assert_eq!(client.line(), "\r\n");
    client.says(b"body");
    assert_eq!(client.hears().body, b"body");
    client.says(head(11).as_bytes());
    assert_eq!(client.hears().status, 413, "without a word");
    client.hears_no_more();
}

#[test]
fn an_old_client_and_one_that_says_close_are_closed_and_an_old_one_that_asks_is_kept() {
    let server = serving(&[]);
    for request in [
        "GET /plaintext HTTP/1.0\r\n\r\n",
        "GET /plaintext HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n",
    ] {
        let mut client = server.client();
        client.says(request.as_bytes());
        let answer = client.hears();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, Some("close"))
        );
        client.hears_no_more();
    }
    let mut client = server.client();
    for _ in 0..2 {
        client.says(b"GET /plaintext HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_eq!(client.hears().header("connection"), Some("keep-alive"));
    }
}

#[test]
fn every_route_says_what_it_allows_and_a_head_is_that_of_the_page() {
    let server = serving(&[]);
    let mut client = server.client();
    for (method, path, status, allowed) in [
        ("GET", "/echo", 405, Some("POST, OPTIONS")),
        ("POST", "/", 405, Some("GET, HEAD, OPTIONS")),
        ("DELETE", "/plaintext", 405, Some("GET, HEAD, OPTIONS")),
        ("OPTIONS", "/echo", 204, Some("POST, OPTIONS")),
        ("OPTIONS", "*", 204, Some("GET, HEAD, POST, OPTIONS")),
        ("GET", "/files/", 404, None),
        ("GET", "/nothing", 404, None),
        ("GET", "/?question", 200, None),
        ("GET", "http://elsewhere/plaintext", 200, None),
    ] {
        client.says(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let answer = client.hears();
        assert_eq!(
            (answer.status, answer.header("allow")),
            (status, allowed),
            "{method} {path}"
        );
    }
    client.says(get("/").as_bytes());
    let page = client.hears();
    client.says(get("/").replace("GET", "HEAD").as_bytes());
    let head = client.head();
    for name in ["content-length", "content-type"] {
        assert_eq!(head.header(name), page.header(name));
    }
}

#[test]
fn after_a_request_that_can_be_read_in_two_ways_nothing_more_is_read() {
    let server = serving(&[]);
    let hidden = get("/plaintext");
    let length = hidden.len();
    for (headers, status) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(),
            400,
        ),
        (
            format!("Content-Length: 0\r\nContent-Length: {length}"),
            400,
        ),
        (format!("Content-Length: 0, {length}"), 400),
        ("Content-Length: +0".into(), 400),
        ("Transfer-Encoding: gzip, chunked".into(), 501),
        ("Transfer-Encoding: chunked, identity".into(), 400),
        ("Transfer-Encoding : chunked".into(), 400),
        ("Host: other".into(), 400),
    ] {
        let mut client = server.client();
        client.says(
            format!("POST /echo HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{hidden}").as_bytes(),
        );
        let answer = client.hears();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, Some("close")),
            "{headers}"
        );
        client.hears_no_more();
    }
    for chunk in [
        "g\r\n",
        "-1\r\n",
        "0x1\r\n",
        " 1\r\nx\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxx\r\n",
        "\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut client = server.client();
        let head = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.says(format!("{head}{chunk}{hidden}").as_bytes());
        assert_eq!(client.hears().status, 400, "{chunk:?}");
        client.hears_no_more();
    }
}

// ---- files ----

#[test]
fn files_come_whole_and_only_those_of_the_folder() {
    let folder = Folder::new("files");
    let large = noise(300_000);
    folder.file("large.bin", &large);
    folder.file("empty.txt", b"");
    folder.file("page.html", b"<p>hello");
    folder.file("a b%.txt", b"spaces");
    folder.file(".hidden", b"not for you");
    fs::create_dir(folder.path("inside")).unwrap();
    folder.file("inside/index.html", b"the folder's page");
    symlink("large.bin", folder.path("link")).unwrap();
    symlink(".hidden", folder.path("uncovered")).unwrap();
    symlink("/etc/passwd", folder.path("leak")).unwrap();
    symlink("/etc", folder.path("door")).unwrap();
    symlink("loop", folder.path("loop")).unwrap();
    let made = Command::new("mkfifo").arg(folder.path("fifo")).status();
    assert!(made.unwrap().success());

    let server = serving(&["--root", folder.0.to_str().unwrap()]);
    let mut client = server.client();
    let mut ask = |path: &str| {
        client.says(get(path).as_bytes());
        client.hears()
    };
    for (path, content_type, content) in [
        ("/files/large.bin", "application/octet-stream", &*large),
        ("/files/link", "application/octet-stream", &large),
        ("/files/empty.txt", "text/plain; charset=utf-8", b""),
        ("/files/page.html", "text/html; charset=utf-8", b"<p>hello"),
        (
            "/files/p%61ge.html",
            "text/html; charset=utf-8",
            b"<p>hello",
        ),
        (
            "/files/a%20b%25.txt",
            "text/plain; charset=utf-8",
            b"spaces",
        ),
        (
            "/files//inside/",
            "text/html; charset=utf-8",
            b"the folder's page",
        ),
    ] {
        let answer = ask(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type)),
            "{path}"
        );
        assert!(answer.body == content, "{path}");
    }
    let moved = ask("/files//inside");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/files/inside/"))
    );
    for path in [
        "/files/", // it has no index
        "/files/nothing",
        "/files/page.html/",
        "/files/page.html/x",
        "/files/.hidden",
        "/files/%2ehidden",
        "/files/uncovered",
        "/files/leak",
        "/files/door/passwd",
        "/files/loop",
        "/files/fifo",
        "/files/../Cargo.toml",
        "/files/inside/../page.html",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/..%2f..%2fetc%2fpasswd",
        "/files/inside%2findex.html",
        "/files/..%5cx",
        "/files/page.html%00",
        "/files/%",
        "/files/%zz",
    ] {
        let answer = ask(path);
        assert_eq!(
            (answer.status, &*answer.body),
            (404, &b"404 Not Found\n"[..]),
            "{path}"
        );
    }
    let long = ask(&format!("/files/{}", "x".repeat(5000)));
    assert_eq!(long.status, 404);

    let date = ask("/files/large.bin")
        .header("last-modified")
        .unwrap()
        .to_owned();
    for (since, status) in [
        (&*date, 304),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
        ("yesterday", 200),
    ] {
        let request = get("/files/large.bin");
        let header = format!("\r\nIf-Modified-Since: {since}\r\n\r\n");
        client.says(request.replace("\r\n\r\n", &header).as_bytes());
        let answer = if status == 304 {
            client.head()
        } else {
            client.hears()
        };
        assert_eq!(answer.status, status, "{since}");
    }
}

// ---- hostile peers ----

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
    let slow = |begin: &str| {
        let mut client = server.client();
        client.says(begin.as_bytes());
        let dribbles = client.0.get_ref().try_clone().unwrap();
        let dribble = thread::spawn(move || {
            while (&dribbles).write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        (client, dribble)
    };
    let endless = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    let second = get("/plaintext") + "GET /";
    let slow = [
        (slow("GET /"), 0),
        (slow("GET / HTTP/1.1\r\nX: "), 0),
        (slow(endless), 0),
        (slow(&second), 1),
    ];
    for ((mut client, dribble), answered) in slow {
        server.client().is_served();
        (0..answered).for_each(|_| assert_eq!(client.hears().status, 200));
        assert_eq!(client.hears().status, 408);
        client.hears_no_more();
        drop(client);
        dribble.join().unwrap();
    }
    server.stop("TERM");
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    let server = serving(&QUICK);
    let mut silent = server.client();
    let mut idle = server.client();
    idle.is_served();
    silent.hears_no_more();
    idle.hears_no_more();
    assert_eq!(server.stop("TERM"), farewell(1, 2, 0));
}

#[test]
fn who_never_reads_is_cut_off_and_others_are_served_meanwhile() {
    let folder = Folder::new("never");
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
        server.client().is_served();
        let end = deaf.join().unwrap();
        assert!(
            matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{end}"
        );
    }
    server.client().is_served();
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
        writeln!(
            io::stderr(),
            "only {many} connections: no more descriptors are allowed"
        )
        .unwrap();
    }
    let server = serving(&["--head-time", "3"]);
    let crowd: Vec<_> = (0..many).map(|_| server.client()).collect();
    server.client().is_served();
    for mut client in crowd {
        client.hears_no_more();
    }
    server.client().is_served();
    assert!(server.memory() < 2 * MEMORY, "{}", server.memory());
    assert_eq!(server.stop("TERM"), farewell(2, many as u64 + 2, 0));
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

// ---- stopping ----

#[test]
fn a_server_told_to_end_answers_what_was_begun_and_closes_who_is_idle() {
    for signal in ["INT", "TERM"] {
        let mut server = serving(&["--grace", "3600"]);
        let mut idle = server.client();
        idle.is_served();
        let mut fresh = server.client();
        let mut busy = server.client();
        busy.says(b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nha");
        assert_eq!(busy.line(), "HTTP/1.1 100 Continue\r\n");
        assert_eq!(busy.line(), "\r\n");
        let mut asking = server.client();
        asking.says((get("/plaintext") + "GET /plaintext HT").as_bytes());
        assert_eq!(asking.hears().status, 200); // so it has the beginning of the next one as well

        server.0.send(signal);
        let said = server.0.complaint();
        assert_eq!(said, "stopping: 4 connections have 3600s to end\n");
        idle.hears_no_more();
        fresh.hears_no_more();
        assert!(
            TcpStream::connect(server.addr()).is_err(),
            "it still lets clients in"
        );
        busy.says(b"lf");
        let answer = busy.hears();
        assert_eq!(
            (&*answer.body, answer.header("connection")),
            (&b"half"[..], Some("close"))
        );
        busy.hears_no_more();
        asking.says(b"TP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(asking.hears().header("connection"), Some("close"));
        asking.hears_no_more();
        drop((busy, asking));
        assert_eq!(server.0.ended().0, farewell(4, 4, 0));
    }
}

#[test]
fn a_second_signal_ends_the_patience() {
    let mut server = serving(&["--grace", "3600"]);
    let mut busy = server.client();
    busy.says(
        b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nha",
    );
    assert_eq!(busy.line(), "HTTP/1.1 100 Continue\r\n");
    assert_eq!(busy.line(), "\r\n");
    server.0.send("TERM");
    assert_eq!(
        server.0.complaint(),
        "stopping: 1 connections have 3600s to end\n"
    );
    assert_eq!(server.stop("TERM"), farewell(1, 1, 1));
    busy.hears_no_more();
}

#[test]
fn options_that_are_none_are_refused() {
    for args in [
        &["--max-body", "much"][..],
        &["--max-head", "0"],
        &["--head-time", "-1"],
        &["--root", "/nowhere"],
        &["--root", "/etc/passwd"],
        &["--frobnicate"],
        &["-x"],
    ] {
        let output = Program::start("http_server", args).finish();
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(1), ""),
            "{args:?}"
        );
    }
}

// ---- what the tests need ----

fn serving(options: &[&str]) -> Serving {
    Serving(Server::started("http_server", options, &["127.0.0.1:0"]))
}

/// A server of the examples at work.
struct Serving(Server);

impl Serving {
    fn url(&self, path: &str) -> String {
        self.0.addr.clone() + path
    }

    fn addr(&self) -> &str {
        self.0.addr.split("://").nth(1).unwrap()
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn stop(self, signal: &str) -> String {
        self.0.stop(signal)
    }

    /// The most that it has had in memory, in bytes.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.program.id());
        let Ok(status) = fs::read_to_string(path) else {
            assert!(cfg!(not(target_os = "linux")));
            return 0; // nobody tells
        };
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: u64 = most.unwrap().trim_end_matches("kB").trim().parse().unwrap();
        kilobytes << 10
    }
}

struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut mine = self.headers.iter().filter(|header| header.0 == name);
        mine.next().map(|header| &*header.1)
    }
}

impl Client {
    #[track_caller]
    fn says(&mut self, bytes: &[u8]) {
        self.0.get_ref().write_all(bytes).unwrap();
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// An answer without a body.
    #[track_caller]
    fn head(&mut self) -> Answer {
        let first = self.line();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .unwrap_or_else(|| panic!("{first:?}"));
        let status = status[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_lowercase(), value.trim_end().to_owned()));
        }
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    #[track_caller]
    fn hears(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    #[track_caller]
    fn hears_no_more(&mut self) {
        let mut rest = Vec::new();
        // A reset would be an error: it may take the last answer with it.
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    #[track_caller]
    fn is_served(&mut self) {
        self.says(get("/plaintext").as_bytes());
        assert_eq!(self.hears().body, b"Hello, World!");
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn farewell(requests: u64, connections: u64, cut_off: u64) -> String {
    format!("served {requests} requests on {connections} connections, {cut_off} of them cut off\n")
}

/// What a program writes that must succeed.
#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Program::from(Command::new(program).args(args)).finish();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn curl(args: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error"], args].concat())
}

/// Bytes that repeat nowhere near.
fn noise(length: usize) -> Vec<u8> {
    let byte = |i: usize| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
    (1..=length).map(byte).collect()
}

/// A folder of its own for a test, which is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("multitask-http-{name}-{}", std::process::id()));
        let _old = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: impl AsRef<Path>) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.0.join(name), content).unwrap();
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}
