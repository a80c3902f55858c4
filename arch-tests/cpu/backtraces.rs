//! A backtrace taken in a task shows the task's frames, then those of whoever runs it, and comes to an end.

use crate::in_task;
use multitask::yield_now;
use std::backtrace::Backtrace;
use std::hint::black_box;

#[test]
fn a_backtrace_taken_in_a_task_shows_its_frames_once_and_ends_below_the_one_who_runs_it() {
    let trace = runner_of_the_scheduler();
    let places = [
        "innermost_frame",
        "middle_frame",
        "outermost_frame",
        "runner_of_the_scheduler",
    ]
    .map(|name| only_place(&trace, name));
    assert!(places.is_sorted(), "{places:?} in\n{trace}");
    assert!(trace.lines().count() < 400, "{trace}");
}

/// The place of the only frame of this name.
#[track_caller]
fn only_place(trace: &str, name: &str) -> usize {
    let frames: Vec<&str> = trace.lines().filter(|line| line.contains(": ")).collect();
    let places: Vec<usize> = (0..frames.len())
        .filter(|&at| frames[at].contains(name))
        .collect();
    assert_eq!(places.len(), 1, "{name} in\n{trace}");
    places[0]
}

// `black_box` keeps each frame on the stack: without it, the last call of a function may take the function's place.

#[inline(never)]
fn runner_of_the_scheduler() -> String {
    black_box(in_task(outermost_frame))
}

#[inline(never)]
fn outermost_frame() -> String {
    yield_now();
    black_box(middle_frame())
}

#[inline(never)]
fn middle_frame() -> String {
    black_box(innermost_frame())
}

#[inline(never)]
fn innermost_frame() -> String {
    yield_now();
    black_box(Backtrace::force_capture().to_string())
}
