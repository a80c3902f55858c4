//! A work queue of several processes, on as many machines as there are: Redis Streams with a consumer group.
//!
//! ```text
//! seq 1000 | cargo run --release --example redis_worker -- --produce 127.0.0.1:6379
//! cargo run --release --example redis_worker [OPTION]... 127.0.0.1:6379 sh -c 'read n; echo $((n * n))'   # --help tells which
//! redis-cli xrange jobs:results - +
//! ```
//!
//! Each line that a producer reads is a job. A worker gives each job to a command, as its standard input; what that prints is the
//! result. Some jobs run at a time, each in a task with a connection of its own.
//!
//! | | |
//! |---|---|
//! | `connection` | the crate `redis` over our socket |
//! | `jobs` | the queue: taking, taking over, acknowledging; again and again if the server has gone |
//! | `options` | what it is told, and what it allows |
//!
//! 1. A job is acknowledged when it is done, together with its result, in one step: each job has one result, though it may have been done
//!    twice.
//! 2. A job that is not acknowledged within the lease (its worker was killed, has failed, or is too slow) is taken over by whoever
//!    looks first; after some attempts it is put aside.
//!
//! Ctrl-C or SIGTERM stops a worker in good order: it takes no more jobs, and ends those that it has. A second signal ends it at once.

mod connection;
mod jobs;
mod options;

use jobs::{Job, Jobs, Outcome};
use multitask::io::stdin;
use multitask::process::{Command, Stdio};
use multitask::signal::{Signals, SIGINT, SIGTERM};
use multitask::sync::Event;
use multitask::task::{Builder, JoinSet};
use multitask::{timeout, Scheduler};
use options::{Mode, Options, MOST};
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    Scheduler::new()?.block_on(|| match options.mode {
        Mode::Produce => jobs::produce(&options, stdin().lock()),
        Mode::Work => work(options),
    })
}

fn work(options: Options) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let worker = Arc::new(Worker {
        options,
        stop: Event::new(),
        done: AtomicU64::new(0),
        late: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    for n in 1..=worker.options.tasks {
        let worker = worker.clone();
        tasks.spawn_with(Builder::new().name(format!("jobs {n}")), move || {
            worker.serve()
        })?;
    }

    signals.wait()?;
    drop(signals); // from now on they do what they do to any program
    worker.stop.set();
    let grace = worker.options.grace;
    eprintln!("stopping: jobs have {grace:?} to end");
    // What has not ended by then is cancelled, with its command.
    for ended in timeout(grace, || tasks.join_all()).unwrap_or_default() {
        ended?;
    }
    worker.farewell()?;
    Ok(())
}

struct Worker {
    options: Options,
    stop: Event,
    /// Jobs that were acknowledged when they were done.
    done: AtomicU64,
    /// Jobs that somebody else had acknowledged by then.
    late: AtomicU64,
    /// Attempts, not jobs.
    failed: AtomicU64,
}

impl Worker {
    /// One job after the other, until it is told to stop.
    fn serve(&self) {
        let mut jobs = Jobs::new(&self.options, &self.stop);
        while let Some(job) = jobs.next() {
            if job.attempt > self.options.attempts {
                jobs.settle(&job, Outcome::GivenUp);
                continue;
            }
            match self.attempt(&job) {
                Ok(result) => match jobs.settle(&job, Outcome::Result(&result)) {
                    Some(true) => self.done.fetch_add(1, Relaxed),
                    Some(false) => self.late.fetch_add(1, Relaxed),
                    None => self.failed.fetch_add(1, Relaxed),
                },
                // It stays ours until the lease is over, and is tried again by whoever takes it then.
                Err(error) => {
                    eprintln!("job {}, attempt {}: {error}", job.id, job.attempt);
                    self.failed.fetch_add(1, Relaxed)
                }
            };
        }
    }

    /// Has the command do a job; the other half of the lease is for telling so.
    fn attempt(&self, job: &Job) -> io::Result<Vec<u8>> {
        let limit = self.options.lease / 2;
        let ran = timeout(limit, || run(&self.options, &job.text));
        ran.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it takes too long")))
    }

    fn farewell(&self) -> io::Result<()> {
        let [done, late, failed] =
            [&self.done, &self.late, &self.failed].map(|count| count.load(Relaxed));
        // `println!` would panic if nobody reads it any more.
        writeln!(
            io::stdout(),
            "done {done}, done by others before {late}, failed attempts {failed}"
        )
    }
}

/// What the command prints. It is killed if nobody waits for that any more.
fn run(options: &Options, job: &[u8]) -> io::Result<Vec<u8>> {
    let mut child = Command::new(&options.command[0])
        .args(&options.command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    match stdin.write_all(job).and_then(|()| stdin.write_all(b"\n")) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        _written_or_not_wanted => drop(stdin),
    }
    let stdout = child.stdout.take().expect("piped");
    let mut result = Vec::new();
    stdout.take(MOST as u64 + 1).read_to_end(&mut result)?;
    if result.len() > MOST {
        return Err(io::Error::other("its result is too long"));
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(result)
}
