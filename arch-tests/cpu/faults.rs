//! How a process ends whose tasks or threads touch what they must not. Each ending is looked at from outside: this test
//! program is run again for the one test [`child`], which goes through it.

use crate::in_task;
use multitask::{task, yield_now};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::{env, ptr, thread};

/// What a child process goes through, by name.
const ENDINGS: &[(&str, fn())] = &[
    ("small task overflows", || overflow_in_task(64 << 10)),
    ("big task overflows", || overflow_in_task(1 << 20)),
    (
        "unnamed task on another thread overflows",
        overflow_elsewhere,
    ),
    (
        "task enters a frame larger than its stack",
        enter_large_frame,
    ),
    ("thread overflows", overflow_in_thread),
    (
        "thread overflows after tasks ran on it",
        overflow_in_thread_of_tasks,
    ),
    ("thread dereferences null", dereference_null),
    ("task dereferences null", || in_task(dereference_null)),
    ("task dereferences null under an older handler", || {
        handle_faults();
        in_task(dereference_null);
    }),
];

#[test]
fn a_task_that_overflows_its_stack_is_named_and_the_process_aborts() {
    for (ending, size) in [("small task overflows", 64), ("big task overflows", 1024)] {
        let end = end_of(ending);
        assert_eq!(end.status.signal(), Some(libc::SIGABRT), "{end:?}");
        assert_eq!(overflow_line(&end), ("deep".to_owned(), size));
    }
}

#[test]
fn a_task_without_a_name_is_reported_by_its_number_on_any_thread() {
    let end = end_of("unnamed task on another thread overflows");
    assert_eq!(end.status.signal(), Some(libc::SIGABRT), "{end:?}");
    assert_eq!(overflow_line(&end).0, "<unnamed>");
}

#[test]
fn a_frame_larger_than_stack_and_guard_together_cannot_step_over_the_guard() {
    let end = end_of("task enters a frame larger than its stack");
    assert_eq!(end.status.signal(), Some(libc::SIGABRT), "{end:?}");
    assert_eq!(overflow_line(&end), ("wide".to_owned(), 64));
}

#[test]
fn a_thread_that_overflows_its_own_stack_is_reported_by_std_as_if_there_were_no_tasks() {
    let plain = end_of("thread overflows");
    let with_tasks = end_of("thread overflows after tasks ran on it");
    assert_eq!(
        with_tasks.status.signal(),
        Some(libc::SIGABRT),
        "{with_tasks:?}"
    );
    let message = text(&with_tasks);
    assert!(message.contains("thread 'native'"), "{message}");
    assert!(message.contains("has overflowed its stack"), "{message}");
    let without_numbers =
        |end: &Output| text(end).replace(|letter: char| letter.is_ascii_digit(), "");
    assert_eq!(without_numbers(&with_tasks), without_numbers(&plain));
}

#[test]
fn a_null_dereference_in_a_task_kills_the_process_as_silently_as_outside() {
    for ending in ["thread dereferences null", "task dereferences null"] {
        let end = end_of(ending);
        assert_eq!(end.status.signal(), Some(libc::SIGSEGV), "{end:?}");
        assert_eq!(text(&end), "", "{ending}");
    }
}

#[test]
fn a_null_dereference_in_a_task_goes_to_the_handler_that_was_there_before() {
    let end = end_of("task dereferences null under an older handler");
    assert_eq!(end.status.code(), Some(HANDLED), "{end:?}");
    assert_eq!(text(&end), "");
}

/// The name and the size in KiB out of the one line that an overflow may write.
fn overflow_line(end: &Output) -> (String, usize) {
    let line = text(end);
    let parts = || {
        let rest = line.strip_prefix("task '")?;
        let (name, rest) = rest.split_once("' (#")?;
        let (number, rest) = rest.split_once(") has overflowed its ")?;
        let size = rest.strip_suffix(" KiB stack\n")?;
        number.parse::<u64>().ok()?;
        Some((name.to_owned(), size.parse().ok()?))
    };
    parts().unwrap_or_else(|| panic!("not the line of an overflow: {line:?}"))
}

/// What the process wrote to its standard error, less the emulator's own obituary.
fn text(end: &Output) -> String {
    let text = std::str::from_utf8(&end.stderr).unwrap();
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.starts_with("qemu: uncaught target signal"))
        .collect()
}

fn overflow_in_task(stack_size: usize) {
    in_task(move || {
        let builder = task::Builder::new()
            .name("deep".into())
            .stack_size(stack_size);
        let _ = builder.spawn(overflow).unwrap().join();
    });
}

fn overflow_elsewhere() {
    let _ = thread::spawn(|| in_task(overflow)).join();
}

fn enter_large_frame() {
    in_task(|| {
        let builder = task::Builder::new()
            .name("wide".into())
            .stack_size(64 << 10);
        let _ = builder.spawn(|| black_box(large_frame())).unwrap().join();
    });
}

fn overflow_in_thread() {
    let builder = thread::Builder::new().name("native".into());
    let _ = builder.spawn(overflow).unwrap().join();
}

fn overflow_in_thread_of_tasks() {
    let builder = thread::Builder::new().name("native".into());
    let body = || {
        in_task(yield_now);
        overflow();
    };
    let _ = builder.spawn(body).unwrap().join();
}

fn overflow() {
    yield_now();
    black_box(descend(0));
}

#[inline(never)]
fn descend(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if depth == usize::MAX {
        return 0;
    }
    descend(depth + 1) + frame[depth % 64]
}

#[inline(never)]
fn large_frame() -> u8 {
    yield_now();
    let frame = black_box([1_u8; 1 << 20]);
    frame[black_box(7)]
}

/// Rust's own debug checks would find a null pointer before the processor does, so this is left to C.
fn dereference_null() {
    // SAFETY: none: the fault is the purpose, and ends this process.
    black_box(unsafe { libc::strlen(black_box(ptr::null())) });
}

/// What the handler of [`handle_faults`] exits with.
const HANDLED: i32 = 42;

fn handle_faults() {
    extern "C" fn handler(_: libc::c_int) {
        // SAFETY: may be called in a signal handler.
        unsafe { libc::_exit(HANDLED) }
    }
    // SAFETY: all zeroes is an action: no flags, nothing blocked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler only ends the process.
    assert_eq!(
        unsafe { libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()) },
        0
    );
}

/// The variable by which a child process knows its ending.
const ENDING: &str = "MULTITASK_TEST_ENDING";

/// What a child exits with whose ending did not end it.
const SURVIVED: i32 = 43;

/// Runs a process through the ending of this name.
fn end_of(ending: &str) -> Output {
    assert!(ENDINGS.iter().any(|(name, _)| *name == ending), "{ending}");
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "faults::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ENDING, ending)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
#[ignore = "no test: the others run it in processes of their own"]
fn child() {
    let Ok(ending) = env::var(ENDING) else { return };
    leave_no_core();
    let (_, go) = ENDINGS.iter().find(|(name, _)| *name == ending).unwrap();
    go();
    std::process::exit(SURVIVED);
}

fn leave_no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit lives past the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }, 0);
}
