//! Tasks that do what must not be done, for `arch-tests/checked` to see that it is seen. Nothing without a checker.
#![cfg(any(multitask_asan, multitask_valgrind))]

use multitask::{spawn, yield_now};
use std::hint::black_box;
use std::mem::MaybeUninit;

#[test]
#[ignore = "it must fail"]
fn a_task_reads_what_another_has_freed() {
    let value = Box::into_raw(Box::new([1_u64; 8])).expose_provenance();
    let reader = spawn(move || {
        yield_now();
        let value = std::ptr::with_exposed_provenance::<u64>(value);
        // SAFETY: none; this is the fault.
        black_box(unsafe { value.add(3).read_volatile() });
    });
    spawn(move || {
        let value = std::ptr::with_exposed_provenance_mut::<[u64; 8]>(value);
        // SAFETY: it came out of a box, and goes back once.
        drop(unsafe { Box::from_raw(value) });
    });
    reader.join().unwrap();
}

#[test]
#[ignore = "it must fail"]
fn a_task_decides_by_what_was_never_written() {
    let task = spawn(|| {
        let byte = Box::new(MaybeUninit::<u8>::uninit());
        yield_now();
        // SAFETY: none; this is the fault.
        if unsafe { black_box(byte.as_ptr()).read_volatile() } == 7 {
            yield_now();
        }
    });
    task.join().unwrap();
}

#[test]
#[ignore = "it must fail"]
fn a_task_writes_past_an_array_on_its_stack() {
    let task = spawn(|| {
        let mut array = [0_u64; 4];
        yield_now();
        let past = black_box(array.as_mut_ptr()).wrapping_add(black_box(4));
        // SAFETY: none; this is the fault.
        unsafe { past.write_volatile(1) };
        black_box(array);
    });
    task.join().unwrap();
}
