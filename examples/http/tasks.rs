//! Owns the page that shows what the tasks of the server are doing, and loads itself again.
//!
//! 1. Tasks are looked at no more often than each [`PERIOD`], whoever asks: it takes a worker some microseconds for each.
//!
//! It shows nothing that a client has sent. Still a server for the public would keep it to itself.

use multitask::dump::{Dump, State, TaskInfo};
use multitask::sync::Mutex;
use multitask::Handle;
use std::fmt::Write;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(250);
/// Tasks that are shown, the oldest of all.
const ROWS: usize = 1_000;

pub struct TasksPage {
    started: Instant,
    /// Held while tasks are looked at: who asks meanwhile waits, a task as any other, and is shown the same.
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl TasksPage {
    pub fn new() -> Self {
        TasksPage {
            started: Instant::now(),
            last: Mutex::new(None),
        }
    }

    /// The page as it is now, or was a moment ago. Suspends.
    pub fn now(&self) -> Arc<str> {
        // A page is whole or is not there.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((made, page)) if made.elapsed() < PERIOD => page.clone(),
            _ => {
                let page: Arc<str> = self.render().into();
                *last = Some((Instant::now(), page.clone()));
                page
            }
        }
    }

    fn render(&self) -> String {
        // Requests are answered by tasks.
        let dump = Handle::current().map(|tasks| tasks.dump());
        let mut page = String::from(HEAD);
        if let Some(dump) = dump {
            self.table(&dump, &mut page);
        }
        page
    }

    fn table(&self, dump: &Dump, page: &mut String) {
        let tasks = dump.tasks();
        // Writing to a `String` does not fail.
        let mut put = |part: std::fmt::Arguments| _ = page.write_fmt(part);
        put(format_args!(
            "<p>tasks: {}, workers: {}, {:.1} s after the start\n",
            tasks.len(),
            dump.workers().len(),
            self.started.elapsed().as_secs_f64()
        ));
        put(format_args!("{COLUMNS}"));
        for task in tasks.iter().take(ROWS) {
            put(format_args!("{}", row(task)));
        }
        put(format_args!("</table>\n"));
        if let more @ 1.. = tasks.len().saturating_sub(ROWS) {
            put(format_args!("<p>and {more} more\n"));
        }
    }
}

const HEAD: &str = "<!doctype html>\n<html lang=en><meta charset=utf-8><meta http-equiv=refresh content=1>\
    <title>tasks</title>\n<style>td, th { padding: 0 1em 0 0; text-align: left }</style>\n<h1>Tasks</h1>\n";

const COLUMNS: &str =
    "<table>\n<thead><tr><th>task<th>name<th>state<th>waiting for<th>since<th>stack in use\
    <th>at the most<th>spawned at<th>worker</thead>\n<tbody>\n";

fn row(task: &TaskInfo) -> String {
    let state = match task.state() {
        State::Unstarted => "not begun",
        State::Ready => "ready",
        State::Waiting => "waiting",
        State::Running => "running",
        _ => "",
    };
    let awaited = match task.state() {
        State::Waiting => task.waits_for(),
        _ => "",
    };
    let since = match task.waiting_for() {
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
        None => String::new(),
    };
    let (used, touched) = match task.stack() {
        Some(stack) => (
            format!("{} of {}", kib(stack.used), kib(stack.size)),
            stack.touched.map(kib).unwrap_or_default(),
        ),
        None => Default::default(),
    };
    format!(
        "<tr><td>{}<td>{}<td>{state}<td>{awaited}<td>{since}<td>{used}<td>{touched}<td>{}<td>{}\n",
        task.id().as_u64(),
        escaped(task.name().unwrap_or_default()),
        escaped(&task.spawned_at().to_string()),
        task.worker()
    )
}

fn kib(bytes: usize) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
