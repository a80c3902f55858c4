//! The HTTP examples beside programs that nobody here wrote, and beside clients that mean no good.
//!
//! `cargo test` builds the examples beside this test. The rules of `programs` hold. A client that is slow on purpose sleeps between its bytes; nobody else sleeps. What a part of the
//! bytes means is for `tests/http_parser.rs`; here it is what a socket, and the whole server, make of it.

mod browser;
mod hostile;
mod metrics;
mod peers;
#[path = "../programs/mod.rs"]
mod programs;
mod tls;

use peers::{curl, farewell, get, noise, run, serving, Folder};
use programs::{is_installed, text, Program};
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Command;

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
    let folder = Folder::new();
    let sent = noise(1 << 20);
    folder.file("sent", &sent);
    let data = format!("@{}", folder.path("sent"));
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
    let folder = Folder::new();
    let script = "init = function() local one = wrk.format('GET', '/plaintext'); all = string.rep(one, 16) end\n\
                  request = function() return all end\n";
    folder.file("pipeline.lua", script.as_bytes());
    let script = folder.path("pipeline.lua");
    for (options, args) in [
        (&[][..], &[][..]),
        (&[], &["--script", &script]),
        (&["--workers", "4"], &["--script", &script]),
    ] {
        let server = serving(options);
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
        let all = counted..=counted + 20 * 16;
        assert!(counted > 0 && all.contains(&served), "{said}{served}");
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

/// What is written at once, and is this short, comes at once. Of several writes a reader that waits is woken by the first.
#[test]
fn a_batch_of_requests_is_answered_by_one_write() {
    let server = serving(&[]);
    let mut client = server.client();
    let mut answers_to = |requests: &str| {
        client.says(requests.as_bytes());
        let mut room = [0; 64 << 10];
        client.0.get_mut().read(&mut room).unwrap()
    };
    let one = answers_to(&get("/plaintext"));
    for _ in 0..20 {
        assert_eq!(answers_to(&get("/plaintext").repeat(100)), 100 * one);
    }
    drop(client);
    assert_eq!(server.stop("TERM"), farewell(2001, 1, 0));
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
        ("POST", "/tasks", 405, Some("GET, HEAD, OPTIONS")),
        ("POST", "/metrics", 405, Some("GET, HEAD, OPTIONS")),
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
    let folder = Folder::new();
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
        let late = clients_until_refused(server.addr());
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
        assert_eq!(server.0.ended().0, farewell(4, 4 + late, 0));
    }
}

/// How many clients a server that stops still lets in, and closes: whom the kernel has connected before the listener is closed is accepted, unless he
/// comes in the last moment.
fn clients_until_refused(addr: &str) -> u64 {
    let mut accepted = 0;
    while let Ok(mut late) = TcpStream::connect(addr) {
        // Of those who come then, Linux forgets one in some thousands without a word to him; but whoever it hears from it tells.
        let heard = late
            .shutdown(Shutdown::Write)
            .and_then(|()| late.read(&mut [0]));
        match heard.map_err(|error| error.kind()) {
            Ok(count) => {
                assert_eq!(count, 0, "it has asked for nothing");
                accepted += 1;
            }
            Err(ErrorKind::ConnectionReset | ErrorKind::NotConnected) => {}
            Err(kind) => panic!("{kind:?}"),
        }
    }
    accepted
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
