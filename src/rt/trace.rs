//! Where a task stands: std's backtrace, without the frames that are the library's. And where one goes on: the like of it.
//!
//! 1. std tells no frames, only a text, so frames are told apart by that: each begins with a line of `number: function`.
//!    If that should change, nothing is left out.

use super::sample::Frames;
use std::backtrace::Backtrace;
use std::fmt;

/// Where a task stands, in a [`TaskInfo`](crate::dump::TaskInfo) or a [`Stall`](crate::dump::Stall).
///
/// Its `Display` form begins at the call that suspends, or of a task that goes on where it computes or blocks, and ends with the function that was spawned;
/// `{:#}` is all that there is, the frames of the library among it. Function names are looked up when it is first shown, and take debug
/// information to be precise.
#[derive(Clone, Copy)]
pub struct TaskBacktrace<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Stands(&'a Backtrace),
    GoesOn(&'a Frames),
}

/// Frames up to the last one of these come after the call that suspends.
const INNER: [&str; 2] = ["park", "fiber"];
/// The first one of this calls the function that was spawned.
const ROOT: &str = "job";

impl<'a> TaskBacktrace<'a> {
    pub(crate) fn new(trace: &'a Backtrace) -> Self {
        TaskBacktrace(Source::Stands(trace))
    }

    /// Of a task that goes on.
    pub(crate) fn of_frames(frames: &'a Frames) -> Self {
        TaskBacktrace(Source::GoesOn(frames))
    }

    /// As std has it, whole. `None` if it was taken while the task went on: std has no way to make one of that.
    pub fn as_std(&self) -> Option<&'a Backtrace> {
        match self.0 {
            Source::Stands(trace) => Some(trace),
            Source::GoesOn(_) => None,
        }
    }
}

impl fmt::Display for TaskBacktrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Stands(trace) if f.alternate() => write!(f, "{trace:#}"),
            Source::Stands(trace) => f.write_str(own_frames(&trace.to_string(), &INNER)),
            Source::GoesOn(frames) if f.alternate() => f.write_str(frames.text().trim_end()),
            // What it is in the middle of is never left out.
            Source::GoesOn(frames) => f.write_str(own_frames(frames.text(), &[])),
        }
    }
}

impl fmt::Debug for TaskBacktrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("TaskBacktrace");
        match &self.0 {
            Source::Stands(trace) => tuple.field(trace),
            Source::GoesOn(frames) => tuple.field(frames),
        };
        tuple.finish()
    }
}

/// The frames between those of the library, of which the `inner` modules come first.
fn own_frames<'a>(text: &'a str, inner: &[&str]) -> &'a str {
    let starts: Vec<usize> = starts(text).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let frames: Vec<&str> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[*start..end])
        .collect();
    let root = frames.iter().position(|frame| is_of(frame, ROOT));
    let root = root.unwrap_or(frames.len());
    let is_inner = |frame: &&str| inner.iter().any(|module| is_of(frame, module));
    let first = frames[..root].iter().rposition(is_inner);
    let first = first.map_or(0, |inner| inner + 1);
    let start = starts.get(first).copied().unwrap_or(0);
    let end = starts.get(root).copied().unwrap_or(text.len());
    text[start..end].trim_end()
}

/// Whether a frame is of that module of `rt`. Of a function that was inlined the debug information may know the file, and the name
/// without its modules.
fn is_of(frame: &str, module: &str) -> bool {
    let folder = file!()
        .strip_suffix("trace.rs")
        .expect("the name of this file");
    frame.contains(&format!("multitask::rt::{module}::"))
        || frame.contains(&format!("{folder}{module}.rs:"))
}

/// Where each frame begins.
fn starts(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let this = start;
        start += line.len();
        let (number, _function) = line.split_once(": ")?;
        number.trim().parse::<u32>().ok()?;
        Some(this)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "   0: std::backtrace::Backtrace::force_capture
   1: core::ops::function::FnOnce::call_once
   2: multitask::rt::fiber::Switch::above
             at /src/rt/fiber.rs:50:9
   3: multitask::rt::park::show
   4: multitask::task::parking::park
             at /src/task/parking.rs:20:5
   5: program::waits: here
   6: program::main::{{closure}}
             at /program/main.rs:7:9
   7: multitask::rt::job::run::{{closure}}
   8: multitask::rt::worker::body
   9: multitask::rt::park::block
";

    #[test]
    fn frames_below_the_wait_and_above_the_spawned_function_are_left_out() {
        let lines: Vec<_> = own_frames(WHOLE, &INNER).lines().collect();
        assert_eq!(lines[0], "   4: multitask::task::parking::park");
        assert_eq!(lines[2], "   5: program::waits: here");
        assert_eq!(lines[4], "             at /program/main.rs:7:9");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn of_a_task_that_goes_on_the_innermost_frames_are_not_left_out() {
        let lines: Vec<_> = own_frames(WHOLE, &[]).lines().collect();
        assert!(lines[0].contains("force_capture") && lines[lines.len() - 1].contains("main.rs"));
    }

    #[test]
    fn functions_that_were_inlined_are_known_by_their_files() {
        let folder = file!().strip_suffix("trace.rs").unwrap();
        let text = format!(
            "   0: above<..>\n             at ./{folder}fiber.rs:50:9
   1: wait\n             at ./{folder}park.rs:9:9
   2: park\n             at ./src/task/parking.rs:20:5
   3: main\n             at ./src/main.rs:7:9
   4: run<fn()>\n             at ./{folder}job.rs:114:18\n"
        );
        let lines: Vec<_> = own_frames(&text, &INNER).lines().collect();
        assert_eq!((lines[0], lines[2]), ("   2: park", "   3: main"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn of_a_text_without_our_names_nothing_is_left_out() {
        for text in ["", "disabled backtrace", "   0: <unknown>\n   1: <unknown>"] {
            assert_eq!(own_frames(text, &INNER), text);
        }
    }
}
