//! Nobody is told of stacks.

#[derive(Debug)]
pub(super) struct Told;

impl Told {
    pub(super) const fn none() -> Self {
        Told
    }

    #[inline]
    pub(super) fn of_stack(&mut self, _start: usize, _len: usize) {}
}
