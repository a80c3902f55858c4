//! A first-in first-out queue of pointers in a circle of slots. It has one owner; anybody may look on.
//!
//! 1. `head` counts what was taken and `tail` what was put, for ever (they wrap); the slots between are in use. An
//!    element's *position* is the count at which it was put, and stays what it is unless it is [moved](Ring::bring_last_forward) or
//!    [exchanged](Ring::exchange_first); its lower 32 bits are enough to find it.
//! 2. The number of slots is a power of two, or zero before the first element.
//!    A [`hole`] stands for an element that is to come, or will not.
//! 3. The owner, one thread at a time, does everything but [`look_on`](Ring::look_on). Who looks on sees pointers that
//!    were in the ring at some time, and has to find out otherwise what they are worth.
//! 4. A circle that was outgrown stays until the ring goes, for somebody may be looking at it.
//!
//! Other than `VecDeque`'s, a push writes only `tail` and a pop only `head`: a worker that pushes and pops in turn
//! has two short chains through memory instead of one long one, which is most of what a switch costs.

use super::shared::{null_pointers, AtomicPtr, AtomicUsize, Ordering, Ordering::Relaxed};
use std::cell::{Cell, RefCell};
use std::num::NonZero;
use std::ptr::{self, NonNull};

/// See the head of this file.
pub(crate) struct Ring<T: 'static> {
    head: AtomicUsize,
    tail: AtomicUsize,
    /// The circle, for the owner.
    slots: Cell<Slots<T>>,
    /// The same for others; null before the first element.
    shown: AtomicPtr<Slots<T>>,
    /// All circles that there were, the last one in use.
    circles: RefCell<Vec<Circle<T>>>,
}

type Slots<T> = &'static [AtomicPtr<T>];

/// What `shown` points to, and what that points to: both made by `Box::into_raw`, and freed with the ring.
struct Circle<T: 'static> {
    slots: *mut [AtomicPtr<T>],
    shown: *mut Slots<T>,
}

/// Slots of the first circle; the models have it outgrown soon.
const FIRST: usize = if cfg!(loom) { 2 } else { 64 };

impl<T> Ring<T> {
    pub(crate) const fn new() -> Self {
        Ring {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            slots: Cell::new(&[]),
            shown: AtomicPtr::new(ptr::null_mut()),
            circles: RefCell::new(Vec::new()),
        }
    }

    // ---- for the owner ----

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        let (head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        tail.wrapping_sub(head)
    }

    /// The position of the element that will be put next.
    pub(crate) fn end(&self) -> usize {
        self.tail.load(Relaxed)
    }

    /// Whether all before `position` have been taken.
    pub(crate) fn is_past(&self, position: usize) -> bool {
        // They wrap.
        self.head.load(Relaxed).wrapping_sub(position) as isize >= 0
    }

    /// Adds an element; returns its position.
    #[inline(always)]
    pub(crate) fn push(&self, element: NonNull<T>) -> usize {
        // Each is loaded once: the compiler takes no two loads of an atomic for one.
        let tail = self.tail.load(Relaxed);
        let mut slots = self.slots.get();
        if tail.wrapping_sub(self.head.load(Relaxed)) == slots.len() {
            slots = self.grow();
        }
        // SAFETY: it has slots: if it had had none it would have grown.
        let slot = unsafe { slot(slots, tail) };
        slot.store(element.as_ptr(), Relaxed);
        // Release: who sees the new tail sees the circle and the slot.
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        tail
    }

    /// The first element, or a hole.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<NonNull<T>> {
        let head = self.head.load(Relaxed);
        if head == self.tail.load(Relaxed) {
            return None;
        }
        self.head.store(head.wrapping_add(1), Relaxed);
        // SAFETY: it has slots: there is an element.
        Some(filled(unsafe { slot(self.slots.get(), head) }))
    }

    /// The only element, or hole; `None` if there are none or several.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<NonNull<T>> {
        let (head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        // SAFETY: it has slots: there is an element.
        (tail.wrapping_sub(head) == 1).then(|| filled(unsafe { slot(self.slots.get(), head) }))
    }

    /// Takes `element` out if there is nothing else.
    #[inline(always)]
    pub(crate) fn pop_only(&self, element: NonNull<T>) -> bool {
        let is_only = self.only() == Some(element);
        if is_only {
            self.head.store(self.tail.load(Relaxed), Relaxed);
        }
        is_only
    }

    /// Takes `element` out if it is the first.
    #[inline(always)]
    pub(crate) fn pop_first(&self, element: NonNull<T>) -> bool {
        let head = self.head.load(Relaxed);
        if head == self.tail.load(Relaxed) {
            return false;
        }
        // SAFETY: it has slots: there is an element.
        let is_first = filled(unsafe { slot(self.slots.get(), head) }) == element;
        if is_first {
            self.head.store(head.wrapping_add(1), Relaxed);
        }
        is_first
    }

    /// Puts `element` where the first one is, which there is: so that one is out, and if it was alone, `element` is behind all others.
    #[inline(always)]
    pub(crate) fn replace_first(&self, element: NonNull<T>) {
        let head = self.head.load(Relaxed);
        debug_assert!(head != self.tail.load(Relaxed));
        // SAFETY: it has slots: there is an element.
        unsafe { slot(self.slots.get(), head) }.store(element.as_ptr(), Relaxed);
    }

    /// What `pop` would give after `ahead` others.
    #[inline(always)]
    pub(crate) fn peek(&self, ahead: usize) -> Option<NonNull<T>> {
        let head = self.head.load(Relaxed);
        if self.tail.load(Relaxed).wrapping_sub(head) <= ahead {
            return None;
        }
        Some(filled(self.slot(head.wrapping_add(ahead))))
    }

    /// Puts `new` where `old` is, if that is at `position`.
    #[inline]
    pub(crate) fn replace(&self, position: u32, old: NonNull<T>, new: NonNull<T>) -> bool {
        let head = self.head.load(Relaxed);
        let ahead = position.wrapping_sub(head as u32) as usize;
        let there = self.peek(ahead) == Some(old);
        if there {
            let slot = self.slot(head.wrapping_add(ahead));
            slot.store(new.as_ptr(), Relaxed);
        }
        there
    }

    /// If `first` is at `position` and nothing comes before it: leaves a hole at the end, and says where.
    #[inline]
    pub(crate) fn hole_behind(&self, position: u32, first: NonNull<T>) -> Option<u32> {
        let (head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        let is_first = head as u32 == position && head != tail;
        (is_first && filled(self.slot(head)) == first).then(|| self.push(hole()) as u32)
    }

    /// Brings what is at `position`, which is in use, and all that comes after it before the rest, if that is no more than
    /// `most` elements; says how many they were. A hole is left behind them, and its position returned.
    pub(crate) fn bring_forward(&self, position: u32, most: usize) -> Option<(usize, u32)> {
        let head = self.head.load(Relaxed);
        let ahead = position.wrapping_sub(head as u32) as usize;
        let count = self.len() - ahead;
        (count <= most).then(|| {
            let hole = self.push_first(hole());
            self.bring_last_forward(count);
            (count, hole as u32)
        })
    }

    /// Brings the last `count`, which are in use, before the rest, in their order.
    pub(crate) fn bring_last_forward(&self, count: usize) {
        // There is room then for copies while they are made.
        while self.len() + count > self.slots.get().len() {
            self.grow();
        }
        let (head, tail) = (self.head.load(Relaxed), self.tail.load(Relaxed));
        let first = head.wrapping_sub(count);
        let last = tail.wrapping_sub(count);
        for n in 0..count {
            let element = self.slot(last.wrapping_add(n)).load(Relaxed);
            self.slot(first.wrapping_add(n)).store(element, Relaxed);
        }
        self.tail.store(last, Relaxed);
        self.head.store(first, Relaxed);
    }

    /// Puts an element before all others; returns its position.
    fn push_first(&self, element: NonNull<T>) -> usize {
        if self.len() == self.slots.get().len() {
            self.grow();
        }
        let head = self.head.load(Relaxed).wrapping_sub(1);
        self.slot(head).store(element.as_ptr(), Relaxed);
        self.head.store(head, Relaxed);
        head
    }

    /// Exchanges the first element with the one after `ahead` others, if there is one.
    #[inline]
    pub(crate) fn exchange_first(&self, ahead: usize) {
        if let (Some(first), Some(other)) = (self.peek(0), self.peek(ahead)) {
            let head = self.head.load(Relaxed);
            self.slot(head).store(other.as_ptr(), Relaxed);
            self.slot(head.wrapping_add(ahead))
                .store(first.as_ptr(), Relaxed);
        }
    }

    /// First to last, holes included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<T>> + '_ {
        (0..self.len()).filter_map(|ahead| self.peek(ahead))
    }

    #[inline(always)]
    fn slot(&self, position: usize) -> &AtomicPtr<T> {
        let slots = self.slots.get();
        &slots[position & (slots.len() - 1)]
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> Slots<T> {
        let count = (self.slots.get().len() * 2).max(FIRST);
        let slots = null_pointers(count);
        let head = self.head.load(Relaxed);
        for ahead in 0..self.len() {
            let position = head.wrapping_add(ahead);
            let element = self.slot(position).load(Relaxed);
            slots[position & (count - 1)].store(element, Relaxed);
        }
        let slots = Box::into_raw(slots);
        // SAFETY: by 4 it stays until the ring is dropped, and the reference goes no further than the ring.
        let shared: Slots<T> = unsafe { &*slots };
        let shown = Box::into_raw(Box::new(shared));
        self.circles.borrow_mut().push(Circle { slots, shown });
        self.slots.set(shared);
        // Release: the elements are in it.
        self.shown.store(shown, Ordering::Release);
        shared
    }

    // ---- for anybody ----

    /// Calls `visit` with what is in the ring, last to first, while that says so, with `limit` elements at the most.
    pub(crate) fn look_on(&self, limit: usize, mut visit: impl FnMut(NonNull<T>) -> bool) {
        let tail = self.tail.load(Ordering::Acquire);
        let len = tail.wrapping_sub(self.head.load(Relaxed));
        // SAFETY: by 4 what was ever shown lives as long as the ring.
        let Some(slots) = (unsafe { self.shown.load(Ordering::Acquire).as_ref() }) else {
            return;
        };
        // The owner may go on, and grow the ring, between all these loads: see 3.
        for back in 1..=len.min(limit).min(slots.len()) {
            let at = tail.wrapping_sub(back) & (slots.len() - 1);
            if let Some(element) = NonNull::new(slots[at].load(Relaxed)) {
                if !visit(element) {
                    return;
                }
            }
        }
    }
}

/// No element is like it: it is odd, and points nowhere.
pub(crate) fn hole<T>() -> NonNull<T> {
    NonNull::without_provenance(NonZero::<usize>::MIN)
}

/// The slot of a position.
///
/// # Safety
/// There are slots.
#[inline(always)]
unsafe fn slot<T>(slots: Slots<T>, position: usize) -> &'static AtomicPtr<T> {
    // SAFETY: by the caller's promise, and by 2, the mask is less than their number.
    unsafe { slots.get_unchecked(position & (slots.len() - 1)) }
}

/// What is in a slot that is in use.
#[inline(always)]
fn filled<T>(slot: &AtomicPtr<T>) -> NonNull<T> {
    // SAFETY: an element was put there, or a hole.
    unsafe { NonNull::new_unchecked(slot.load(Relaxed)) }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        for circle in self.circles.get_mut() {
            // SAFETY: made by `Box::into_raw`; nobody has the ring any more.
            unsafe { drop(Box::from_raw(circle.shown)) };
            // SAFETY: as above.
            unsafe { drop(Box::from_raw(circle.slots)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Something to point to: never looked at.
    fn element(n: usize) -> NonNull<u64> {
        NonNull::new(ptr::without_provenance_mut((n + 1) << 3)).unwrap()
    }

    #[test]
    fn elements_come_out_in_order_through_growth_and_wrapping() {
        let ring = Ring::new();
        let mut model = VecDeque::new();
        let mut next = 0;
        for round in 0..500 {
            for _ in 0..round % 17 + 1 {
                ring.push(element(next));
                model.push_back(element(next));
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
        let ring = Ring::new();
        ring.push(element(0));
        assert_eq!(ring.pop(), Some(element(0)));
        ring.head.store(usize::MAX - 1, Relaxed);
        ring.tail.store(usize::MAX - 1, Relaxed);
        for n in 0..100 {
            ring.push(element(n));
        }
        assert!((0..100).all(|n| ring.pop() == Some(element(n))));
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn an_element_is_replaced_where_it_is_and_nowhere_else() {
        let ring = Ring::new();
        ring.push(element(0));
        let position = ring.push(element(1)) as u32;
        for n in 2..200 {
            ring.push(element(n));
        }
        assert!(!ring.replace(position, element(7), element(500)));
        assert!(ring.replace(position, element(1), element(500)));
        assert_eq!(ring.pop(), Some(element(0)));
        assert_eq!(ring.pop(), Some(element(500)));
        assert!(
            !ring.replace(position, element(500), element(1)),
            "it is out"
        );
        assert_eq!(ring.pop(), Some(element(2)));
    }

    #[test]
    fn the_first_is_exchanged_with_one_that_is_there_and_the_others_stay() {
        let ring = Ring::new();
        ring.exchange_first(0);
        (0..5).for_each(|n| _ = ring.push(element(n)));
        ring.exchange_first(3);
        ring.exchange_first(5);
        assert!(ring.iter().eq([3, 1, 2, 0, 4].map(element)));
        ring.exchange_first(0);
        assert_eq!(ring.pop(), Some(element(3)));
    }

    #[test]
    fn what_is_brought_forward_comes_first_in_its_order_with_a_hole_behind_it() {
        for before in [1, 5, 63, 64, 100] {
            let ring = Ring::new();
            (0..before).for_each(|n| assert_eq!(ring.push(element(n)), n));
            let position = ring.push(element(1000)) as u32;
            ring.push(element(1001));
            assert_eq!(ring.bring_forward(position, 1), None);
            let (count, behind) = ring.bring_forward(position, 2).unwrap();
            assert_eq!(count, 2);
            assert!(ring.replace(behind, hole(), element(2000)));
            let expected = [1000, 1001, 2000].into_iter().chain(0..before);
            assert!(ring.iter().eq(expected.map(element)));
        }
    }

    #[test]
    fn an_end_is_past_when_all_are_out_that_were_before_it_and_not_earlier() {
        let ring = Ring::new();
        ring.head.store(usize::MAX - 1, Relaxed);
        ring.tail.store(usize::MAX - 1, Relaxed);
        assert!(ring.is_past(ring.end()));
        (0..3).for_each(|n| _ = ring.push(element(n)));
        let end = ring.end();
        for n in 3..6 {
            assert!(!ring.is_past(end));
            ring.push(element(n));
            ring.pop();
        }
        assert!(ring.is_past(end));
        ring.bring_last_forward(2);
        assert!(!ring.is_past(ring.end()));
    }

    #[test]
    fn the_last_are_brought_forward_in_their_order_and_the_others_stay_in_theirs() {
        for (others, count) in [(0, 3), (1, 0), (1, 1), (63, 1), (32, 32), (100, 64)] {
            let ring = Ring::new();
            (0..others + count).for_each(|n| _ = ring.push(element(n)));
            ring.bring_last_forward(count);
            let expected = (others..others + count).chain(0..others);
            assert!(ring.iter().eq(expected.map(element)));
        }
    }

    #[test]
    fn what_is_alone_is_taken_and_nothing_else() {
        let ring = Ring::new();
        for n in 0..1_000 {
            assert!(!ring.pop_only(element(n)), "there is nothing");
            ring.push(element(n));
            assert!(!ring.pop_only(element(n + 1)), "it is another");
            ring.push(element(n + 1));
            assert!(!ring.pop_only(element(n)), "it is not alone");
            assert_eq!(ring.pop(), Some(element(n)));
            assert!(ring.pop_only(element(n + 1)));
            assert_eq!(ring.pop(), None);
        }
    }

    #[test]
    fn what_comes_first_and_nothing_else_stays_with_a_hole_behind_all() {
        let ring = Ring::new();
        for n in 0..1_000 {
            let position = ring.push(element(n)) as u32;
            let next = position.wrapping_add(1);
            assert_eq!(ring.hole_behind(position, element(n + 1)), None);
            assert_eq!(ring.hole_behind(next, element(n)), None);
            assert_eq!(ring.len(), 1);
            assert_eq!(ring.hole_behind(position, element(n)), Some(next));
            assert_eq!(ring.pop(), Some(element(n)));
            assert_eq!(ring.hole_behind(position, element(n)), None, "it is out");
            assert_eq!(ring.pop(), Some(hole()));
            assert_eq!(ring.hole_behind(next, hole()), None, "so is that");
            let empty = next.wrapping_add(1);
            for stale in [element(n), hole()] {
                assert_eq!(ring.hole_behind(empty, stale), None, "there is nothing");
            }
            assert_eq!(ring.pop(), None);
        }
        assert_eq!(ring.slots.get().len(), FIRST);
    }

    #[test]
    fn who_looks_on_sees_what_is_in_it_up_to_the_limit_and_as_long_as_he_likes() {
        let ring = Ring::new();
        let seen = |limit, stop| {
            let mut seen = Vec::new();
            ring.look_on(limit, |element| {
                seen.push(element);
                Some(element) != stop
            });
            seen
        };
        assert!(seen(10, None).is_empty());
        for n in 0..100 {
            ring.push(element(n));
        }
        ring.pop();
        let all: Vec<_> = (1..100).rev().map(element).collect();
        assert_eq!(seen(1000, None), all);
        assert_eq!(seen(3, None), all[..3]);
        assert_eq!(seen(1000, Some(element(95))), all[..5]);
    }

    #[test]
    fn who_looks_on_while_the_ring_grows_sees_only_what_was_put() {
        const MOST: usize = 20_000;
        struct Watched(Ring<u64>);
        // SAFETY: one thread owns it, the other looks on.
        unsafe impl Sync for Watched {}
        let watched = Watched(Ring::new());
        let watched = &watched;
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Relaxed) {
                    watched.0.look_on(usize::MAX, |seen| {
                        let n = (seen.as_ptr().addr() >> 3) - 1;
                        assert!(n < MOST && seen == element(n));
                        true
                    });
                }
            });
            for n in 0..MOST {
                watched.0.push(element(n));
                if n % 3 == 0 {
                    watched.0.pop();
                }
            }
            over.store(true, Relaxed);
        });
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    impl<T> Ring<T> {
        /// Makes it known to loom.
        pub(crate) fn make(&self) {
            self.head.make();
            self.tail.make();
            self.shown.make();
        }
    }
}
