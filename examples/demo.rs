//! Thousands of TCP clients and the server they talk to: all of them tasks of one program, on one thread.
//!
//! ```text
//! cargo run --release --example demo [-- --clients N] [--seconds S]
//! ```
//!
//! Each client connects through the loopback device and sends messages of 64 bytes, which a task of the server sends
//! back; every byte is compared. The time is divided in two:
//!
//! - **Flat out**: a client sends its next message when it has the reply. This measures throughput. Each client has a
//!   request in some queue at all times, so the latency is the number of clients divided by the throughput, however
//!   fast the machine: the length of a queue.
//! - **Half load**: all clients send by a timetable, together half as many requests a second as were measured before.
//!   This measures latency, from the moment at which a request is due: what is sent late has waited as well.
//!
//! Clients and server share one thread, which also does most of the kernel's work for their sockets.

use hdrhistogram::Histogram;
use multitask::net::{SocketAddr, TcpListener, TcpStream};
use multitask::{sleep, sleep_until, spawn_local, timeout_at, Scheduler};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::{self, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{array, fs};

const USAGE: &str = "usage: demo [--clients N] [--seconds S]";

/// Clients, unless told otherwise. Each takes two descriptors, one at either end.
const CLIENTS: usize = 10_000;
/// Descriptors for everything else.
const SPARE_FILES: u64 = 64;
/// Clients that connect at the same time: no more than the listen queue of any system holds.
const WAVE: usize = 100;
/// Who has not connected after this time has failed.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long after the end of a phase a reply may come.
const GRACE: Duration = Duration::from_secs(2);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse()?;
    let scheduler = Scheduler::new()?;
    let failures = scheduler.block_on(|| demo(&options))?;
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
} // dropping the scheduler cancels the server

/// The main task. Returns the number of failures.
fn demo(options: &Options) -> io::Result<usize> {
    let files = allow_files(
        (options.clients as u64)
            .saturating_mul(2)
            .saturating_add(SPARE_FILES),
    )?;
    let count = options
        .clients
        .min((files.saturating_sub(SPARE_FILES) / 2) as usize);
    println!(
        "{count} clients of {} asked for; the limit of open files is {files}",
        options.clients
    );

    let board = Rc::new(Board::new());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = board.clone();
    spawn_local(move || serve(&listener, &server));
    let progress = board.clone();
    let progress = spawn_local(move || show_progress(&progress));

    let unloaded = resident_memory();
    let start = Instant::now();
    let clients = connect_all(addr, count, &board);
    let connected = clients.len();
    let connecting = start.elapsed();
    if clients.is_empty() {
        board.report_failures();
        return Err(io::Error::other("no client has connected"));
    }
    let length = options.time / 2;

    let (clients, flat_out) = phase("flat out", clients, length, &board, Client::flat_out);
    let timetable = Timetable::new(connected, flat_out.rate() / 2.0);
    let (clients, half_load) = phase(
        "half load",
        clients,
        length,
        &board,
        move |client, until, board| client.by_timetable(timetable, until, board),
    );
    drop(clients);
    progress.cancel();
    let _cancelled = progress.join();

    // Each client and its `echo`, the one that accepts, `show_progress`, and this one.
    let tasks = 2 * connected + 3;
    println!(
        "connected in {:.2} s: {connected} clients of {count}",
        connecting.as_secs_f64()
    );
    print_table(tasks, &flat_out, &half_load);
    if let (Some(before), Some(loaded)) = (unloaded, flat_out.resident) {
        let each = loaded.saturating_sub(before) / tasks as u64;
        println!("\nresident memory of this process per task: {each} bytes (without the kernel's sockets)");
    }
    println!(
        "latency flat out is that of a queue, clients / requests/s; half load shows the delay"
    );
    Ok(board.report_failures())
}

// ---- the server ----

fn serve(listener: &TcpListener, board: &Rc<Board>) {
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                let board = board.clone();
                spawn_local(move || {
                    echo(stream).unwrap_or_else(|error| board.failed("server", &error))
                });
            }
            Err(error) => {
                board.failed("accept", &error);
                sleep(Duration::from_millis(10));
            }
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 256];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n])?,
        }
    }
}

// ---- the clients ----

struct Client {
    stream: TcpStream,
    number: usize,
    requests: u64,
}

/// Connects in waves, each client in a task of its own; returns those that got a first reply.
fn connect_all(addr: SocketAddr, count: usize, board: &Board) -> Vec<Client> {
    let deadline = Instant::now() + CONNECTING;
    let mut clients = Vec::with_capacity(count);
    for first in (0..count).step_by(WAVE) {
        let connect = |number| spawn_local(move || Client::connect(addr, number, deadline));
        let wave: Vec<_> = (first..count.min(first + WAVE)).map(connect).collect();
        for task in wave {
            match task.join().expect("a client does not panic") {
                Ok(client) => clients.push(client),
                Err(error) => board.failed("connect", &error),
            }
            board.connected.set(clients.len());
        }
    }
    clients
}

impl Client {
    fn connect(addr: SocketAddr, number: usize, deadline: Instant) -> io::Result<Client> {
        timeout_at(deadline, || {
            let stream = TcpStream::connect(addr)?;
            let mut client = Client {
                stream,
                number,
                requests: 0,
            };
            client.request()?; // now the server has accepted it as well
            Ok(client)
        })?
    }

    fn flat_out(&mut self, until: Instant, board: &Board) -> io::Result<()> {
        let mut now = Instant::now();
        while now < until {
            self.request()?;
            let sent = std::mem::replace(&mut now, Instant::now());
            board.answered(now - sent);
        }
        Ok(())
    }

    fn by_timetable(
        &mut self,
        timetable: Timetable,
        until: Instant,
        board: &Board,
    ) -> io::Result<()> {
        let mut due = timetable.first(self.number);
        while due < until {
            sleep_until(due);
            self.request()?;
            board.answered(due.elapsed());
            due += timetable.interval;
        }
        Ok(())
    }

    /// Sends a message and waits for it to come back.
    fn request(&mut self) -> io::Result<()> {
        let message = self.next_message();
        let mut reply = [0; 64];
        self.stream.write_all(&message)?;
        self.stream.read_exact(&mut reply)?;
        if reply != message {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the reply differs from the message",
            ));
        }
        Ok(())
    }

    /// Differs from every other message of this and the other clients.
    fn next_message(&mut self) -> [u8; 64] {
        self.requests += 1;
        let word = ((self.number as u64) << 40 | self.requests).to_le_bytes();
        array::from_fn(|i| word[i % 8].wrapping_add(i as u8))
    }
}

/// When which client sends.
#[derive(Clone, Copy)]
struct Timetable {
    start: Instant,
    interval: Duration,
    clients: usize,
}

impl Timetable {
    /// `rate` requests a second, spread evenly over the clients and over time.
    fn new(clients: usize, rate: f64) -> Timetable {
        Timetable {
            start: Instant::now(),
            interval: Duration::from_secs_f64(clients as f64 / rate.max(1.0)),
            clients,
        }
    }

    fn first(&self, number: usize) -> Instant {
        self.start + self.interval.mul_f64(number as f64 / self.clients as f64)
    }
}

// ---- measuring ----

/// What came of a phase.
struct Figures {
    latencies: Histogram<u64>,
    elapsed: Duration,
    /// Of this process in the middle of the phase, in bytes; `None` where there is no `/proc`.
    resident: Option<u64>,
}

/// Lets every client do its `work` in a task of its own; returns those that did not fail, and what was measured.
fn phase(
    name: &'static str,
    clients: Vec<Client>,
    length: Duration,
    board: &Rc<Board>,
    work: impl Fn(&mut Client, Instant, &Board) -> io::Result<()> + Copy + 'static,
) -> (Vec<Client>, Figures) {
    board.begin(name);
    let start = Instant::now();
    let until = start + length;
    let run = |mut client: Client| {
        let board = board.clone();
        spawn_local(move || {
            timeout_at(until + GRACE, || work(&mut client, until, &board))??;
            Ok(client)
        })
    };
    let tasks: Vec<_> = clients.into_iter().map(run).collect();
    sleep_until(start + length / 2);
    let resident = resident_memory();

    let finished =
        |result: io::Result<Client>| result.map_err(|error| board.failed(name, &error)).ok();
    let clients = tasks
        .into_iter()
        .filter_map(|task| finished(task.join().expect("a client does not panic")))
        .collect();
    let figures = Figures {
        latencies: board.latencies.replace(new_histogram()),
        elapsed: start.elapsed(),
        resident,
    };
    (clients, figures)
}

impl Figures {
    fn requests(&self) -> u64 {
        self.latencies.len()
    }

    fn rate(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64()
    }

    fn latency(&self, percentile: f64) -> String {
        format!(
            "{:.1?}",
            Duration::from_nanos(self.latencies.value_at_percentile(percentile))
        )
    }
}

fn print_table(tasks: usize, flat_out: &Figures, half_load: &Figures) {
    let row = |name: &str, value: &dyn Fn(&Figures) -> String| {
        println!("{name:<16}{:>14}{:>14}", value(flat_out), value(half_load));
    };
    println!("\n{:<16}{:>14}{:>14}", "", "flat out", "half load");
    row("tasks", &|_| tasks.to_string());
    row("requests", &|figures| figures.requests().to_string());
    row("requests/s", &|figures| format!("{:.0}", figures.rate()));
    row("latency p50", &|figures| figures.latency(50.0));
    row("latency p99", &|figures| figures.latency(99.0));
    row("latency p99.9", &|figures| figures.latency(99.9));
}

/// Where the tasks write down what happens. They share a thread, so it needs neither locks nor atomics.
struct Board {
    phase: Cell<&'static str>,
    connected: Cell<usize>,
    /// In nanoseconds, of the phase that is under way.
    latencies: RefCell<Histogram<u64>>,
    /// How often which came.
    failures: RefCell<BTreeMap<String, usize>>,
}

impl Board {
    fn new() -> Board {
        Board {
            phase: Cell::new("connecting"),
            connected: Cell::new(0),
            latencies: RefCell::new(new_histogram()),
            failures: RefCell::default(),
        }
    }

    fn begin(&self, phase: &'static str) {
        self.phase.set(phase);
    }

    fn answered(&self, latency: Duration) {
        self.latencies
            .borrow_mut()
            .saturating_record(latency.as_nanos() as u64);
    }

    fn failed(&self, what: &str, error: &io::Error) {
        *self
            .failures
            .borrow_mut()
            .entry(format!("{what}: {error}"))
            .or_default() += 1;
    }

    fn report_failures(&self) -> usize {
        let failures = self.failures.borrow();
        let sum = failures.values().sum();
        println!("errors: {sum}");
        for (failure, count) in failures.iter() {
            println!("  {count} x {failure}");
        }
        sum
    }
}

/// A line that changes ten times a second, if somebody looks.
fn show_progress(board: &Board) {
    const TICK: Duration = Duration::from_millis(100);
    let mut stdout = io::stdout();
    if !stdout.is_terminal() {
        return;
    }
    let _erase = EraseLine;
    let mut before = (Instant::now(), 0);
    loop {
        sleep(TICK);
        let now = (Instant::now(), board.latencies.borrow().len());
        let rate = now.1.saturating_sub(before.1) as f64 / (now.0 - before.0).as_secs_f64();
        before = now;
        let (phase, connected) = (board.phase.get(), board.connected.get());
        let _unseen = write!(
            stdout,
            "\r\x1b[K{phase:<12}{connected} connections {rate:>10.0} requests/s"
        );
        let _unseen = stdout.flush();
    }
}

/// Runs when `show_progress` is cancelled.
struct EraseLine;

impl Drop for EraseLine {
    fn drop(&mut self) {
        let _unseen = write!(io::stdout(), "\r\x1b[K");
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("these are valid bounds")
}

// ---- the process ----

/// Raises the limit of open files to `wanted`, or as far as this process may; returns the limit.
fn allow_files(wanted: u64) -> io::Result<u64> {
    use rlimit::Resource;
    let (soft, hard) = Resource::NOFILE.get()?;
    // Only root may raise the hard limit.
    if soft < wanted && Resource::NOFILE.set(wanted, hard.max(wanted)).is_err() {
        rlimit::increase_nofile_limit(wanted)?;
    }
    Resource::NOFILE.get_soft()
}

/// In bytes; `None` where there is no `/proc`.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

struct Options {
    clients: usize,
    time: Duration,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            clients: CLIENTS,
            time: Duration::from_secs(8),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("clients") => options.clients = parser.value()?.parse::<NonZeroUsize>()?.get(),
                Long("seconds") => {
                    options.time =
                        Duration::from_secs(parser.value()?.parse::<NonZeroU32>()?.get().into())
                }
                Short('h') | Long("help") => {
                    println!("{USAGE}");
                    process::exit(0);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(options)
    }
}
