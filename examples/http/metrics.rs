//! Owns the numbers of the server, and the page of them that Prometheus reads (text format 0.0.4).
//!
//! 1. What is counted only grows, and its name ends with `_total`. A gauge goes up and down.

use super::status::Status;
use super::Service;
use multitask::Handle;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the connections count.
#[derive(Default)]
pub struct Numbers {
    requests: AtomicU64,
    /// By the first digit of the status, from 1 to 5.
    answers: [AtomicU64; 5],
}

impl Numbers {
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub fn count_answer(&self, status: Status) {
        if let Some(class) = self
            .answers
            .get(usize::from(status.0 / 100).wrapping_sub(1))
        {
            class.fetch_add(1, Relaxed);
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

/// The page as it is now.
pub fn page(service: &Service) -> String {
    let mut page = Page::default();
    let numbers = &service.numbers;
    let mut put = |kind, name, help, value| page.family(kind, name, help, &[("", value)]);
    put(
        COUNTER,
        "http_connections_total",
        "Connections that were accepted.",
        service.guests.accepted(),
    );
    put(
        GAUGE,
        "http_connections_open",
        "Connections that are open.",
        service.guests.open() as u64,
    );
    put(
        COUNTER,
        "http_requests_total",
        "Requests that were understood.",
        numbers.requests(),
    );
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| format!("{{class=\"{class}\"}}"));
    let answers: Vec<_> = classes
        .iter()
        .zip(&numbers.answers)
        .map(|(class, count)| (&**class, count.load(Relaxed)))
        .collect();
    page.family(
        COUNTER,
        "http_responses_total",
        "Answers, by the class of their status.",
        &answers,
    );
    // Requests are answered by tasks.
    if let Some(tasks) = Handle::current() {
        page.scheduler(&tasks);
    }
    page.0
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, kind: &str, name: &str, help: &str, samples: &[(&str, u64)]) {
        // Writing to a `String` does not fail.
        let mut line = |line: std::fmt::Arguments| _ = self.0.write_fmt(line);
        line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in samples {
            line(format_args!("{name}{labels} {value}\n"));
        }
    }

    fn scheduler(&mut self, tasks: &Handle) {
        let metrics = tasks.metrics();
        let (workers, asleep) = (metrics.workers as u64, metrics.asleep as u64);
        for (kind, name, help, value) in [
            (GAUGE, "workers", "Threads that run tasks.", workers),
            (GAUGE, "workers_asleep", "Of these, asleep.", asleep),
            (
                COUNTER,
                "tasks_spawned_total",
                "Tasks that were spawned.",
                metrics.spawned,
            ),
            (
                COUNTER,
                "tasks_ended_total",
                "Tasks that have ended.",
                metrics.ended,
            ),
            (
                COUNTER,
                "tasks_panicked_total",
                "Of these, by a panic.",
                metrics.panicked,
            ),
            (
                COUNTER,
                "tasks_cancelled_total",
                "Of these, cancelled.",
                metrics.cancelled,
            ),
            (
                GAUGE,
                "tasks_live",
                "Tasks that have not ended.",
                metrics.live,
            ),
            (
                GAUGE,
                "tasks_suspended",
                "Of these, with a stack of their own.",
                metrics.suspended,
            ),
            (
                COUNTER,
                "tasks_stolen_total",
                "Tasks that a worker took from another.",
                metrics.stolen,
            ),
            (
                COUNTER,
                "worker_wakeups_total",
                "Times that a worker was woken by another thread.",
                metrics.rings,
            ),
        ] {
            self.family(kind, &format!("multitask_{name}"), help, &[("", value)]);
        }
    }
}
