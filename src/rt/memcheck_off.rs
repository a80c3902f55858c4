//! Nobody is told of stacks.

#[derive(Debug, Default)]
pub(super) struct Told;

impl Told {
    #[inline]
    pub(super) fn of_stack(&mut self, _start: usize, _len: usize) {}
}
