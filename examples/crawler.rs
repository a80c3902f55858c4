//! A crawler: fetches a page, all that it links to on the same site, and so on.
//!
//! ```text
//! cargo run --release --example crawler -- [OPTION]... http://127.0.0.1:8080/
//! ```
//!
//! So many tasks take addresses from a queue, fetch and put what they find there into it; when nobody has anything left to do the
//! queue is closed. A line for each page is written to standard output: status, bytes, address; on a terminal a bar shows how far it
//! is. Ctrl-C cancels what is on its way, wherever it waits, and the summary is written all the same.
//!
//! | option | | unless told otherwise |
//! |---|---|---|
//! | `--tasks N` | requests at a time | 16 |
//! | `--timeout SECONDS` | for one request, from the name to the last byte | 10 |
//! | `--max-pages N` | that are asked for | 10,000 |
//! | `--max-bytes N` | of a page with its head; what is longer fails | 4 MiB |
//!
//! Requests are of HTTP/1.0, one for each connection, so an answer ends where the connection does; it has no TLS, and does not ask for
//! `robots.txt`: it is for sites of your own.

use indicatif::{ProgressBar, ProgressStyle};
use multitask::net::TcpStream;
use multitask::signal::{Signals, SIGINT};
use multitask::sync::{Mutex, Queue};
use multitask::{task, timeout, Scheduler};
use std::collections::HashSet;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use url::{Position, Url};

const USAGE: &str =
    "usage: crawler [--tasks N] [--timeout SECONDS] [--max-pages N] [--max-bytes N] URL";

/// As a shell has it of one that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse()?;
    let mut signals = Signals::new([SIGINT])?;
    let crawl = Crawl::new(options)?;
    let interrupted = AtomicBool::new(false);
    Scheduler::new()?.block_on(|| {
        task::scope(|scope| {
            let workers = (0..crawl.options.tasks).map(|_| scope.spawn(|| crawl.work()));
            let workers: Vec<_> = workers.collect();
            scope.spawn(|| {
                if signals.wait().is_ok() {
                    interrupted.store(true, Relaxed);
                    scope.cancel();
                }
            });
            for worker in workers {
                let _cancelled = worker.join();
            }
            scope.cancel(); // nobody waits for Ctrl-C any more
        });
    });
    crawl.bar.finish_and_clear();
    let (fetched, failed) = (crawl.fetched.load(Relaxed), crawl.failed.load(Relaxed));
    let interrupted = interrupted.load(Relaxed);
    let end = if interrupted { ", interrupted" } else { "" };
    writeln!(io::stdout(), "{fetched} fetched, {failed} failed{end}")?;
    Ok(if interrupted {
        INTERRUPTED.into()
    } else {
        ExitCode::SUCCESS
    })
}

struct Crawl {
    options: Options,
    /// Addresses that nobody has asked for yet.
    queue: Queue<Url>,
    /// Those in the queue, and those that are being asked for.
    open: AtomicUsize,
    /// All that have ever been in the queue.
    seen: Mutex<HashSet<Url>>,
    bar: ProgressBar,
    fetched: AtomicU64,
    failed: AtomicU64,
}

impl Crawl {
    fn new(options: Options) -> Result<Crawl, Box<dyn Error>> {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}")?;
        let crawl = Crawl {
            queue: Queue::unbounded(),
            open: AtomicUsize::new(0),
            seen: Mutex::default(),
            bar: ProgressBar::new(0).with_style(style),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            options,
        };
        crawl.add(crawl.options.start.clone());
        Ok(crawl)
    }

    /// Until there is nothing left to do, for anybody.
    fn work(&self) {
        for url in &self.queue {
            self.visit(&url);
            self.bar.inc(1);
            if self.open.fetch_sub(1, Relaxed) == 1 {
                self.queue.close();
            }
        }
    }

    fn visit(&self, url: &Url) {
        self.bar.set_message(url.to_string());
        let limit = self.options.max_bytes;
        let fetched = timeout(self.options.timeout, || Page::fetch(url, limit));
        let line = match fetched.map_err(io::Error::from).and_then(|page| page) {
            Ok(page) => {
                self.fetched.fetch_add(1, Relaxed);
                page.links(url).for_each(|link| self.add(link));
                format!("{} {} {url}", page.status, page.body.len())
            }
            Err(error) => {
                self.failed.fetch_add(1, Relaxed);
                format!("failed {url}: {error}")
            }
        };
        // If nobody reads it any more the crawl goes on, for the summary.
        self.bar
            .suspend(|| writeln!(io::stdout(), "{line}"))
            .unwrap_or(());
    }

    /// If it is of this site, and new, and there may be one more.
    fn add(&self, mut url: Url) {
        url.set_fragment(None);
        if url.origin() != self.options.start.origin() {
            return;
        }
        let mut seen = self.seen.lock().unwrap();
        if seen.len() < self.options.max_pages && seen.insert(url.clone()) {
            self.open.fetch_add(1, Relaxed);
            self.bar.inc_length(1);
            let _closed = self.queue.put(url);
        }
    }
}

// ---- pages ----

struct Page {
    status: u16,
    /// Where it has gone.
    location: Option<String>,
    is_html: bool,
    body: Vec<u8>,
}

impl Page {
    fn fetch(url: &Url, limit: usize) -> io::Result<Page> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        // Without the brackets of an IPv6 address.
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))?;
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let path = &url[Position::BeforePath..];
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: crawler\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let most = limit as u64 + 1;
        stream.take(most).read_to_end(&mut answer)?;
        if answer.len() > limit {
            return Err(invalid("it is too long"));
        }
        Page::parse(answer)
    }

    fn parse(mut answer: Vec<u8>) -> io::Result<Page> {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(&answer).map_err(io::Error::other)?;
        let httparse::Status::Complete(length) = parsed else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let header = |name| {
            let mut all = head.headers.iter();
            let it = all.find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(it.value).into_owned())
        };
        let expected = header("content-length").and_then(|length| length.parse::<usize>().ok());
        if expected.is_some_and(|expected| expected > answer.len() - length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Page {
            status: head.code.ok_or(ErrorKind::InvalidData)?,
            location: header("location"),
            is_html: header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
            body: answer.split_off(length),
        })
    }

    /// Whatever stands in a `href`: that is not all of HTML, and enough for most of it.
    fn links<'a>(&'a self, base: &'a Url) -> impl Iterator<Item = Url> + 'a {
        let text = String::from_utf8_lossy(if self.is_html { &self.body } else { b"" });
        let hrefs = text.split("href=").skip(1).filter_map(|rest| {
            let quote = rest.chars().next()?;
            match quote {
                '"' | '\'' => Some(rest[1..].split_once(quote)?.0.replace("&amp;", "&")),
                _ => rest.split([' ', '>']).next().map(str::to_owned),
            }
        });
        let links: Vec<_> = hrefs.chain(self.location.clone()).collect();
        links.into_iter().filter_map(|link| base.join(&link).ok())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

// ---- options ----

struct Options {
    tasks: usize,
    timeout: Duration,
    max_pages: usize,
    max_bytes: usize,
    start: Url,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut tasks, mut max_pages, mut max_bytes) = (16, 10_000, 4 << 20);
        let mut timeout = Duration::from_secs(10);
        let mut start = None;
        let number = |value: NonZeroUsize| value.get();
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("tasks") => tasks = number(parser.value()?.parse()?),
                Long("timeout") => timeout = parser.value()?.parse_with(seconds)?,
                Long("max-pages") => max_pages = number(parser.value()?.parse()?),
                Long("max-bytes") => max_bytes = number(parser.value()?.parse()?),
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                Value(url) => start = Some(url.parse_with(http)?),
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(Options {
            tasks,
            timeout,
            max_pages,
            max_bytes,
            start: start.ok_or(USAGE)?,
        })
    }
}

fn http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" => Ok(url),
        other => Err(format!("{other} is not spoken here, http is")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
