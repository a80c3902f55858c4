//! A first-in first-out queue in a circle of slots.
//!
//! 1. `head` counts what was taken and `tail` what was put, for ever (they wrap); the slots between are in use.
//! 2. The number of slots is a power of two, or zero before the first element.
//!
//! Other than `VecDeque`'s, a push writes only `tail` and a pop only `head`: a worker that pushes and pops in turn
//! has two short chains through memory instead of one long one, which is most of what a switch costs.

/// See the head of this file.
pub(crate) struct Ring<T> {
    slots: Box<[Option<T>]>,
    head: usize,
    tail: usize,
}

/// Slots of the first circle.
const FIRST: usize = 64;

impl<T: Copy> Ring<T> {
    pub(crate) fn new() -> Self {
        Ring {
            slots: Box::new([]),
            head: 0,
            tail: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, element: T) {
        if self.len() == self.slots.len() {
            self.grow();
        }
        let at = self.tail & (self.slots.len() - 1);
        self.slots[at] = Some(element);
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.head == self.tail {
            return None;
        }
        let at = self.head & (self.slots.len() - 1);
        self.head = self.head.wrapping_add(1);
        self.slots[at]
    }

    /// The element that `pop` would give after `ahead` others.
    #[inline(always)]
    pub(crate) fn peek(&self, ahead: usize) -> Option<T> {
        if self.len() <= ahead {
            return None;
        }
        self.slots[self.head.wrapping_add(ahead) & (self.slots.len() - 1)]
    }

    /// First to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        (0..self.len()).filter_map(|ahead| self.peek(ahead))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let elements: Vec<T> = self.iter().collect();
        let mut slots = vec![None; (self.slots.len() * 2).max(FIRST)].into_boxed_slice();
        for (slot, element) in slots.iter_mut().zip(&elements) {
            *slot = Some(*element);
        }
        self.slots = slots;
        self.head = 0;
        self.tail = elements.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn elements_come_out_in_order_through_growth_and_wrapping() {
        let mut ring = Ring::new();
        let mut model = VecDeque::new();
        let mut next = 0;
        for round in 0..500 {
            for _ in 0..round % 17 + 1 {
                ring.push(next);
                model.push_back(next);
                next += 1;
            }
            for _ in 0..round % 13 {
                assert_eq!(ring.pop(), model.pop_front());
            }
            assert_eq!(ring.len(), model.len());
            assert_eq!(ring.peek(0), model.front().copied());
            assert_eq!(ring.peek(3), model.get(3).copied());
        }
        assert!(ring.iter().eq(model));
    }

    #[test]
    fn the_counters_may_wrap() {
        let mut ring = Ring::new();
        ring.push(0);
        assert_eq!(ring.pop(), Some(0));
        ring.head = usize::MAX - 1;
        ring.tail = usize::MAX - 1;
        for n in 0..10 {
            ring.push(n);
        }
        assert!((0..10).all(|n| ring.pop() == Some(n)));
        assert_eq!(ring.pop(), None);
    }
}
