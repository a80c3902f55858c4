//! The crawler on a site of files, and on sites that no end can be seen of.
//!
//! `cargo test` builds the example beside this test. The rules of `programs` hold.

mod programs;

use programs::files::Folder;
use programs::{is_installed, text, Program, PATIENCE};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

// ---- a site of files ----

#[test]
fn all_pages_of_a_site_are_fetched_once_and_no_others() {
    if !is_installed("python3", "python3") {
        return;
    }
    let site = Site::new();
    let said = site.crawl(&[]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let (lines, summary) = pages(&said);
    let url = &site.url;
    let expected = [
        format!("200 18 {url}below/"),
        format!("200 19 {url}below/page.html"),
        format!("200 4 {url}a%20b.txt"),
        format!("200 {} {url}", PAGE.len()),
        format!("200 {} {url}?x=1&y=2", PAGE.len()),
        format!("301 0 {url}below"),
        format!(
            "404 {} {url}missing",
            lines
                .iter()
                .find_map(|line| line.strip_prefix("404 "))
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
        ),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(lines, expected);
    assert_eq!(summary, "7 fetched, 0 failed");
    assert_eq!(text(&said.stderr), "", "no bar where there is no terminal");
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_it_is() {
    if !is_installed("python3", "python3") || !is_installed("script", "bsdutils") {
        return;
    }
    let site = Site::new();
    let program = programs::example("crawler");
    let command = format!("{} --tasks 1 {}", program.display(), site.url);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let said = Program::from(script.env("TERM", "xterm")).finish();
    assert!(said.status.success(), "{said:?}");
    let shown = text(&said.stdout);
    assert!(shown.contains(" 6/7 "), "{shown:?}");
    assert!(shown.contains("7 fetched, 0 failed"), "{shown:?}");
}

const PAGE: &str = "<a href=\"/\">itself</a> <a href='below'>x</a> <A class=y href=a%20b.txt>z</a> <a href=\"#here\">\n\
    <a href=\"http://elsewhere.invalid/\"> <a href=\"mailto:x@y\"> <a href=\"?x=1&amp;y=2#z\"> <a href=\"http://[\"> <a href=missing>";

struct Site {
    url: String,
    _server: Program,
    _folder: Folder,
}

impl Site {
    fn new() -> Site {
        let folder = Folder::new();
        folder.file("index.html", PAGE.as_bytes());
        folder.file("a b.txt", b"text");
        std::fs::create_dir(folder.path("below")).unwrap();
        folder.file("below/index.html", b"<a href=page.html>");
        folder.file("below/page.html", b"<a href=\"..\">up</a>");
        let mut command = Command::new("python3");
        let at = [
            "-u",
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            "--directory",
        ];
        let mut server = Program::from(command.args(at).args([&folder.path(""), "0"]));
        // `Serving HTTP on 127.0.0.1 port 40000 (http://127.0.0.1:40000/) ...`
        let mut line = String::new();
        let stdout = server.child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line
            .split(['(', ')'])
            .nth(1)
            .unwrap_or_else(|| panic!("{line:?}"));
        // What it notes must not fill a pipe.
        let stderr = server.child.stderr.take().unwrap();
        thread::spawn(|| std::io::copy(&mut BufReader::new(stderr), &mut std::io::sink()));
        Site {
            url: url.to_owned(),
            _server: server,
            _folder: folder,
        }
    }

    fn crawl(&self, options: &[&str]) -> Output {
        crawl(options, &self.url)
    }
}

// ---- sites that mean no good ----

/// There is no event that says that nobody comes: who would come does it sooner.
const A_WHILE: Duration = Duration::from_millis(100);

/// Whether a connection comes within that time; it stays where it is.
fn comes_within(listener: &TcpListener, time: Duration) -> bool {
    let end = Instant::now() + time;
    let mut set = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let milliseconds = left.as_millis() as libc::c_int;
        // SAFETY: one entry, which outlives the call.
        match unsafe { libc::poll(&mut set, 1, milliseconds) } {
            // A signal may cut it short.
            -1 => {}
            ready => return ready > 0,
        }
    }
}

#[test]
fn so_many_are_asked_at_a_time_and_no_more() {
    let links: String = (0..20).map(|n| format!("<a href=/{n}>")).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let crawling = thread::spawn(move || crawl(&["--tasks", "4"], &url));
    let (mut first, _) = asked(&listener);
    first.write_all(html(&links).as_bytes()).unwrap();
    drop(first);
    for _ in 0..5 {
        let four: Vec<_> = (0..4).map(|_| asked(&listener)).collect();
        assert!(!comes_within(&listener, A_WHILE), "a fifth one");
        for (mut stream, _) in four {
            stream.write_all(html("").as_bytes()).unwrap();
        }
    }
    assert_eq!(pages(&crawling.join().unwrap()).1, "21 fetched, 0 failed");
}

#[test]
fn what_is_slow_endless_or_no_page_fails_and_the_rest_is_fetched() {
    let names = [
        "silent", "dribble", "endless", "garbage", "cut", "short", "gone", "good",
    ];
    let links: String = names
        .iter()
        .map(|name| format!("<a href=/{name}>"))
        .collect();
    let url = serving(move |path, mut stream| {
        let written = match path {
            "/" => stream.write_all(html(&links).as_bytes()),
            "/silent" => stream.read(&mut [0]).map(drop),
            "/dribble" => loop {
                // Each byte in time, all of them never.
                if let Err(error) = stream.write_all(b"x") {
                    break Err(error);
                }
                thread::sleep(Duration::from_millis(20));
            },
            "/endless" => loop {
                if let Err(error) = stream.write_all(&[b'x'; 4096]) {
                    break Err(error);
                }
            },
            "/garbage" => stream.write_all(b"\xff\xfe\r\n\r\n"),
            "/cut" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-"),
            "/short" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
            "/gone" => Ok(()),
            _ => stream.write_all(html("good").as_bytes()),
        };
        drop(written);
    });
    let options = ["--timeout", "1", "--max-bytes", "100000", "--tasks", "8"];
    let said = crawl(&options, &url);
    let (lines, summary) = pages(&said);
    assert_eq!(summary, "2 fetched, 7 failed", "{lines:#?}");
    let of = |name: &str| {
        lines
            .iter()
            .find(|line| line.contains(&format!("/{name}")))
            .unwrap()
    };
    for (name, what) in [
        ("silent", "timed out"),
        ("dribble", "timed out"),
        ("endless", "too long"),
        ("garbage", "invalid"),
        ("cut", "end of file"),
        ("short", "end of file"),
        ("gone", "end of file"),
    ] {
        assert!(
            of(name).starts_with("failed ") && of(name).contains(what),
            "{}",
            of(name)
        );
    }
    assert!(of("good").starts_with("200 4 "), "{}", of("good"));
}

#[test]
fn a_site_without_end_ends_where_it_is_told() {
    let url = serving(|path, mut stream| {
        let answer = match path.len() {
            n if n % 3 == 0 => format!("HTTP/1.1 302 Found\r\nLocation: {path}x\r\n\r\n"),
            _ => html(&format!(
                "<a href=\"{path}\"> <a href=\"{path}x\"> <a href=\"{path}/y\">"
            )),
        };
        let _gone = stream.write_all(answer.as_bytes());
    });
    let said = crawl(&["--max-pages", "30"], &url);
    assert_eq!(pages(&said).1, "30 fetched, 0 failed");
}

#[test]
fn ctrl_c_cancels_what_is_on_its_way_and_the_summary_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut program = Program::start("crawler", &["--tasks", "2", "--timeout", "3600", &url]);
    let (mut first, _) = asked(&listener);
    let links = "<a href=/1> <a href=/2> <a href=/3>";
    first.write_all(html(links).as_bytes()).unwrap();
    drop(first);
    let mut waiting: Vec<_> = (0..2).map(|_| asked(&listener)).collect();
    let pid = program.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(sent.unwrap().success());
    for (stream, _) in &mut waiting {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is let go");
    }
    let said = program.finish();
    assert_eq!(said.status.code(), Some(130));
    assert_eq!(pages(&said).1, "1 fetched, 0 failed, interrupted");
}

/// A server that answers each request in a thread; it ends with the test.
fn serving(answer: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || loop {
        let (stream, path) = asked(&listener);
        let answer = answer.clone();
        thread::spawn(move || answer(&path, stream));
    });
    url
}

/// The next request, to its end, and its path.
fn asked(listener: &TcpListener) -> (TcpStream, String) {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
    let first = lines.next().unwrap();
    lines.find(String::is_empty).unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    (stream, path)
}

fn html(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}")
}

fn crawl(options: &[&str], url: &str) -> Output {
    Program::start("crawler", &[options, &[url]].concat()).finish()
}

/// The lines that it wrote, in order, and the last one.
fn pages(said: &Output) -> (Vec<String>, String) {
    let mut lines: Vec<_> = text(&said.stdout).lines().map(str::to_owned).collect();
    let summary = lines.pop().unwrap();
    lines.sort();
    (lines, summary)
}
