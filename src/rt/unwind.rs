//! How a cancelled task, or a timeout scope that has expired, leaves the code that it is in: by unwinding with a
//! private payload, through `resume_unwind`, so that no panic hook runs.

use super::scope::ScopeId;
use std::any::Any;
use std::panic::resume_unwind;

/// Where an unwinding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// At the root of the task: it was cancelled.
    Task,
    /// At the edge of this scope: its deadline passed.
    Scope(ScopeId),
}

struct Payload(Target);

/// Unwinds to `target`. The caller has made sure of [`can_raise`].
#[cold]
pub(crate) fn raise(target: Target) -> ! {
    resume_unwind(Box::new(Payload(target)))
}

/// Whether the calling stack can be unwound now: it is not unwinding already, and panics unwind in this build.
///
/// `thread::panicking` speaks for the stack that runs: the unwinding of others of its thread is set aside (see `aside`).
#[inline]
pub(crate) fn can_raise() -> bool {
    cfg!(panic = "unwind") && !std::thread::panicking()
}

/// The target of a payload that was caught, if it is one of ours.
pub(crate) fn target_of(payload: &(dyn Any + Send)) -> Option<Target> {
    payload.downcast_ref::<Payload>().map(|payload| payload.0)
}
