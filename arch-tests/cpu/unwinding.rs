//! Unwinding works on a task's stack as on a thread's, also through frames that were suspended, and while others unwind.

use crate::in_task;
use multitask::{spawn, yield_now, JoinError};
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Debug, PartialEq)]
struct Payload(Vec<u32>);

/// The depths whose destructors ran, in order.
type Log = Arc<Mutex<Vec<u32>>>;

/// Logs its depth when dropped, and may yield before.
struct Frame {
    depth: u32,
    log: Log,
    yields: bool,
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.yields {
            yield_now();
        }
        self.log.lock().unwrap().push(self.depth);
    }
}

#[test]
fn a_panic_drops_the_frames_that_were_suspended_innermost_first_and_join_gives_its_payload() {
    let log = Log::default();
    let shared = log.clone();
    let payload = in_task(move || {
        let busy = spawn(|| (0..20).for_each(|_| yield_now()));
        let task = spawn(move || descend(5, &shared, false, &|| panic_any(Payload(vec![1, 2, 3]))));
        busy.join().unwrap();
        panic_of(task.join())
    });
    assert_eq!(payload, Payload(vec![1, 2, 3]));
    assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn tasks_that_yield_in_destructors_while_panicking_unwind_side_by_side() {
    let logs: [Log; 3] = Default::default();
    let shared = logs.clone();
    in_task(move || {
        let tasks = shared.map(|log| {
            spawn(move || {
                let seed = Arc::as_ptr(&log).addr() as u32;
                descend(4, &log, true, &|| panic_any(Payload(vec![seed])));
                seed
            })
        });
        let payloads = tasks.map(|task| panic_of(task.join()));
        assert_ne!(payloads[0], payloads[1]);
        assert_ne!(payloads[1], payloads[2]);
    });
    for log in logs {
        assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4]);
    }
    assert!(!thread::panicking());
}

#[test]
fn a_panic_caught_inside_a_task_is_that_tasks_own() {
    in_task(|| {
        let tasks = [10, 20, 30].map(|seed| {
            spawn(move || {
                for round in 0..10 {
                    let caught = catch_unwind(|| {
                        yield_now();
                        let _frame = Frame {
                            depth: 0,
                            log: Log::default(),
                            yields: true,
                        };
                        resume_unwind(Box::new(seed + round))
                    });
                    let payload = caught.unwrap_err();
                    assert_eq!(payload.downcast_ref(), Some(&(seed + round)));
                }
            })
        });
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[test]
fn cancelling_a_suspended_task_drops_its_frames_innermost_first() {
    let log = Log::default();
    let shared = log.clone();
    in_task(move || {
        let task = spawn(move || {
            let waiting = || (0..1_000).for_each(|_| yield_now());
            descend(5, &shared, false, &waiting);
        });
        (0..10).for_each(|_| yield_now());
        task.cancel();
        assert!(matches!(task.join(), Err(JoinError::Cancelled)));
    });
    assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5]);
    assert!(!thread::panicking());
}

/// Calls `end` below `depth` nested frames, each with a destructor, and each suspended once on the way down.
#[inline(never)]
fn descend(depth: u32, log: &Log, yields: bool, end: &dyn Fn()) {
    if depth == 0 {
        return end();
    }
    let _frame = Frame {
        depth,
        log: log.clone(),
        yields,
    };
    yield_now();
    descend(depth - 1, log, yields, end);
}

fn panic_of<T>(joined: Result<T, JoinError>) -> Payload {
    match joined {
        Err(JoinError::Panic(payload)) => *payload.downcast().unwrap(),
        Err(JoinError::Cancelled) => panic!("cancelled"),
        Ok(_) => panic!("returned"),
    }
}
