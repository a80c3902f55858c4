//! The example `redis_worker` beside a Redis of its own: workers are killed, stopped, too slow and left alone by the server.
//!
//! What is asked of the server here goes by the crate's own connection, not by that of the example. The rules of `programs` hold.

mod programs;

use programs::files::Folder;
use programs::{example, is_installed, text, Program, PATIENCE};
use redis::streams::{StreamInfoGroupsReply, StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command};

const PASSWORD: &str = "secret";
const SQUARE: &str = "read n; echo $((n * n))";

#[test]
fn a_worker_killed_in_the_middle_loses_no_job_and_none_is_acknowledged_twice() {
    let Some(redis) = Redis::start() else { return };
    const JOBS: u64 = 300;
    redis.add(1..=JOBS);
    // The first worker that gets the job in the middle is killed by it, whatever else it is doing.
    let command = format!(
        "read n; [ $n = 150 ] && mkdir killed 2>/dev/null && kill -s KILL $PPID; echo $n | {{ {SQUARE}; }}"
    );
    let names = ["a", "b", "c"];
    let mut workers = names.map(|name| redis.worker(&["--name", name, "--lease", "10"], &command));
    let results = redis.results(JOBS as usize);

    let mut jobs: Vec<u64> = results.iter().map(|one| one.job.parse().unwrap()).collect();
    for (job, one) in jobs.iter().zip(&results) {
        assert_eq!(one.result, format!("{}\n", job * job));
    }
    jobs.sort();
    assert!(jobs.into_iter().eq(1..=JOBS), "each of them once");

    let is_killed = |worker: &mut Worker| {
        let ended = worker.program.child.try_wait().unwrap();
        ended.inspect(|status| assert_eq!(status.signal(), Some(9), "{status}"))
    };
    let killed = workers
        .iter_mut()
        .position(|worker| is_killed(worker).is_some());
    let killed = killed.expect("one that was killed");
    let taken_over = results.iter().find(|one| one.job == "150").unwrap();
    assert_ne!(taken_over.by, names[killed]);

    let mut by = BTreeMap::<&str, u64>::new();
    results
        .iter()
        .for_each(|one| *by.entry(&one.by).or_default() += 1);
    for (name, worker) in names.iter().zip(workers) {
        if *name != names[killed] {
            let done = by.get(name).unwrap_or(&0);
            let farewell = worker.stop();
            assert!(
                farewell.starts_with(&format!("done {done}, ")),
                "{name}: {farewell}, and not {done}"
            );
        }
    }
    assert_eq!(
        redis.lengths(),
        [0, JOBS as usize, 0],
        "and none came later"
    );
    assert_eq!(redis.pending(), 0);
}

#[test]
fn a_job_that_was_taken_over_is_acknowledged_by_the_first_who_has_done_it_only() {
    let Some(redis) = Redis::start() else { return };
    let hold = redis.folder.pipe("hold");
    let mut slow = redis.worker(
        &["--name", "slow", "--lease", "1000"],
        "echo begun >&2; cat hold",
    );
    redis.add(1..=1);
    assert_eq!(slow.complaint(), "begun");
    let hasty = redis.worker(&["--name", "hasty", "--lease", "10"], SQUARE);
    assert_eq!(redis.results(1)[0].by, "hasty");

    fs::write(hold, "too late").unwrap();
    assert_eq!(
        hasty.stop(),
        "done 1, done by others before 0, failed attempts 0"
    );
    // It stops when what it has has ended.
    assert_eq!(
        slow.stop(),
        "done 0, done by others before 1, failed attempts 0"
    );
    assert_eq!(redis.lengths(), [0, 1, 0]);
}

#[test]
fn a_worker_that_is_told_to_stop_ends_what_it_has_and_takes_nothing_more() {
    let Some(redis) = Redis::start() else { return };
    let hold = redis.folder.pipe("hold");
    redis.add(1..=2);
    let mut worker = redis.worker(&["--tasks", "1"], "echo begun >&2; cat hold");
    assert_eq!(worker.complaint(), "begun");
    worker.send("TERM");
    assert_eq!(worker.complaint(), "stopping: jobs have 30s to end");
    fs::write(hold, "in time").unwrap();
    assert_eq!(
        worker.ended(),
        "done 1, done by others before 0, failed attempts 0"
    );
    assert_eq!(redis.results(1)[0].result, "in time");
    assert_eq!(redis.lengths(), [1, 1, 0]);
    assert_eq!(redis.pending(), 0, "the other one is for whoever comes");
}

#[test]
fn what_does_not_end_within_the_grace_is_left_to_others() {
    let Some(redis) = Redis::start() else { return };
    redis.folder.pipe("hold");
    redis.add(1..=1);
    let mut worker = redis.worker(&["--grace", "0.1"], "echo begun >&2; exec cat hold");
    assert_eq!(worker.complaint(), "begun");
    assert_eq!(
        worker.stop(),
        "done 0, done by others before 0, failed attempts 0"
    );
    assert_eq!(redis.pending(), 1);
    let other = redis.worker(&["--name", "other", "--lease", "10"], SQUARE);
    assert_eq!(redis.results(1)[0].by, "other");
    other.stop();
}

#[test]
fn a_job_that_fails_is_tried_again_and_put_aside_after_so_many_attempts() {
    let Some(redis) = Redis::start() else { return };
    redis.add(7..=7);
    let worker = redis.worker(&["--lease", "2", "--attempts", "2"], "exit 3");
    let dead = redis.entries("jobs:dead", 1);
    assert_eq!(dead[0]["job"], "7");
    assert_eq!(dead[0]["attempts"], "2");
    assert_eq!(
        worker.stop(),
        "done 0, done by others before 0, failed attempts 2"
    );
    assert_eq!(redis.lengths(), [0, 0, 1]);
    assert_eq!(redis.pending(), 0);
}

#[test]
fn workers_come_back_to_a_server_that_was_away() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut worker = redis.worker(&["--tasks", "2"], SQUARE);
    redis.add(1..=20);
    redis.results(20);
    redis.stop();
    let complaint = worker.complaint();
    assert!(complaint.contains("; again in "), "{complaint}");
    redis.server = Redis::serve(&redis.folder, redis.port).expect("the port is still free");
    redis.add(21..=40);
    let results = redis.results(40);
    assert_eq!(results[39].by, results[0].by);
    assert!(worker.stop().starts_with("done 40, "));
}

/// A server at work, with a password and a folder of its own.
struct Redis {
    server: Program,
    port: u16,
    folder: Folder,
}

struct Done {
    job: String,
    by: String,
    result: String,
}

impl Redis {
    /// Returns when it listens; nothing, if it is not installed.
    fn start() -> Option<Redis> {
        if !is_installed("redis-server", "redis-server") {
            return None;
        }
        let folder = Folder::new();
        loop {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let port = port.unwrap().port();
            // Nothing, if somebody else was quicker to take the port.
            if let Some(server) = Redis::serve(&folder, port) {
                return Some(Redis {
                    server,
                    port,
                    folder,
                });
            }
        }
    }

    fn serve(folder: &Folder, port: u16) -> Option<Program> {
        let mut command = Command::new("redis-server");
        command
            .current_dir(&folder.0)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args([
            "--requirepass",
            PASSWORD,
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        let mut server = Program::from(&mut command);
        let mut lines = BufReader::new(server.child.stdout.take().unwrap()).lines();
        let _ready = lines.find(|line| {
            line.as_ref()
                .unwrap()
                .contains("Ready to accept connections")
        })?;
        std::thread::spawn(move || lines.for_each(drop)); // what else it says
        Some(server)
    }

    /// Ends the server, which keeps what it has in its folder.
    fn stop(&mut self) {
        let mut ask = self.ask();
        // It answers by closing the connection.
        let _closed = redis::cmd("SHUTDOWN").exec(&mut ask);
        let status = self.server.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    fn ask(&self) -> Connection {
        let client = Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)).unwrap();
        let connection = client.get_connection().unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    fn example(&self, args: &[&str], command: &[&str]) -> Program {
        let addr = format!("127.0.0.1:{}", self.port);
        let mut program = Command::new(example("redis_worker"));
        program
            .env("REDISCLI_AUTH", PASSWORD)
            .current_dir(&self.folder.0);
        Program::from(program.args(args).arg(addr).args(command))
    }

    fn worker(&self, options: &[&str], command: &str) -> Worker {
        let mut program = self.example(options, &["sh", "-c", command]);
        let stderr = BufReader::new(program.child.stderr.take().unwrap());
        Worker { program, stderr }
    }

    /// By a producer, as jobs.
    fn add(&self, numbers: std::ops::RangeInclusive<u64>) {
        let count = numbers.clone().count();
        let mut producer = self.example(&["--produce"], &[]);
        let mut stdin = producer.child.stdin.take().unwrap();
        numbers.for_each(|n| writeln!(stdin, "{n}").unwrap());
        drop(stdin);
        let output = producer.finish();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout), format!("added {count}\n"));
    }

    /// Waits for that many, from the first one on.
    fn entries(&self, stream: &str, count: usize) -> Vec<BTreeMap<String, String>> {
        let mut ask = self.ask();
        let mut entries = Vec::new();
        let mut last = "0".to_owned();
        while entries.len() < count {
            let wait = StreamReadOptions::default().block(PATIENCE.as_millis() as usize);
            let read: Option<StreamReadReply> =
                ask.xread_options(&[stream], &[&last], &wait).unwrap();
            let read = read.unwrap_or_else(|| panic!("{} of {count} came", entries.len()));
            for entry in &read.keys[0].ids {
                last.clone_from(&entry.id);
                let fields = entry
                    .map
                    .keys()
                    .map(|name| (name.clone(), entry.get(name).unwrap()));
                entries.push(fields.collect());
            }
        }
        assert_eq!(entries.len(), count);
        entries
    }

    fn results(&self, count: usize) -> Vec<Done> {
        let done = |mut entry: BTreeMap<String, String>| Done {
            job: entry.remove("job").unwrap(),
            by: entry.remove("by").unwrap(),
            result: entry.remove("result").unwrap(),
        };
        self.entries("jobs:results", count)
            .into_iter()
            .map(done)
            .collect()
    }

    /// Of jobs, results, and what was given up.
    fn lengths(&self) -> [usize; 3] {
        ["jobs", "jobs:results", "jobs:dead"].map(|stream| self.ask().xlen(stream).unwrap())
    }

    /// Jobs that somebody has.
    fn pending(&self) -> usize {
        let info: StreamInfoGroupsReply = self.ask().xinfo_groups("jobs").unwrap();
        info.groups[0].pending
    }
}

struct Worker {
    program: Program,
    stderr: BufReader<ChildStderr>,
}

impl Worker {
    /// The next line that it, or its command, writes to standard error.
    fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn send(&self, signal: &str) {
        let pid = self.program.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Tells it to stop; returns its last words.
    fn stop(self) -> String {
        self.send("TERM");
        self.ended()
    }

    fn ended(mut self) -> String {
        self.program.child.stderr = Some(self.stderr.into_inner());
        let output = self.program.finish();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).trim_end().to_owned()
    }
}
