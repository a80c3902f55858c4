//! Owns how numbers are written for Prometheus (text format 0.0.4), those of a scheduler among them. It needs nothing else of this example.
//!
//! 1. What is counted only grows, and its name ends with `_total`. A gauge goes up and down.

use multitask::Handle;
use std::fmt::Write;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const COUNTER: &str = "counter";
pub const GAUGE: &str = "gauge";

/// Numbers, written one after the other.
#[derive(Default)]
pub struct Page {
    pub text: String,
}

impl Page {
    /// One number, or several of one kind with labels between braces.
    pub fn family(&mut self, kind: &str, name: &str, help: &str, samples: &[(&str, u64)]) {
        // Writing to a `String` does not fail.
        let mut line = |line: std::fmt::Arguments| _ = self.text.write_fmt(line);
        line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in samples {
            line(format_args!("{name}{labels} {value}\n"));
        }
    }

    /// What a scheduler has counted.
    pub fn scheduler(&mut self, tasks: &Handle) {
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
