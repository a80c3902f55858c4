//! The system calls that another process makes, as `perf` counts them, or `strace` where there is no `perf`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long is counted.
const TIME: Duration = Duration::from_millis(300);

/// Counting in progress.
pub enum Counter {
    /// It counts over a time of its own and then ends.
    Perf(Child),
    /// It counts until it is interrupted, and slows the process meanwhile.
    Strace(Child, Instant),
}

impl Counter {
    /// `None`: neither program is there, or may be used.
    pub fn start(pid: u32) -> Option<Counter> {
        perf(pid).or_else(|| strace(pid))
    }

    pub fn is_finished(&mut self) -> bool {
        match self {
            Counter::Perf(perf) => !matches!(perf.try_wait(), Ok(None)),
            Counter::Strace(_, since) => since.elapsed() >= TIME,
        }
    }

    /// System calls to a request, if `requests` were answered in `elapsed`, the time since the start.
    pub fn per_request(self, requests: u64, elapsed: Duration) -> Option<f64> {
        match self {
            // It counts for a part of that time only, so rates are compared.
            Counter::Perf(mut perf) => {
                let calls = perf_count(&said(&mut perf)?)?;
                let rate = requests as f64 / elapsed.as_secs_f64();
                Some(calls / TIME.as_secs_f64() / rate)
            }
            Counter::Strace(mut strace, _) => {
                // SAFETY: it is our child, and has not been waited for.
                unsafe { libc::kill(strace.id() as i32, libc::SIGINT) };
                Some(strace_count(&said(&mut strace)?)? / requests as f64)
            }
        }
    }
}

fn perf(pid: u32) -> Option<Counter> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"]);
    perf.arg(pid.to_string());
    perf.args(["sleep", &TIME.as_secs_f64().to_string()]);
    let mut child = quiet(&mut perf)?;
    // What it may not do it says at once.
    std::thread::sleep(Duration::from_millis(20));
    matches!(child.try_wait(), Ok(None)).then_some(Counter::Perf(child))
}

fn strace(pid: u32) -> Option<Counter> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-p"]);
    let mut child = quiet(strace.arg(pid.to_string()))?;
    // It says when it has attached, or why it cannot.
    let mut line = String::new();
    let mut said = BufReader::with_capacity(1, child.stderr.take()?);
    said.read_line(&mut line).ok()?;
    child.stderr = Some(said.into_inner());
    line.contains("attached")
        .then(|| Counter::Strace(child, Instant::now()))
}

fn quiet(command: &mut Command) -> Option<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().ok()
}

fn said(child: &mut Child) -> Option<String> {
    let mut text = String::new();
    child.stderr.take()?.read_to_string(&mut text).ok()?;
    child.wait().ok()?;
    Some(text)
}

/// As in `12345,,raw_syscalls:sys_enter,...`.
fn perf_count(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls"))?;
    line.split(',').next()?.parse().ok()
}

/// As in `  12345 total`.
fn strace_count(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().next()?.parse().ok()
}
