//! What may happen at any suspension, made to happen at the n-th: for `tests/faults`, under `--cfg multitask_faults` alone. In
//! all other builds its place is taken by `fault_off.rs`, of which no instruction is left.
//!
//! 1. There is one order at a time, for the whole process. The suspension that carries it out takes it away.
//! 2. What happens then is what happens in earnest, by the same code: a message that asks for the end of a task, a deadline that has
//!    passed. Only a panic has no way of its own into a task that stands still: it comes along the way of cancelling, and
//!    parts with it where the stack would be unwound.
//! 3. It knows numbers only: ids of tasks and of scopes.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What happens to the task that suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is cancelled while it stands still.
    Cancel,
    /// It is cancelled as it is about to.
    CancelFirst,
    /// Its wait's own time limit passes. Of the waits that have one.
    Timeout,
    /// The time limit of the nearest scope round the wait passes. Of the waits inside of one.
    Limit,
    /// The stack unwinds by a panic, with [`Panic`] as its payload, where it would by cancelling.
    Panic,
}

/// The payload of a panic that was ordered.
#[derive(Debug)]
pub struct Panic;

static ORDER: Mutex<Option<Fault>> = Mutex::new(None);
/// There is an order: most suspensions look no further.
static ORDERED: AtomicBool = AtomicBool::new(false);
/// Suspensions until then, that one included; zero when it has happened.
static LEFT: AtomicUsize = AtomicUsize::new(0);
/// What the task that it happened to was waiting for.
static AT: Mutex<&str> = Mutex::new("");
/// The task that is to panic; zero is none.
static TO_PANIC: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The scope of this thread whose time is up, and since when.
    static HASTENED: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// Has it happen at the `nth` suspension from now on that it is about; the first is 1.
pub fn order(fault: Fault, nth: usize) {
    TO_PANIC.store(0, SeqCst);
    LEFT.store(nth, SeqCst);
    *ORDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    ORDERED.store(true, SeqCst);
}

/// Takes the order back. What the task was waiting for if it was carried out, else how many suspensions there were.
///
/// # Errors
/// There were fewer; here is how many were missing.
pub fn withdraw() -> Result<&'static str, usize> {
    ORDERED.store(false, SeqCst);
    *ORDER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    TO_PANIC.store(0, SeqCst);
    match LEFT.swap(0, SeqCst) {
        0 => Ok(*AT.lock().unwrap_or_else(PoisonError::into_inner)),
        missing => Err(missing),
    }
}

/// What is to happen to a task that is about to suspend.
pub(super) fn at_suspension(
    is_task: impl FnOnce() -> bool,
    why: impl FnOnce() -> &'static str,
    has_own_limit: bool,
    scope: impl FnOnce() -> Option<u64>,
) -> Option<Fault> {
    if !ORDERED.load(SeqCst) || !is_task() {
        return None;
    }
    let mut order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = (*order)?;
    let scope = scope();
    let concerned = match fault {
        Fault::Timeout => has_own_limit,
        Fault::Limit => scope.is_some(),
        Fault::Cancel | Fault::CancelFirst | Fault::Panic => true,
    };
    if !concerned || LEFT.fetch_sub(1, SeqCst) > 1 {
        return None;
    }
    if fault == Fault::Limit {
        HASTENED.set(scope.map(|scope| (scope, Instant::now())));
    }
    *AT.lock().unwrap_or_else(PoisonError::into_inner) = why();
    ORDERED.store(false, SeqCst);
    order.take()
}

/// Since when the time of this scope is up although its deadline has not come.
#[inline]
pub(super) fn hastened(scope: u64) -> Option<Instant> {
    let (hastened, since) = HASTENED.get()?;
    (hastened == scope).then_some(since)
}

/// The task is cancelled so that it panics.
pub(super) fn let_panic(task: u64) {
    TO_PANIC.store(task, SeqCst);
}

/// Whether the task, which would unwind because it was cancelled, is to panic instead; once.
pub(super) fn is_to_panic(task: u64) -> bool {
    TO_PANIC.compare_exchange(task, 0, SeqCst, SeqCst).is_ok()
}
