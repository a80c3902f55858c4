//! What the builder of a scheduler has said and each of its workers has to know.

use super::simulation::Seed;
use super::watchdog::Sight;
use crate::sys::thread::pin;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// See the head of this file.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) stack_size: u32,
    pub(super) spin: Duration,
    /// Whether tasks remember when their waits begin.
    pub(super) traces: bool,
    /// Where the workers say what they run, by their numbers; none if nobody sights.
    pub(super) sights: Vec<Arc<Sight>>,
    /// What the names of the threads begin with.
    pub(super) name: Option<Box<str>>,
    /// The processors that the workers are pinned to, in turn; none if they are not.
    pub(super) processors: Vec<usize>,
    /// Whether they are simulated.
    pub(super) seed: Seed,
}

impl Orders {
    /// Pins the calling thread, if the workers are to be pinned.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn pin(&self, number: usize) -> io::Result<()> {
        match self.processors.len() {
            0 => Ok(()),
            count => pin(self.processors[number % count]),
        }
    }
}
