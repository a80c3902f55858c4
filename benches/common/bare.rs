//! The least that a switch can cost: corosensei's own, to one coroutine and back.

use crate::common::per_item;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use multitask::Scheduler;
use std::hint::black_box;
use std::time::Instant;

pub fn pair(_: &Scheduler) -> f64 {
    const PAIRS: u64 = 2_000_000;
    let stack = DefaultStack::default();
    let mut coroutine = Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| loop {
        yielder.suspend(());
        if black_box(false) {
            break;
        }
    });
    let start = Instant::now();
    for _ in 0..PAIRS {
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
    }
    let figure = per_item(start, PAIRS);
    // SAFETY: nothing on its stack needs dropping, and nothing points to it.
    unsafe { coroutine.force_reset() };
    figure
}
