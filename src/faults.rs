//! For `tests/faults`, and no part of the library: what is made to happen at a suspension, and what is in use. It is there under
//! `--cfg multitask_faults` alone.

pub use crate::rt::fault::{order, withdraw, Fault, Panic};
use crate::rt::{header, reactor, stack};

/// What the library has of things that are recycled, over the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Headers: of tasks, of threads that have waited, and those that homes keep ready.
    pub headers: usize,
    /// What others know of a worker.
    pub homes: usize,
    /// Waiting-rooms of descriptors.
    pub rooms: usize,
    /// Mappings full of stacks.
    pub slabs: usize,
}

/// What it has now.
pub fn held() -> Held {
    let (headers, homes) = header::in_use();
    Held {
        headers,
        homes,
        rooms: reactor::rooms_in_use(),
        slabs: stack::slabs_in_use(),
    }
}
