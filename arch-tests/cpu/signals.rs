//! A handler with `SA_ONSTACK` runs on the thread's alternate stack, and takes no room on a task's small one.

use crate::in_task;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The address of a local variable of the handler.
static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_: libc::c_int) {
    let local = 0_u8;
    SEEN.store((&raw const local).addr(), Ordering::SeqCst);
}

#[test]
fn a_signal_that_comes_while_a_task_runs_is_handled_on_the_alternate_stack() {
    install();
    in_task(raise_and_compare);
    thread::spawn(|| in_task(raise_and_compare)).join().unwrap();
}

fn raise_and_compare() {
    SEEN.store(0, Ordering::SeqCst);
    // SAFETY: the signal goes to the calling thread, and its handler is ours.
    assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
    let seen = SEEN.load(Ordering::SeqCst);
    let alternate = alternate_stack();
    assert!(
        alternate.contains(&seen),
        "{seen:#x} is not in {alternate:#x?}"
    );
}

fn install() {
    // SAFETY: all zeroes is an action: no flags, nothing blocked.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler stores to one atomic.
    assert_eq!(
        unsafe { libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()) },
        0
    );
}

fn alternate_stack() -> std::ops::Range<usize> {
    let mut stack = MaybeUninit::uninit();
    // SAFETY: only asks.
    assert_eq!(
        unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) },
        0
    );
    // SAFETY: filled in by the call.
    let stack: libc::stack_t = unsafe { stack.assume_init() };
    assert_eq!(stack.ss_flags & libc::SS_DISABLE, 0, "the thread has one");
    let start = stack.ss_sp.addr();
    start..start + stack.ss_size
}
