//! The floor: bare coroutines of corosensei, on slices of one mapping, without a scheduler.

use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::ptr;

pub type Yields = Yielder<(), ()>;

/// A coroutine that is told nothing and tells nothing.
pub struct Fiber(Coroutine<(), (), (), Slot>);

const SLOT: usize = 64 << 10;
/// The tops of stacks differ by so many bytes, in so many steps, lest they share the same sets of the cache.
const COLOUR: usize = 128;
const COLOURS: usize = 16;

/// Address space for stacks; it is never given back.
pub struct Stacks {
    next: usize,
    end: usize,
}

/// The stack of one fiber.
pub struct Slot {
    base: StackPointer,
    limit: StackPointer,
}

impl Stacks {
    pub fn new(count: usize) -> Stacks {
        let length = count * SLOT;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the system likes.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, rights, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "address space for {count} stacks");
        // SAFETY: the mapping is ours; huge pages would make every stack 64 KiB resident.
        unsafe { libc::madvise(start, length, libc::MADV_NOHUGEPAGE) };
        Stacks {
            next: start as usize,
            end: start as usize + length,
        }
    }

    pub fn slot(&mut self) -> Slot {
        assert!(self.next < self.end, "no more stacks than were asked for");
        let limit = self.next;
        self.next += SLOT;
        let colour = (limit / SLOT % COLOURS) * COLOUR;
        Slot {
            base: StackPointer::new(self.next - colour).expect("not at address 0"),
            limit: StackPointer::new(limit).expect("not at address 0"),
        }
    }
}

// SAFETY: a slice of a mapping that is never unmapped. There is no guard page: the bodies that run here are those of the benches, whose
// frames take a few hundred bytes of the 62 KiB.
unsafe impl Stack for Slot {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

impl Fiber {
    pub fn new(slot: Slot, body: impl FnOnce(&Yields) + 'static) -> Fiber {
        Fiber(Coroutine::with_stack(slot, move |yields, ()| body(yields)))
    }

    /// Lets it go on; false if it has ended.
    #[inline(always)]
    pub fn resume(&mut self) -> bool {
        matches!(self.0.resume(()), CoroutineResult::Yield(()))
    }

    /// The stack of one that has ended.
    pub fn into_slot(self) -> Slot {
        assert!(self.0.done(), "it has ended");
        self.0.into_stack()
    }
}

/// Resumes all in turn until all have ended.
pub fn take_turns(fibers: &mut [Fiber]) {
    let mut left = fibers.len();
    while left > 0 {
        left = 0;
        for fiber in &mut *fibers {
            left += usize::from(!fiber.0.done() && fiber.resume());
        }
    }
}
