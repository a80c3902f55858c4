//! An intrusive doubly linked list: the links are part of the elements, so that joining and leaving cost no
//! allocation and an element can leave from the middle.
//!
//! 1. An element is in at most one list at a time, and its links say whether it is in one.
//! 2. An element stays where it is, and alive, while it is in a list.
//! 3. Whoever calls a method of a list, or reads the links of its elements, has exclusive use of that list (its
//!    thread alone has it, or a lock is held).
//!
//! The callers of the `unsafe` methods keep these three.

use std::cell::Cell;
use std::ptr;

/// The part of an element that belongs to the list.
pub(crate) struct Links<T> {
    /// The one before it, null if it is the first, [`nowhere`] if it is in no list.
    prev: Cell<*const T>,
    next: Cell<*const T>,
}

/// Where no element is.
const fn nowhere<T>() -> *const T {
    ptr::without_provenance(1)
}

impl<T> Links<T> {
    pub(crate) const fn new() -> Self {
        Links {
            prev: Cell::new(nowhere()),
            next: Cell::new(ptr::null()),
        }
    }

    /// Whether the element is in a list.
    pub(crate) fn is_linked(&self) -> bool {
        self.prev.get() != nowhere()
    }
}

/// An element that can say where its links are.
pub(crate) trait Linked: Sized {
    fn links(&self) -> &Links<Self>;
}

/// First in, first out; see the head of this file.
pub(crate) struct List<T> {
    head: Cell<*const T>,
    tail: Cell<*const T>,
}

// SAFETY: by invariant 3 a list is used by one thread at a time, and it owns nothing.
unsafe impl<T> Send for List<T> {}

impl<T: Linked> List<T> {
    pub(crate) const fn new() -> Self {
        List {
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
        }
    }

    /// Puts `element` at the end.
    ///
    /// # Safety
    /// Invariants 1 to 3.
    pub(crate) unsafe fn push_back(&self, element: &T) {
        let links = element.links();
        debug_assert!(!links.is_linked());
        let last = self.tail.replace(element);
        links.prev.set(last);
        links.next.set(ptr::null());
        // SAFETY: by invariant 2 an element that is in the list is alive.
        match unsafe { last.as_ref() } {
            Some(last) => last.links().next.set(element),
            None => self.head.set(element),
        }
    }

    /// Puts `element` at the beginning.
    ///
    /// # Safety
    /// Invariants 1 to 3.
    pub(crate) unsafe fn push_front(&self, element: &T) {
        let links = element.links();
        debug_assert!(!links.is_linked());
        let first = self.head.replace(element);
        links.prev.set(ptr::null());
        links.next.set(first);
        // SAFETY: by invariant 2 an element that is in the list is alive.
        match unsafe { first.as_ref() } {
            Some(first) => first.links().prev.set(element),
            None => self.tail.set(element),
        }
    }

    /// The first element, borrowed as by `pop_front`.
    ///
    /// # Safety
    /// As for `pop_front`.
    pub(crate) unsafe fn front<'a>(&self) -> Option<&'a T> {
        // SAFETY: by invariant 2 an element that is in the list is alive.
        unsafe { self.head.get().as_ref() }
    }

    /// Takes out the first element. It is borrowed for as long as the caller knows it to live.
    ///
    /// # Safety
    /// Invariant 3, and the element is not used for longer than it lives.
    pub(crate) unsafe fn pop_front<'a>(&self) -> Option<&'a T> {
        // SAFETY: the caller's promise.
        let first = unsafe { self.front() }?;
        let links = first.links();
        debug_assert!(links.prev.get().is_null());
        self.head.set(links.next.get());
        // SAFETY: it is the first of this list.
        unsafe { self.set_before(links.next.get(), ptr::null()) };
        links.prev.set(nowhere());
        Some(first)
    }

    /// Takes `element` out of the list that it is in.
    ///
    /// # Safety
    /// `element` is in this list; invariant 3.
    pub(crate) unsafe fn remove(&self, element: &T) {
        let links = element.links();
        debug_assert!(links.is_linked());
        let (prev, next) = (links.prev.get(), links.next.get());
        // SAFETY: by invariant 2 its neighbours are alive.
        match unsafe { prev.as_ref() } {
            Some(prev) => prev.links().next.set(next),
            None => self.head.set(next),
        }
        // SAFETY: as above.
        unsafe { self.set_before(next, prev) };
        links.prev.set(nowhere());
    }

    /// Notes that `prev` is before `next`, or the last one if that is null.
    ///
    /// # Safety
    /// `next` is in this list, or null; invariant 3.
    unsafe fn set_before(&self, next: *const T, prev: *const T) {
        // SAFETY: by invariant 2 an element that is in the list is alive.
        match unsafe { next.as_ref() } {
            Some(next) => next.links().prev.set(prev),
            None => self.tail.set(prev),
        }
    }

    /// Calls `visit` with each element, first to last; it may take out the element that it was called with.
    ///
    /// # Safety
    /// Invariant 3, also for the time that `visit` runs; it uses no element for longer than that lives.
    pub(crate) unsafe fn for_each<'a>(&self, mut visit: impl FnMut(&'a T))
    where
        T: 'a,
    {
        let none = |element| {
            visit(element);
            false
        };
        // SAFETY: the caller's promise.
        let _none = unsafe { self.find(none) };
    }

    /// The first element that is `wanted`, which may take out the element that it was called with.
    ///
    /// # Safety
    /// As for `for_each`.
    pub(crate) unsafe fn find<'a>(&self, mut wanted: impl FnMut(&'a T) -> bool) -> Option<&'a T>
    where
        T: 'a,
    {
        let mut at = self.head.get();
        // SAFETY: by invariant 2 an element that is in the list is alive.
        while let Some(element) = unsafe { at.as_ref() } {
            at = element.links().next.get();
            if wanted(element) {
                return Some(element);
            }
        }
        None
    }

    /// To be called as the methods above are: by invariant 3.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Element(u32, Links<Element>);

    impl Linked for Element {
        fn links(&self) -> &Links<Self> {
            &self.1
        }
    }

    fn elements() -> Vec<Element> {
        (0..4).map(|n| Element(n, Links::new())).collect()
    }

    fn contents(list: &List<Element>) -> Vec<u32> {
        let mut found = Vec::new();
        // SAFETY: one thread, and the elements outlive the list in these tests.
        unsafe { list.for_each(|element| found.push(element.0)) };
        found
    }

    #[test]
    fn elements_come_out_in_the_order_they_went_in() {
        let elements = elements();
        let list = List::new();
        for element in &elements {
            // SAFETY: each is pushed once; they outlive the list.
            unsafe { list.push_back(element) };
        }
        for n in 0..4 {
            // SAFETY: as above.
            assert_eq!(unsafe { list.pop_front() }.map(|e: &Element| e.0), Some(n));
        }
        assert!(list.is_empty());
    }

    #[test]
    fn an_element_leaves_from_any_place_and_may_come_back() {
        for leaver in 0..4 {
            let elements = elements();
            let list = List::new();
            for element in &elements {
                // SAFETY: each is pushed once; they outlive the list.
                unsafe { list.push_back(element) };
            }
            // SAFETY: it is in the list.
            unsafe { list.remove(&elements[leaver]) };
            assert!(!elements[leaver].1.is_linked());
            let mut expected: Vec<u32> = (0..4).filter(|n| *n != leaver as u32).collect();
            assert_eq!(contents(&list), expected);
            // SAFETY: it is in no list by now.
            unsafe { list.push_back(&elements[leaver]) };
            expected.push(leaver as u32);
            assert_eq!(contents(&list), expected);
        }
    }

    #[test]
    fn an_element_that_is_put_first_comes_out_first() {
        let elements = elements();
        let list = List::new();
        for element in &elements {
            // SAFETY: each is pushed once; they outlive the list.
            unsafe { list.push_front(element) };
        }
        assert_eq!(contents(&list), [3, 2, 1, 0]);
        // SAFETY: one thread, and the elements outlive the list.
        assert_eq!(unsafe { list.front() }.map(|element| element.0), Some(3));
        // SAFETY: it is in the list.
        unsafe { list.remove(&elements[0]) };
        // SAFETY: it is in no list by now.
        unsafe { list.push_back(&elements[0]) };
        assert_eq!(contents(&list), [3, 2, 1, 0]);
    }

    #[test]
    fn the_first_wanted_element_is_found_and_those_behind_it_are_not_looked_at() {
        let elements = elements();
        let list = List::new();
        for element in &elements {
            // SAFETY: each is pushed once; they outlive the list.
            unsafe { list.push_back(element) };
        }
        let mut seen = Vec::new();
        let wanted = |element: &Element| {
            seen.push(element.0);
            // SAFETY: it is in the list.
            unsafe { list.remove(element) };
            element.0 == 2
        };
        // SAFETY: one thread, and the elements outlive the list.
        let found = unsafe { list.find(wanted) };
        assert_eq!(found.map(|element| element.0), Some(2));
        assert_eq!((seen, contents(&list)), (vec![0, 1, 2], vec![3]));
    }
}
