//! Poison: what a panic in the hands of a lock's owner leaves behind.
//!
//! As in std, with one difference: an owner that is cancelled, or whose [`timeout`](crate::timeout) passes, unwinds
//! too, and poisons nothing. That is an orderly end, in the middle of which nothing but a wait can have been.

use super::wait::Early;
use crate::error::{Cancelled, Timeout};
use crate::rt::park::{is_panicking, Interrupt};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::{error, fmt, io, thread};

/// Whether a lock is poisoned.
pub(super) struct Poison(AtomicBool);

/// What a guard has to know of the moment in which it was made.
#[derive(Clone, Copy)]
pub(super) struct Before {
    /// Its owner was unwinding already: what is dropped then says nothing about what was done under the lock.
    unwinding: bool,
}

impl Before {
    #[inline]
    pub(super) fn now() -> Self {
        let unwinding = thread::panicking();
        Before { unwinding }
    }
}

// Relaxed, everywhere: a lock orders what its owners do, the poison among it.
impl Poison {
    pub(super) const fn new() -> Self {
        Poison(AtomicBool::new(false))
    }

    #[inline]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// To be called before the lock is given up.
    #[inline]
    pub(super) fn end(&self, before: Before) {
        if !before.unwinding && is_panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// `value`, in what says whether it is poisoned.
    #[inline]
    pub(super) fn judge<T>(&self, value: T) -> LockResult<T> {
        if self.get() {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }

    /// As `judge`, for what was tried.
    #[inline]
    pub(super) fn judge_try<T>(&self, value: Option<T>) -> TryLockResult<T> {
        Ok(self.judge(value.ok_or(TryLockError::WouldBlock)?)?)
    }

    /// As `judge`, for what was bounded.
    #[inline]
    pub(super) fn judge_timed<T>(&self, value: Result<T, Early>) -> LockTimeoutResult<T> {
        match self.judge(value?) {
            Ok(guard) => Ok(guard),
            Err(poisoned) => Err(LockTimeoutError::Poisoned(poisoned)),
        }
    }
}

/// Shows a lock as std's do, `locked` being what trying to lock it has answered.
pub(super) fn show<G: Deref<Target: fmt::Debug>>(
    mut shown: fmt::DebugStruct<'_, '_>,
    poison: &Poison,
    locked: TryLockResult<G>,
) -> fmt::Result {
    match locked {
        Ok(guard) => shown.field("data", &&*guard),
        Err(TryLockError::Poisoned(poisoned)) => shown.field("data", &&**poisoned.get_ref()),
        Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
    };
    let poisoned = poison.get();
    shown.field("poisoned", &poisoned).finish_non_exhaustive()
}

/// What locking for a bounded time answers.
pub type LockTimeoutResult<G> = Result<G, LockTimeoutError<G>>;

/// Why [`Mutex::lock_timeout`](super::Mutex::lock_timeout), and its like, did not simply lock.
///
/// As an [`io::Error`] `Poisoned` has the kind [`Other`](io::ErrorKind::Other), and the others are what [`Timeout`] and
/// [`Cancelled`] become.
pub enum LockTimeoutError<G> {
    /// It is locked, but another owner panicked while he had it. The guard is inside.
    Poisoned(PoisonError<G>),
    /// The deadline passed. Or that of a [`timeout`](crate::timeout) round it did, where nothing can be unwound.
    Timeout,
    /// The calling task was cancelled where nothing can be unwound: in a destructor that runs while unwinding, or in
    /// a build with `panic = "abort"`.
    Cancelled,
}

impl<G> From<PoisonError<G>> for LockTimeoutError<G> {
    fn from(poisoned: PoisonError<G>) -> Self {
        LockTimeoutError::Poisoned(poisoned)
    }
}

impl<G> From<Early> for LockTimeoutError<G> {
    fn from(early: Early) -> Self {
        match early {
            Early::TimedOut | Early::Interrupted(Interrupt::Timeout) => LockTimeoutError::Timeout,
            Early::Interrupted(Interrupt::Cancelled) => LockTimeoutError::Cancelled,
        }
    }
}

impl<G> From<LockTimeoutError<G>> for io::Error {
    fn from(error: LockTimeoutError<G>) -> Self {
        match error {
            LockTimeoutError::Poisoned(poisoned) => io::Error::other(poisoned.to_string()),
            LockTimeoutError::Timeout => Timeout.into(),
            LockTimeoutError::Cancelled => Cancelled.into(),
        }
    }
}

impl<G> fmt::Display for LockTimeoutError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockTimeoutError::Poisoned(poisoned) => poisoned.fmt(f),
            LockTimeoutError::Timeout => Timeout.fmt(f),
            LockTimeoutError::Cancelled => Cancelled.fmt(f),
        }
    }
}

/// Without the guard, which need not know how to be shown: `unwrap` works for all.
impl<G> fmt::Debug for LockTimeoutError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockTimeoutError::Poisoned(_) => "Poisoned(..)",
            LockTimeoutError::Timeout => "Timeout",
            LockTimeoutError::Cancelled => "Cancelled",
        })
    }
}

impl<G> error::Error for LockTimeoutError<G> {}
