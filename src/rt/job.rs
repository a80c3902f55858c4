//! What a task runs and what comes of it, stored in the header without its types.
//!
//! 1. A payload holds a closure from `Job::emplace` until `Job::run`, then a result until `Job::take` or
//!    `Job::dispose`. Each of these is called at most once, in this order.
//! 2. A value that fits lies in the payload itself, any other in a box whose pointer lies there.

use super::fiber::Switch;
use super::tally::count_end;
use super::unwind::target_of;
use crate::base::shared::UnsafeCell;
use crate::error::JoinError;
use std::any::Any;
use std::mem::{align_of, size_of, MaybeUninit};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Bytes of a payload.
const ROOM: usize = 48;

/// Room for a closure or a result of up to [`ROOM`] bytes.
#[repr(C, align(16))]
pub(crate) struct Payload(UnsafeCell<MaybeUninit<[u8; ROOM]>>);

/// The functions that know the types behind a payload.
#[derive(Clone, Copy)]
pub(crate) struct Job(&'static Functions);

struct Functions {
    run: unsafe fn(&Payload, Option<JoinError>) -> Ending,
    dispose: unsafe fn(&Payload) -> Option<Panic>,
    abandon: unsafe fn(&Payload),
}

/// Where jobs are run.
pub(crate) trait Stage {
    /// The job is done whose result is in `payload`. If it was the current task's, and what is left to do for that can be done by whoever
    /// has resumed its fiber: the way there. There is nothing on the fiber then that would have to be dropped; if it is resumed
    /// nevertheless it does that itself.
    ///
    /// A processor foresees where a return goes by the calls that it has seen last, and those were another stack's. To
    /// return to the caller of the job, and to leave the fiber from there, are two returns of that kind; and what is done there
    /// uses more of a stack that is not in the caches.
    fn leave(payload: &Payload) -> Option<Switch>;
}

/// What a task panicked with.
pub(crate) type Panic = Box<dyn Any + Send>;

/// How a task ended.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Panicked,
    /// It returned or was cancelled.
    Quiet,
}

impl Job {
    pub(crate) const fn none() -> Self {
        /// # Safety
        /// As [`Job::run`].
        unsafe fn run(_: &Payload, _: Option<JoinError>) -> Ending {
            unreachable!("a header without a job is not run")
        }
        /// # Safety
        /// None is needed.
        unsafe fn dispose(_: &Payload) -> Option<Panic> {
            None
        }
        /// # Safety
        /// None is needed.
        unsafe fn abandon(_: &Payload) {}
        Job(&Functions {
            run,
            dispose,
            abandon,
        })
    }

    /// Stores `f` in `payload`; the job's result will be a `Result<T, JoinError>`. It will be run on `S`.
    ///
    /// # Safety
    /// Invariant 1.
    #[inline]
    pub(crate) unsafe fn emplace<S: Stage, F: FnOnce() -> T, T>(payload: &Payload, f: F) -> Job {
        // SAFETY: by invariant 1 the payload is empty.
        unsafe { payload.put(f) };
        Job(const {
            &Functions {
                run: run::<S, F, T>,
                dispose: dispose::<T>,
                abandon: abandon::<T>,
            }
        })
    }

    /// Calls the closure, or drops it uncalled if it is `refused`, and stores the result. It does not unwind. It may leave the fiber in
    /// the end: see [`Stage::leave`].
    ///
    /// # Safety
    /// Invariant 1.
    #[inline]
    pub(crate) unsafe fn run(self, payload: &Payload, refused: Option<JoinError>) -> Ending {
        // SAFETY: the caller keeps invariant 1.
        unsafe { (self.0.run)(payload, refused) }
    }

    /// Drops the result, and hands out the panic if it is one. It does not unwind.
    ///
    /// # Safety
    /// Invariant 1.
    pub(crate) unsafe fn dispose(self, payload: &Payload) -> Option<Panic> {
        // SAFETY: the caller keeps invariant 1.
        unsafe { (self.0.dispose)(payload) }
    }

    /// Stores "cancelled" as the result of a task that stands still for ever; a closure that is there is leaked.
    ///
    /// # Safety
    /// The task has no result, and will not be run.
    pub(crate) unsafe fn abandon(self, payload: &Payload) {
        // SAFETY: the caller's promise.
        unsafe { (self.0.abandon)(payload) }
    }

    /// The result.
    ///
    /// # Safety
    /// Invariant 1; `T` is the one of `emplace`.
    #[inline(always)]
    pub(crate) unsafe fn take<T>(payload: &Payload) -> Result<T, JoinError> {
        // SAFETY: the caller keeps invariant 1.
        unsafe { payload.take() }
    }
}

/// # Safety
/// As [`Job::run`], of a job that `emplace::<S, F, T>` has made.
unsafe fn run<S: Stage, F: FnOnce() -> T, T>(
    payload: &Payload,
    refused: Option<JoinError>,
) -> Ending {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `emplace::<F, T>` put it there.
        let f = unsafe { payload.take::<F>() };
        match refused {
            None => Ok(f()),
            Some(error) => {
                drop(f);
                Err(error)
            }
        }
    }));
    let result = result.unwrap_or_else(|panic| Err(failed(panic)));
    let ending = match result {
        Err(JoinError::Panic(_)) => Ending::Panicked,
        _ => Ending::Quiet,
    };
    // SAFETY: the closure is out.
    unsafe { payload.put::<Result<T, JoinError>>(result) };
    if let Some(switch) = S::leave(payload) {
        // SAFETY: it is that of the fiber that runs.
        unsafe { switch.suspend() };
    }
    ending
}

/// What has become of a task that unwound.
#[cold]
#[inline(never)]
fn failed(panic: Panic) -> JoinError {
    let error = match target_of(&*panic) {
        Some(_) => JoinError::Cancelled,
        None => JoinError::Panic(panic),
    };
    count_end(&error);
    error
}

/// # Safety
/// As [`Job::dispose`], of a job that `emplace::<F, T>` has made.
unsafe fn dispose<T>(payload: &Payload) -> Option<Panic> {
    // SAFETY: `run` put it there.
    match unsafe { payload.take::<Result<T, JoinError>>() } {
        Err(JoinError::Panic(panic)) => return Some(panic),
        Err(JoinError::Cancelled) => {}
        Ok(value) => drop_quietly(|| drop(value)),
    }
    None
}

/// # Safety
/// As [`Job::abandon`], of a job that `emplace::<F, T>` has made.
unsafe fn abandon<T>(payload: &Payload) {
    // SAFETY: the caller of `Job::abandon` knows that nothing is lost but what it means to leak.
    unsafe { payload.put::<Result<T, JoinError>>(Err(JoinError::Cancelled)) };
}

/// Runs a destructor of the user's; a panic in it ends there (its hook has reported it).
pub(super) fn drop_quietly(drop: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(drop)) {
        // A payload whose own destructor panics is not worth a process.
        std::mem::forget(panic);
    }
}

impl Payload {
    pub(crate) const fn new() -> Self {
        Payload(UnsafeCell::new(MaybeUninit::uninit()))
    }

    const fn fits<V>() -> bool {
        size_of::<V>() <= ROOM && align_of::<V>() <= align_of::<Payload>()
    }

    /// # Safety
    /// Nobody else uses it meanwhile. What is in it is forgotten.
    #[inline]
    unsafe fn put<V>(&self, value: V) {
        if const { Self::fits::<V>() } {
            // SAFETY: it fits.
            unsafe { self.0.get().cast::<V>().write(value) }
        } else {
            // SAFETY: a pointer fits.
            unsafe {
                self.0
                    .get()
                    .cast::<*mut V>()
                    .write(Box::into_raw(Box::new(value)))
            }
        }
    }

    /// # Safety
    /// A `V` was put and not taken since, and nobody else uses it meanwhile.
    #[inline(always)]
    unsafe fn take<V>(&self) -> V {
        if const { Self::fits::<V>() } {
            // SAFETY: the caller knows that a `V` was put and not taken.
            unsafe { self.0.get().cast::<V>().read() }
        } else {
            // SAFETY: as above; `put` boxed it.
            let boxed = unsafe { Box::from_raw(self.0.get().cast::<*mut V>().read()) };
            *boxed
        }
    }
}
