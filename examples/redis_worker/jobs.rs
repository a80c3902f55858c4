//! The queue: a stream of jobs, and a group of those who do them.
//!
//! 1. Whoever reads a job from the group has it, until he acknowledges it, or until the lease is over and somebody else asks for it.
//! 2. An answer may be lost with its connection, so what is tried again must do no harm if it was done already: a job that was read and
//!    never seen comes back after the lease, and only the first acknowledgement counts. To add a job is not like that, and not tried again.

use super::connection::Connection;
use super::options::{Options, MOST};
use multitask::sleep;
use multitask::sync::Event;
use redis::streams::{StreamAutoClaimOptions, StreamId, StreamReadOptions, StreamReadReply};
use redis::{pipe, Commands, RedisResult, Script};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, Read, Write};
use std::time::{Duration, Instant};

/// How long the server is asked to wait for a job, which is how long it takes to stop at most.
const WAIT: Duration = Duration::from_secs(1);
/// For the server to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the first attempt to connect again; twice as long before each that follows.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Jobs that are added together.
const BATCH: usize = 100;

/// By 2: acknowledges a job (`KEYS[1]`, group `ARGV[1]`, id `ARGV[2]`); if it was not, adds what came of it to the stream `KEYS[2]`, which
/// keeps about `ARGV[3]`, and forgets it. Answers whether it was not. If nothing can be added there, it fails before it has done anything.
const SETTLE: &str = "
    redis.call('XLEN', KEYS[2])
    if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
    redis.call('XDEL', KEYS[1], ARGV[2])
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'id', ARGV[2], unpack(ARGV, 4))
    return 1
";

pub struct Job {
    pub id: String,
    pub text: Vec<u8>,
    /// How often somebody has had it, this time included.
    pub attempt: usize,
}

impl Job {
    fn new(entry: &StreamId, attempt: usize) -> Job {
        Job {
            id: entry.id.clone(),
            text: entry.get("job").unwrap_or_default(),
            attempt,
        }
    }
}

/// What comes of a job in the end.
pub enum Outcome<'a> {
    Result(&'a [u8]),
    GivenUp,
}

/// The queue as one task of a worker sees it, with a connection that is there when it is needed.
pub struct Jobs<'a> {
    options: &'a Options,
    stop: &'a Event,
    connection: Option<Connection>,
    settle: Script,
    /// Where among the jobs that somebody has it looks for left ones, and when.
    cursor: String,
    looks: Instant,
}

impl Jobs<'_> {
    pub fn new<'a>(options: &'a Options, stop: &'a Event) -> Jobs<'a> {
        Jobs {
            options,
            stop,
            connection: None,
            settle: Script::new(SETTLE),
            cursor: "0-0".to_owned(),
            looks: Instant::now(),
        }
    }

    /// Waits for a job; `None` if it was told to stop.
    pub fn next(&mut self) -> Option<Job> {
        while !self.stop.is_set() {
            let job = self.persist(|jobs, connection| match jobs.left(connection)? {
                None => jobs.new_one(connection),
                left => Ok(left),
            })?;
            if job.is_some() {
                return job;
            }
        }
        None
    }

    /// Acknowledges a job. Answers whether it was the first to do so; `None` if it was told to stop, and the server has gone.
    pub fn settle(&mut self, job: &Job, outcome: Outcome<'_>) -> Option<bool> {
        self.persist(|jobs, connection| {
            let Options { stream, name, .. } = jobs.options;
            let attempts = jobs.options.attempts.to_string();
            let (to, what, value) = match outcome {
                Outcome::Result(result) => ("results", "result", result),
                Outcome::GivenUp => ("dead", "attempts", attempts.as_bytes()),
            };
            jobs.settle
                .key(stream)
                .key(format!("{stream}:{to}"))
                .arg(&jobs.options.group)
                .arg(&job.id)
                .arg(jobs.options.keep)
                .arg(&[&b"job"[..], &job.text, b"by", name.as_bytes()])
                .arg(&[what.as_bytes(), value])
                .invoke(connection)
        })
    }

    /// A job whose lease is over, if it is time to look for such.
    fn left(&mut self, connection: &mut Connection) -> RedisResult<Option<Job>> {
        if Instant::now() < self.looks {
            return Ok(None);
        }
        let Options {
            stream,
            group,
            name,
            lease,
            ..
        } = self.options;
        let one = StreamAutoClaimOptions::default().count(1);
        let lease_ms = lease.as_millis() as u64;
        let claimed =
            connection.xautoclaim_options(stream, group, name, lease_ms, &self.cursor, one);
        let claimed: redis::streams::StreamAutoClaimReply = claimed?;
        self.cursor = claimed.next_stream_id;
        let Some(entry) = claimed.claimed.first() else {
            if self.cursor == "0-0" {
                self.looks = Instant::now() + *lease / 4; // it has seen them all
            }
            return Ok(None);
        };
        let pending = connection.xpending_count(stream, group, &entry.id, &entry.id, 1);
        let pending: redis::streams::StreamPendingCountReply = pending?;
        let attempt = pending.ids.first().map_or(1, |entry| entry.times_delivered);
        Ok(Some(Job::new(entry, attempt)))
    }

    /// A job that nobody has had; `None` if none comes for a while.
    fn new_one(&mut self, connection: &mut Connection) -> RedisResult<Option<Job>> {
        let Options {
            stream,
            group,
            name,
            ..
        } = self.options;
        let one = StreamReadOptions::default()
            .group(group, name)
            .block(WAIT.as_millis() as usize)
            .count(1);
        let read: Option<StreamReadReply> = connection.xread_options(&[stream], &[">"], &one)?;
        let mut entries = read
            .iter()
            .flat_map(|read| &read.keys)
            .flat_map(|key| &key.ids);
        Ok(entries.next().map(|entry| Job::new(entry, 1)))
    }

    /// Does it on the connection; if that fails, on another one, a while later, until it succeeds. `None` if it was told to stop.
    fn persist<T>(
        &mut self,
        op: impl Fn(&mut Self, &mut Connection) -> RedisResult<T>,
    ) -> Option<T> {
        let mut delay = SHORTEST;
        loop {
            let is_last = self.stop.is_set();
            let connection = self.connection.take().map_or_else(|| self.connect(), Ok);
            let done = connection.and_then(|mut connection| {
                let done = op(self, &mut connection)?;
                self.connection = Some(connection);
                Ok(done)
            });
            match done {
                Ok(done) => return Some(done),
                Err(error) if is_last => {
                    eprintln!("{}: {error}", self.options.addr);
                    return None;
                }
                Err(error) => {
                    let delay = delay.mul_f64(1.0 - random() / 2.0);
                    eprintln!("{}: {error}; again in {delay:.1?}", self.options.addr);
                    let _told = self.stop.wait_timeout(delay);
                }
            }
            delay = LONGEST.min(delay * 2);
        }
    }

    fn connect(&self) -> RedisResult<Connection> {
        let Options {
            addr,
            stream,
            group,
            ..
        } = self.options;
        let mut connection = Connection::open(addr, WAIT + PATIENCE)?;
        let made: RedisResult<()> = connection.xgroup_create_mkstream(stream, group, "0");
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            _made_or_there => Ok(connection),
        }
    }
}

/// From 0 to 1: those who lost the same server do not come back all at once.
fn random() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Adds each line as a job, and waits while there are too many.
///
/// # Errors
/// The server has gone, and whether the last lines were added is not known; a line is too long.
pub fn produce(options: &Options, mut lines: impl BufRead) -> Result<(), Box<dyn Error>> {
    let mut connection = Connection::open(&options.addr, PATIENCE)?;
    let mut added = 0;
    loop {
        let mut batch = pipe();
        while batch.len() < BATCH {
            let mut line = Vec::new();
            (&mut lines)
                .take(MOST as u64 + 2)
                .read_until(b'\n', &mut line)?;
            let Some(job) = line
                .strip_suffix(b"\n")
                .or(Some(&*line))
                .filter(|_| !line.is_empty())
            else {
                break;
            };
            if job.len() > MOST {
                return Err(format!("line {} is too long", added + batch.len() + 1).into());
            }
            batch.xadd(&options.stream, "*", &[("job", job)]).ignore();
        }
        if batch.is_empty() {
            writeln!(io::stdout(), "added {added}")?;
            return Ok(());
        }
        while connection.xlen::<_, usize>(&options.stream)? > options.keep {
            sleep(WAIT);
        }
        batch.exec(&mut connection)?;
        added += batch.len();
    }
}
