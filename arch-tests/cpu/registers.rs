//! Registers that a call must preserve are preserved by a switch, which is a call that returns late.
//!
//! The floating-point control word is not: it is the thread's, as if all tasks of a worker were one function after the
//! other. A switch that saved it would cost every task a serialising instruction for what no Rust code may do anyway.

use crate::arch::{self, Word, SAVED};
use crate::in_task;
use multitask::{spawn, yield_now};

#[test]
fn tasks_that_fill_the_same_registers_each_find_their_own_values_after_every_yield() {
    in_task(|| {
        let tasks = [1, 2, 3, 4, 5].map(|task| {
            spawn(move || {
                for round in 0..100 {
                    assert_held(task << 32 | round, yielding);
                }
            })
        });
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[test]
fn a_task_finds_its_registers_after_another_was_started_and_ended_beside_it() {
    in_task(|| assert_held(1, spawning));
}

#[test]
fn the_thread_that_runs_a_scheduler_finds_its_registers_when_that_returns() {
    assert_held(1, running);
}

#[test]
fn a_rounding_mode_set_in_one_task_is_seen_by_the_next() {
    in_task(|| {
        let first = spawn(|| {
            // SAFETY: `yielding` returns.
            unsafe { arch::with_rounding_down(yielding) };
            arch::rounding()
        });
        let second = spawn(|| {
            let seen = arch::rounding();
            yield_now();
            (seen, arch::rounding())
        });
        assert_eq!(
            first.join().unwrap(),
            arch::TO_NEAREST,
            "set back by the first task itself"
        );
        assert_eq!(second.join().unwrap(), (arch::DOWN, arch::TO_NEAREST));
    });
    assert_eq!(arch::rounding(), arch::TO_NEAREST);
}

/// Fills the registers with values made from `seed`, makes the call, and compares.
#[track_caller]
fn assert_held(seed: u64, call: extern "C" fn()) {
    let patterns: [Word; SAVED] = std::array::from_fn(|register| pattern(seed, register));
    let mut found = [0; SAVED];
    // SAFETY: both arrays live past the call, and none of the calls below unwinds.
    unsafe { arch::hold(&patterns, &mut found, call) };
    let changed: Vec<usize> = (0..SAVED).filter(|&at| found[at] != patterns[at]).collect();
    assert!(
        changed.is_empty(),
        "registers {changed:?} of those that `hold` lists: {found:x?} instead of {patterns:x?}"
    );
}

/// Hardly two alike, and none like an address.
fn pattern(seed: u64, register: usize) -> Word {
    let mixed = (seed * 64 + register as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - Word::BITS)) as Word | 1 << (Word::BITS - 1)
}

extern "C" fn yielding() {
    yield_now();
}

extern "C" fn spawning() {
    spawn(|| assert_held(2, yielding)).join().unwrap();
}

extern "C" fn running() {
    in_task(|| assert_held(3, yielding));
}
