//! What Valgrind is told of stacks: where they are. Otherwise it takes a switch for a frame of that size, and what lies on the stack
//! that was left for undefined. With `--cfg multitask_valgrind`; see `arch-tests/checked`.

use corosensei::stack::valgrind::ValgrindStackRegistration;
use std::fmt;

/// The stacks of one mapping, for as long as this lives.
pub(super) struct Told(Vec<ValgrindStackRegistration>);

impl Told {
    pub(super) const fn none() -> Self {
        Told(Vec::new())
    }

    pub(super) fn of_stack(&mut self, start: usize, len: usize) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        self.0.push(ValgrindStackRegistration::new(start, len));
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Told").field(&self.0.len()).finish()
    }
}
