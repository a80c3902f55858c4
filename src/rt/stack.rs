//! Task stacks: slots of one size in big mappings, and the register by which a fault handler knows them.
//!
//! A slot, from low to high addresses: the guard, the usable pages, and at their top end a few bytes of colour above
//! the base.
//!
//! 1. A slot that was handed out has a guard at its low end, and keeps it for as long as it is mapped.
//! 2. A slot is owned once: by a [`Slot`], or by its pool (in `returned`, or not yet carved from its slab).
//! 3. A slab is unmapped only when its pool owns all of its slots. A pool that is dropped before leaks its slabs:
//!    live stacks are never reused.
//! 4. A slab is in the register from before its first slot is handed out until just before it is unmapped.
//! 5. The register only grows, and its entries never move or go: it is read with loads alone, in a signal handler too.
//!
//! Guards are made by `MADV_GUARD_INSTALL`, which takes no mapping. Where the kernel does not know it (before Linux
//! 6.13) or refuses it (locked memory), they are made by `mprotect`, which takes two, out of a budget for the whole
//! process: at the limit of mappings (`vm.max_map_count`) `malloc` and `pthread_create` would fail as well.

use super::memcheck::Told;
use crate::sys::mem;
use corosensei::stack::{Stack, StackPointer};
use std::io;
use std::sync::atomic::{fence, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The least usable size: below it a formatted panic message or a debug build's `println!` is a gamble.
const MIN_SIZE: usize = 16 << 10;

/// The least size of a guard, which may be a page larger (see [`Layout::new`]). One page would be enough for Rust,
/// which touches every page of a large frame; C without stack probes can step over one. It is address space only.
const MIN_GUARD: usize = 16 << 10;

/// Slots in the first slab; each further slab has twice as many as the one before, up to [`MAX_SLAB`].
const FIRST_SLAB: usize = 64;

/// The most bytes of address space in a slab of more than one slot.
const MAX_SLAB: usize = if usize::BITS >= 64 { 2 << 30 } else { 64 << 20 };

/// The distance between two colours: a cache line.
const COLOUR_STEP: usize = 64;

/// The number of colours. The tops of all slots at the same offset in their pages would share one or two of the 64
/// sets of a first-level cache, and a ring of more than a few tasks would miss on every switch (20 ns instead of 8.5
/// for 1,000 tasks). 24 lines spread them over 1.5 KiB and leave the rest of the first page to the frames, so that a
/// shallow task still touches one page.
const COLOURS: usize = 24;

/// Coprime to [`COLOURS`], and more lines than a suspended task touches at its top: neighbours do not overlap.
const COLOUR_STRIDE: usize = 7;

/// Mappings that a guard by `mprotect` takes: itself, and the slot that it cuts off from its neighbours.
const MAPPINGS_PER_GUARD: usize = 2;

/// One stack. Neither `Copy` nor `Clone`: whoever has it owns the memory. Dropping it leaks the memory;
/// [`StackPool::put`] gives it back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The first frame grows down from here: the end of the slot less its colour.
    base: StackPointer,
    /// The low end of the guard.
    limit: StackPointer,
}

// SAFETY: by 1 there is a guard, and MIN_SIZE less the colours is more than enough. Both ends are multiples of
// COLOUR_STEP.
unsafe impl Stack for Slot {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// The stacks of one size of one worker.
#[derive(Debug)]
pub(crate) struct StackPool {
    layout: Layout,
    /// Those before `current` are carved completely, those behind it not at all.
    slabs: Vec<Slab>,
    /// The slab from which the next new slot comes, when there is one.
    current: usize,
    /// Slots in all slabs.
    mapped: usize,
    /// Slots that were handed out and not put back.
    live: usize,
    /// Slots that were put back; the last is the next to go.
    returned: Vec<Slot>,
    guards: Guards,
}

impl StackPool {
    /// A pool of stacks of at least `size` usable bytes, of which the colours take up to 1.5 KiB: rounded up to whole
    /// pages, and to 16 KiB. Maps nothing yet.
    pub(crate) fn new(size: usize) -> StackPool {
        StackPool::with_guards(size, Guards::of_this_kernel())
    }

    /// A pool that guards as old kernels must, with a budget of its own.
    #[cfg(test)]
    pub(crate) fn with_mprotect(size: usize, budget: &'static Budget) -> StackPool {
        StackPool::with_guards(
            size,
            Guards {
                kind: GuardKind::Protect,
                advised: 0,
                claimed: 0,
                protected: 0,
                budget,
            },
        )
    }

    fn with_guards(size: usize, guards: Guards) -> StackPool {
        let layout = Layout::new(size, mem::page_size());
        StackPool {
            layout,
            slabs: Vec::new(),
            current: 0,
            mapped: 0,
            live: 0,
            returned: Vec::new(),
            guards,
        }
    }

    /// How many slots are handed out.
    #[cfg(test)]
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many slots were put back and wait to be taken again.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.returned.len()
    }

    /// How many slots have address space.
    #[cfg(test)]
    pub(crate) fn mapped(&self) -> usize {
        self.mapped
    }

    /// Makes sure that this pool can have `slots` slots in all, those already out included: maps address space, and
    /// claims mappings for guards.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`: no address space, or the budget of mappings is used up. The pool is then as it was.
    pub(crate) fn reserve(&mut self, slots: usize) -> io::Result<()> {
        if slots > self.mapped {
            self.layout.probe(slots - self.mapped)?;
        }
        let (slabs, claimed) = (self.slabs.len(), self.guards.claimed);
        self.guards.claim(slots)?;
        while self.mapped < slots {
            if let Err(error) = self.grow(slots - self.mapped) {
                self.shrink(slabs);
                self.guards.give_back(claimed);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The slot that was put back last, or a new one.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` when a new one is needed and there is no address space, or no mapping for its guard; never below
    /// what was [reserved] (unless memory is locked in between).
    ///
    /// [reserved]: StackPool::reserve
    #[inline]
    pub(crate) fn take(&mut self) -> io::Result<Slot> {
        let slot = match self.returned.pop() {
            Some(slot) => slot,
            None => self.carve()?,
        };
        self.live += 1;
        Ok(slot)
    }

    /// Takes a slot back as it is: its memory goes when the pool is dropped, which is what the caller will do next.
    ///
    /// # Panics
    ///
    /// The slot comes from another pool.
    pub(crate) fn put_last(&mut self, slot: Slot) {
        self.expect_ours(&slot);
        self.live -= 1;
        self.returned.push(slot);
    }

    /// Takes a slot back and gives its memory to the system; its guard stays.
    ///
    /// # Panics
    ///
    /// The slot comes from another pool.
    pub(crate) fn put(&mut self, slot: Slot) {
        self.expect_ours(&slot);
        let usable = (slot.limit.get() + self.layout.guard) as *mut u8;
        // SAFETY: the usable pages of a slot that `slot` owned, by 2; nothing on them is needed. Refused for locked
        // memory, which then stays.
        let _best_effort = unsafe { mem::discard(usable, self.layout.size) };
        self.live -= 1;
        self.returned.push(slot);
    }

    fn expect_ours(&self, slot: &Slot) {
        let start = slot.limit.get();
        let ours = self
            .slabs
            .iter()
            .any(|slab| slab.contains(start, self.layout));
        assert!(ours, "a stack was put into a pool that it is not from");
    }

    /// A slot that never was handed out.
    #[cold]
    fn carve(&mut self) -> io::Result<Slot> {
        while self.slabs.get(self.current).is_some_and(Slab::is_carved) {
            self.current += 1;
        }
        if self.current == self.slabs.len() {
            self.grow(1)?;
        }
        let slab = &mut self.slabs[self.current];
        let start = slab.start + slab.carved * self.layout.stride;
        // SAFETY: by 2 nobody else owns the slot.
        unsafe { self.guards.install(start as *mut u8, self.layout.guard) }?;
        let slot = self.layout.slot(start, slab.carved);
        let guard = self.layout.guard;
        slab.told.of_stack(start + guard, self.layout.size);
        slab.carved += 1;
        Ok(slot)
    }

    /// Maps one slab, for `missing` slots if they fit in one.
    fn grow(&mut self, missing: usize) -> io::Result<()> {
        let wanted = self
            .slabs
            .last()
            .map_or(FIRST_SLAB, |slab| slab.slots.saturating_mul(2))
            .max(missing);
        let slab = Slab::map(wanted, self.layout)?;
        self.mapped += slab.slots;
        self.slabs.push(slab);
        Ok(())
    }

    /// Unmaps all but the first `slabs`, of which no slot is out.
    fn shrink(&mut self, slabs: usize) {
        for slab in self.slabs.drain(slabs..) {
            self.mapped -= slab.slots;
            slab.unmap(self.layout);
        }
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        if self.live > 0 {
            return; // by 3; the register keeps the slabs, so that an overflow of a live stack is still known
        }
        self.shrink(0);
        self.guards.give_back(0);
    }
}

/// The geometry of a slot, in bytes; all are whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// At the high end: what a task may use, colour included.
    size: usize,
    /// At the low end.
    guard: usize,
    /// From one slot to the next: the sum of the two.
    stride: usize,
}

impl Layout {
    /// The guard is a page larger where the stride would be an even number of pages: the tops of all slots would fall
    /// into a few sets of the translation cache (a ring of 64 tasks that touch two lines each: 5.6 ns a hop with 20
    /// pages from slot to slot, 1.9 ns with 21).
    ///
    /// An absurd size becomes one that cannot be mapped, so that the error is the mapping's.
    fn new(size: usize, page: usize) -> Layout {
        let size = size
            .clamp(MIN_SIZE, isize::MAX as usize / 4)
            .next_multiple_of(page);
        let mut guard = MIN_GUARD.next_multiple_of(page);
        if ((size + guard) / page).is_multiple_of(2) {
            guard += page;
        }
        Layout {
            size,
            guard,
            stride: size + guard,
        }
    }

    /// Whether there are addresses for so many slots: in one piece, so as not to take all that there are, slab by slab,
    /// only to find that they are not enough.
    fn probe(self, slots: usize) -> io::Result<()> {
        let len = slots.saturating_mul(self.stride);
        let start = mem::reserve(len).map_err(|error| no_address_space(self, &error))?;
        // SAFETY: mapped above, and ours alone.
        unsafe { mem::release(start, len) }
    }

    /// Slot `index` of a slab, which starts at `start`.
    fn slot(self, start: usize, index: usize) -> Slot {
        let colour = index * COLOUR_STRIDE % COLOURS * COLOUR_STEP;
        let address =
            |value| StackPointer::new(value).expect("a slab does not lie at address zero");
        Slot {
            base: address(start + self.stride - colour),
            limit: address(start),
        }
    }
}

/// One mapping, full of slots.
#[derive(Debug)]
struct Slab {
    start: usize,
    /// How many slots it has.
    slots: usize,
    /// How many of them were ever handed out: the lowest ones.
    carved: usize,
    /// Where the fault handler finds it.
    entry: &'static Entry,
    told: Told,
}

/// Address space that is left for others when stacks take the rest: without it the next allocation would end the process,
/// where the promise of one stack less is an error.
const HEADROOM: usize = if usize::BITS == 64 {
    64 << 20
} else {
    16 << 20
};

/// Maps `len` bytes if [`HEADROOM`] is left after that.
fn reserve_with_headroom(len: usize) -> io::Result<*mut u8> {
    let start = mem::reserve(len + HEADROOM)?;
    // SAFETY: the end of what was mapped above.
    unsafe { mem::release(start.wrapping_add(len), HEADROOM) }?;
    Ok(start)
}

impl Slab {
    /// Maps `wanted` slots, or as many as one slab may have and the system gives.
    fn map(wanted: usize, layout: Layout) -> io::Result<Slab> {
        let mut slots = wanted.min(MAX_SLAB / layout.stride).max(1);
        // Address space may be short (RLIMIT_AS) or counted (vm.overcommit_memory = 2): ask for less before giving up.
        let start = loop {
            match reserve_with_headroom(slots * layout.stride) {
                Ok(start) => break start as usize,
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => return Err(no_address_space(layout, &error)),
            }
        };
        Ok(Slab {
            start,
            slots,
            carved: 0,
            entry: REGISTER.add(start, slots, layout),
            told: Told::none(),
        })
    }

    /// Only when all of its slots are back, by 3.
    fn unmap(self, layout: Layout) {
        // First out of the register: another thread may map something else here at once.
        REGISTER.remove(self.entry);
        // SAFETY: our mapping, and by 3 no slot of it is out.
        let unmapped = unsafe { mem::release(self.start as *mut u8, self.slots * layout.stride) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }

    fn contains(&self, address: usize, layout: Layout) -> bool {
        (self.start..self.start + self.slots * layout.stride).contains(&address)
    }

    fn is_carved(&self) -> bool {
        self.carved == self.slots
    }
}

#[cold]
fn no_address_space(layout: Layout, error: &io::Error) -> io::Error {
    let message = format!(
        "no address space for a task stack of {} KiB: {error}",
        layout.size >> 10
    );
    io::Error::new(io::ErrorKind::OutOfMemory, message)
}

/// How a pool makes its guards, and what they cost.
#[derive(Debug)]
struct Guards {
    kind: GuardKind,
    /// Guards made by advice.
    advised: usize,
    /// Guards that `budget` has been charged for.
    claimed: usize,
    /// Guards made by `mprotect`; never more than `claimed`.
    protected: usize,
    budget: &'static Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GuardKind {
    /// `MADV_GUARD_INSTALL`.
    Advise,
    /// `mprotect`, within the budget.
    Protect,
}

impl Guards {
    fn of_this_kernel() -> Guards {
        Guards {
            kind: GuardKind::of_this_kernel(),
            advised: 0,
            claimed: 0,
            protected: 0,
            budget: &BUDGET,
        }
    }

    /// Makes sure that there can be `guards` guards in all.
    fn claim(&mut self, guards: usize) -> io::Result<()> {
        if self.kind == GuardKind::Advise {
            return Ok(());
        }
        let missing = guards.saturating_sub(self.advised + self.claimed);
        self.budget
            .claim(missing.saturating_mul(MAPPINGS_PER_GUARD))?;
        self.claimed += missing;
        Ok(())
    }

    /// Makes a guard.
    ///
    /// # Safety
    ///
    /// The caller owns the range: whole pages of an anonymous mapping.
    unsafe fn install(&mut self, start: *mut u8, len: usize) -> io::Result<()> {
        if self.kind == GuardKind::Advise {
            // SAFETY: the caller owns the range.
            match unsafe { mem::guard_install(start, len) } {
                Ok(()) => {
                    self.advised += 1;
                    return Ok(());
                }
                // Locked since the kernel was asked (`mlockall`).
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.kind = GuardKind::Protect
                }
                Err(error) => return Err(error),
            }
        }
        self.claim(self.advised + self.protected + 1)?;
        // SAFETY: the caller owns the range.
        unsafe { mem::protect_none(start, len) }
            .map_err(|error| self.budget.exhausted(Some(&error)))?;
        self.protected += 1;
        Ok(())
    }

    /// Gives back all claims but `kept`.
    fn give_back(&mut self, kept: usize) {
        self.budget
            .give_back((self.claimed - kept) * MAPPINGS_PER_GUARD);
        self.claimed = kept;
    }
}

impl GuardKind {
    /// Asks the kernel, once per process, and does not take its word for it: an emulator may accept every advice and
    /// follow none.
    fn of_this_kernel() -> GuardKind {
        static KIND: OnceLock<GuardKind> = OnceLock::new();
        *KIND.get_or_init(|| match advice_guards() {
            Ok(true) => GuardKind::Advise,
            Ok(false) | Err(_) => GuardKind::Protect,
        })
    }
}

/// Whether a page can be guarded by advice: guards one and looks.
fn advice_guards() -> io::Result<bool> {
    let page = mem::page_size();
    let start = mem::reserve(page)?;
    // SAFETY: mapped above, and ours alone.
    let advised = unsafe { mem::guard_install(start, page) }.is_ok();
    // Without a descriptor to look with, the kernel's word must do.
    let guarded = advised && !mem::is_readable(start).unwrap_or(false);
    // SAFETY: as above, and nobody needs it any more.
    unsafe { mem::release(start, page) }?;
    Ok(guarded)
}

/// The mappings that guards by `mprotect` may take, over all pools.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    /// Read from the system at the first claim.
    limit: OnceLock<usize>,
}

/// The process's: half of what the kernel allows, which leaves the other half to everybody else.
static BUDGET: Budget = Budget {
    used: AtomicUsize::new(0),
    limit: OnceLock::new(),
};

impl Budget {
    #[cfg(test)]
    pub(crate) fn leaked(limit: usize) -> &'static Budget {
        Box::leak(Box::new(Budget {
            used: AtomicUsize::new(0),
            limit: OnceLock::from(limit),
        }))
    }

    fn limit(&self) -> usize {
        *self.limit.get_or_init(|| mem::max_map_count() / 2)
    }

    fn claim(&self, mappings: usize) -> io::Result<()> {
        let limit = self.limit();
        let claim = |used: usize| used.checked_add(mappings).filter(|&sum| sum <= limit);
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim)
        {
            Ok(_before) => Ok(()),
            Err(_full) => Err(self.exhausted(None)),
        }
    }

    fn give_back(&self, mappings: usize) {
        self.used.fetch_sub(mappings, Ordering::Relaxed);
    }

    /// `cause` is what the system said when it refused before we did.
    #[cold]
    fn exhausted(&self, cause: Option<&io::Error>) -> io::Error {
        let (used, limit) = (self.used.load(Ordering::Relaxed), self.limit());
        let cause = cause.map_or(String::new(), |cause| format!(" ({cause})"));
        let message = format!(
            "no memory mapping left for the guard page of a task stack{cause}: without \
             MADV_GUARD_INSTALL (Linux 6.13) each takes {MAPPINGS_PER_GUARD}, and {used} of a budget of {limit}, half \
             of vm.max_map_count, are in use; raise vm.max_map_count"
        );
        io::Error::new(io::ErrorKind::OutOfMemory, message)
    }
}

/// What the register knows about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The usable bytes of the stack whose slot the address is in.
    pub(crate) usable_size: usize,
    /// Where that slot ends: its highest address, and one.
    pub(crate) end: usize,
    /// Whether it is in the guard of that slot, so that touching it faults.
    pub(crate) in_guard: bool,
}

impl Hit {
    /// How many bytes of the stack were touched, to whole pages: from the lowest page that has memory up. By whoever has had it
    /// since its memory was last given to the system. `None` if the system does not say.
    pub(crate) fn touched(&self) -> Option<usize> {
        let mut resident = [0_u8; 64];
        let page = mem::page_size();
        let start = self.end - self.usable_size;
        for chunk in (start..self.end).step_by(page * resident.len()) {
            let pages = resident.len().min((self.end - chunk) / page);
            mem::resident(chunk as *const u8, &mut resident[..pages]).ok()?;
            if let Some(first) = resident[..pages].iter().position(|page| page & 1 != 0) {
                return Some(self.end - (chunk + first * page));
            }
        }
        Some(0)
    }
}

/// The slot in which `address` lies, of any pool of this process. Async-signal-safe: loads alone.
pub(crate) fn find(address: usize) -> Option<Hit> {
    REGISTER.find(address)
}

/// How many slabs are mapped, of all pools.
#[cfg(multitask_faults)]
pub(crate) fn slabs_in_use() -> usize {
    let is_alive = |entry: &&Entry| entry.turn.load(Ordering::Relaxed).is_multiple_of(2);
    REGISTER.entries().filter(is_alive).count()
}

static REGISTER: Register = Register {
    head: AtomicPtr::new(std::ptr::null_mut()),
    writers: Mutex::new(()),
};

/// Every slab of this process: a list that only grows, of leaked entries, which are reused.
struct Register {
    head: AtomicPtr<Entry>,
    /// Held by whoever adds or removes; a reader needs no lock.
    writers: Mutex<()>,
}

/// A slab, or a place for one. Written under `writers`, read by anybody: a sequence lock in which `turn` is odd while
/// the rest means nothing.
#[derive(Debug)]
struct Entry {
    /// Even: alive. Odd: dead, or being written.
    turn: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    guard: AtomicUsize,
    stride: AtomicUsize,
    /// The entry that was added before this one. Never changes.
    next: Option<&'static Entry>,
}

impl Register {
    fn add(&self, start: usize, slots: usize, layout: Layout) -> &'static Entry {
        let _only_writer = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = self
            .entries()
            .find(|entry| !entry.turn.load(Ordering::Relaxed).is_multiple_of(2));
        let entry = dead.unwrap_or_else(|| self.append());
        entry.revive(start, slots, layout);
        entry
    }

    fn remove(&self, entry: &'static Entry) {
        let _only_writer = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        entry.die();
    }

    /// An address in a slab with a live slot is always found: by 3 and 4 its entry does not change. For any other, a
    /// slab that comes or goes meanwhile may be missed.
    fn find(&self, address: usize) -> Option<Hit> {
        self.entries().find_map(|entry| entry.find(address))
    }

    /// A dead entry at the head of the list.
    fn append(&self) -> &'static Entry {
        let entry = Box::leak(Box::new(Entry {
            turn: AtomicUsize::new(1),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            guard: AtomicUsize::new(0),
            stride: AtomicUsize::new(1),
            next: self.first(),
        }));
        // Only the holder of `writers` stores here.
        self.head.store(entry, Ordering::Release);
        entry
    }

    fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        std::iter::successors(self.first(), |entry| entry.next)
    }

    fn first(&self) -> Option<&'static Entry> {
        let head = self.head.load(Ordering::Acquire);
        // SAFETY: null, or a leaked entry, complete before it was stored.
        unsafe { head.as_ref() }
    }
}

impl Entry {
    /// Only while dead, and by the holder of `writers`.
    fn revive(&self, start: usize, slots: usize, layout: Layout) {
        // The turn went odd when the entry died; a reader that sees one of these sees that too.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end
            .store(start + slots * layout.stride, Ordering::Relaxed);
        self.guard.store(layout.guard, Ordering::Relaxed);
        self.stride.store(layout.stride, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Release);
    }

    /// Only while alive, and by the holder of `writers`.
    fn die(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    fn find(&self, address: usize) -> Option<Hit> {
        let turn = self.turn.load(Ordering::Acquire);
        let (start, end) = (
            self.start.load(Ordering::Relaxed),
            self.end.load(Ordering::Relaxed),
        );
        let (guard, stride) = (
            self.guard.load(Ordering::Relaxed),
            self.stride.load(Ordering::Relaxed),
        );
        fence(Ordering::Acquire);
        let is_whole = turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
        if !is_whole || !(start..end).contains(&address) {
            return None;
        }
        let within = (address - start) % stride;
        Some(Hit {
            usable_size: stride - guard,
            end: address - within + stride,
            in_guard: within < guard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    const SIZE: usize = 64 << 10;

    fn usable(slot: &Slot, pool: &StackPool) -> Range<usize> {
        slot.limit.get() + pool.layout.guard..slot.base.get()
    }

    fn is_readable(address: usize) -> bool {
        mem::is_readable(address as *const u8).expect("descriptors for a pipe")
    }

    fn take_all(pool: &mut StackPool, slots: usize) -> Vec<Slot> {
        (0..slots)
            .map(|_| pool.take().expect("address space"))
            .collect()
    }

    fn put_all(pool: &mut StackPool, slots: Vec<Slot>) {
        slots.into_iter().for_each(|slot| pool.put(slot));
    }

    /// One pool of each kind.
    fn pools() -> [StackPool; 2] {
        [
            StackPool::new(SIZE),
            StackPool::with_mprotect(SIZE, Budget::leaked(10_000)),
        ]
    }

    #[test]
    fn a_slot_is_two_words_and_an_optional_one_too() {
        assert_eq!(size_of::<Slot>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Option<Slot>>(), 2 * size_of::<usize>());
    }

    #[test]
    fn every_page_of_the_guard_faults_and_every_usable_page_does_not() {
        for mut pool in pools() {
            for slot in take_all(&mut pool, 3) {
                let (limit, usable) = (slot.limit.get(), usable(&slot, &pool));
                let page = mem::page_size();
                assert!((limit..usable.start)
                    .step_by(page)
                    .all(|address| !is_readable(address)));
                assert!(usable.step_by(page).all(is_readable));
            }
        }
    }

    #[test]
    fn a_guard_survives_put_and_take() {
        for mut pool in pools() {
            let slot = pool.take().expect("address space");
            let limit = slot.limit;
            pool.put(slot);
            let slot = pool.take().expect("one is there");
            assert_eq!(slot.limit, limit);
            assert!(!is_readable(limit.get()) && !is_readable(limit.get() + pool.layout.guard - 1));
        }
    }

    #[test]
    fn the_slot_put_back_last_is_taken_first() {
        let mut pool = StackPool::new(SIZE);
        let mut slots = take_all(&mut pool, 3);
        let last = slots.pop().expect("three");
        let (limit, first) = (last.limit, slots.remove(0));
        pool.put(first);
        pool.put(last);
        assert_eq!((pool.live(), pool.free()), (1, 2));
        assert_eq!(pool.take().expect("one is there").limit, limit);
    }

    #[test]
    fn slots_never_overlap_whatever_slab_they_are_from() {
        let mut pool = StackPool::new(1);
        let mut slots = take_all(&mut pool, 500);
        assert!(pool.slabs.len() > 1);
        slots.sort_by_key(|slot| slot.limit);
        assert!(slots.windows(2).all(|pair| pair[0].base <= pair[1].limit));
        put_all(&mut pool, slots);
    }

    #[test]
    fn a_size_is_rounded_up_and_never_down() {
        let page = mem::page_size();
        for size in [0, 1, MIN_SIZE, MIN_SIZE + 1, SIZE, SIZE + 1, 1 << 20] {
            let layout = Layout::new(size, page);
            assert!(layout.size >= size.max(MIN_SIZE) && layout.size < size.max(MIN_SIZE) + page);
            assert!(layout.guard >= MIN_GUARD && layout.guard.is_multiple_of(page));
            assert_eq!(layout.stride, layout.size + layout.guard);
            assert_eq!(layout.stride / page % 2, 1, "an odd number of pages");
        }
    }

    #[test]
    fn tops_use_every_colour_equally_and_leave_most_of_the_page() {
        let mut pool = StackPool::new(SIZE);
        let slots = take_all(&mut pool, 2 * COLOURS);
        let mut uses = [0; COLOURS];
        for slot in &slots {
            let colour = slot.limit.get() + pool.layout.stride - slot.base.get();
            assert_eq!(colour % COLOUR_STEP, 0);
            assert!(colour <= 1536);
            uses[colour / COLOUR_STEP] += 1;
        }
        assert_eq!(uses, [2; COLOURS]);
        let neighbours = slots.windows(2).map(|pair| {
            let offset = |slot: &Slot| slot.base.get() % 4096;
            offset(&pair[0]).abs_diff(offset(&pair[1]))
        });
        assert!(neighbours.min().expect("many") >= 7 * COLOUR_STEP);
        put_all(&mut pool, slots);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_hundred_thousand_guarded_slots_take_few_mappings() {
        if !advice_guards().expect("address space") {
            return; // an old kernel, or an emulator
        }
        let before = mem::mappings();
        let mut pool = StackPool::new(SIZE);
        let slots = take_all(&mut pool, 100_000);
        // Other tests map and unmap meanwhile, a few hundred at most.
        assert!(mem::mappings() < before + 500);
        assert!(!is_readable(slots[99_999].limit.get()));
        pool.live = 0; // the slots are not used: the slabs can go
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_million_slots_can_be_reserved_at_once() {
        if GuardKind::of_this_kernel() == GuardKind::Protect || usize::BITS < 64 {
            return;
        }
        let mut pool = StackPool::new(SIZE);
        pool.reserve(1_000_000).expect("address space");
        assert!(pool.mapped() >= 1_000_000 && pool.slabs.len() < 100);
        assert_eq!((pool.live(), pool.free()), (0, 0));
    }

    #[test]
    fn a_failed_reservation_leaves_the_pool_as_it_was() {
        let unlimited = Budget::leaked(usize::MAX);
        for mut pool in [
            StackPool::new(SIZE),
            StackPool::with_mprotect(SIZE, unlimited),
        ] {
            pool.reserve(10).expect("address space");
            let (mapped, used) = (pool.mapped(), unlimited.used.load(Ordering::Relaxed));
            for slots in [usize::MAX, usize::MAX / SIZE, usize::MAX / 256 / SIZE] {
                let error = pool.reserve(slots).expect_err("no machine has that");
                assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
                assert_eq!(
                    (pool.mapped(), unlimited.used.load(Ordering::Relaxed)),
                    (mapped, used)
                );
            }
            let slot = pool.take().expect("reserved");
            pool.put(slot);
        }
        assert_eq!(unlimited.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn shrinking_unmaps_the_last_slabs_and_no_other() {
        let mut pool = StackPool::new(SIZE);
        let slot = pool.take().expect("address space");
        let (slabs, mapped) = (pool.slabs.len(), pool.mapped());
        pool.grow(1_000).expect("address space");
        let added = pool.slabs[slabs].start;
        assert!(find(added).is_some_and(|hit| hit.usable_size == SIZE));
        pool.shrink(slabs);
        assert_eq!((pool.slabs.len(), pool.mapped()), (slabs, mapped));
        assert!(is_readable(slot.base.get() - 1));
        pool.put(slot);
    }

    #[test]
    fn reserving_maps_once_for_what_is_asked_and_nothing_for_what_is_there() {
        let mut pool = StackPool::new(SIZE);
        pool.reserve(1_000).expect("address space");
        let mapped = pool.mapped();
        assert_eq!(pool.slabs.len(), 1);
        let slots = take_all(&mut pool, 1_000);
        pool.reserve(1_000).expect("they exist");
        assert_eq!(pool.mapped(), mapped);
        put_all(&mut pool, slots);
    }

    // Elsewhere memory is given back when the system needs it.
    #[cfg(all(target_os = "linux", not(multitask_portable)))]
    #[test]
    fn a_slot_that_is_put_back_holds_no_memory() {
        // Resident memory of the process; the other tests use little beside the 60 MiB here.
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
            let pages = text.split(' ').nth(1).expect("a second field");
            pages.parse::<usize>().expect("a number") * mem::page_size()
        };
        let mut pool = StackPool::new(SIZE);
        let slots = take_all(&mut pool, 1_000);
        let empty = resident();
        for slot in &slots {
            for address in usable(slot, &pool).step_by(mem::page_size()) {
                // SAFETY: a usable page of a slot that we own.
                unsafe { (address as *mut u8).write(1) };
            }
        }
        assert!(resident() > empty + (40 << 20));
        put_all(&mut pool, slots);
        assert!(resident() < empty + (20 << 20));
        let slot = pool.take().expect("one is there");
        // SAFETY: a usable page of a slot that we own.
        assert_eq!(
            unsafe { (usable(&slot, &pool).start as *const u8).read() },
            0
        );
        pool.put(slot);
    }

    #[test]
    fn the_budget_of_mappings_ends_in_an_error_that_says_what_to_do() {
        let budget = Budget::leaked(20);
        let mut pool = StackPool::with_mprotect(SIZE, budget);
        let slots = take_all(&mut pool, 10);
        let error = pool.take().expect_err("the budget is used up");
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let message = error.to_string();
        assert!(message.contains("20 of a budget of 20"), "{message}");
        assert!(message.contains("raise vm.max_map_count"), "{message}");
        put_all(&mut pool, slots);
        assert!(pool.take().is_ok(), "a returned slot has its guard");
    }

    #[test]
    fn what_was_reserved_can_be_taken_though_others_use_up_the_budget() {
        let budget = Budget::leaked(20);
        let mut pool = StackPool::with_mprotect(SIZE, budget);
        pool.reserve(6).expect("within the budget");
        let mut other = StackPool::with_mprotect(SIZE, budget);
        assert_eq!(
            other.reserve(5).expect_err("over the budget").kind(),
            io::ErrorKind::OutOfMemory
        );
        let others = take_all(&mut other, 4);
        other.take().expect_err("over the budget");
        let slots = take_all(&mut pool, 6);
        put_all(&mut pool, slots);
        put_all(&mut other, others);
        assert_eq!(budget.used.load(Ordering::Relaxed), 20);
        drop((pool, other));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_failed_claim_takes_nothing_from_the_budget() {
        let budget = Budget::leaked(20);
        let mut pool = StackPool::with_mprotect(SIZE, budget);
        pool.reserve(11).expect_err("over the budget");
        pool.reserve(usize::MAX / 1024)
            .expect_err("over everything");
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        pool.reserve(10).expect("within the budget");
    }

    #[test]
    fn a_stack_larger_than_the_address_space_is_out_of_memory() {
        for size in [usize::MAX, isize::MAX as usize] {
            let error = StackPool::new(size)
                .take()
                .expect_err("no machine has that");
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            assert!(error
                .to_string()
                .starts_with("no address space for a task stack"));
        }
    }

    #[test]
    #[should_panic(expected = "a stack was put into a pool that it is not from")]
    fn a_slot_of_another_pool_is_refused() {
        let (mut mine, mut other) = (StackPool::new(SIZE), StackPool::new(SIZE));
        mine.reserve(1).expect("address space");
        mine.put(other.take().expect("address space"));
    }

    #[test]
    fn a_dropped_pool_leaks_its_slabs_only_while_a_slot_is_out() {
        let mut pool = StackPool::new(SIZE);
        let slot = pool.take().expect("address space");
        let guard = slot.limit.get();
        drop(pool);
        assert!(is_readable(slot.base.get() - 1), "a live stack stays");
        let hit = find(guard).expect("it is known");
        assert_eq!((hit.usable_size, hit.in_guard), (SIZE, true));

        let mut pool = StackPool::new(SIZE);
        let slot = pool.take().expect("address space");
        pool.put(slot);
        let entry = pool.slabs[0].entry;
        let turn = entry.turn.load(Ordering::Relaxed);
        drop(pool);
        assert!(
            entry.turn.load(Ordering::Relaxed) > turn,
            "unmapped, or even in use again"
        );
    }

    #[test]
    fn the_register_knows_guards_from_stacks_and_both_from_the_rest() {
        let mut pool = StackPool::new(SIZE);
        let slots = take_all(&mut pool, 2);
        for slot in &slots {
            let usable = usable(slot, &pool);
            let hit = |in_guard| {
                Some(Hit {
                    usable_size: SIZE,
                    end: slot.limit.get() + pool.layout.stride,
                    in_guard,
                })
            };
            assert_eq!(find(slot.limit.get()), hit(true));
            assert_eq!(find(usable.start - 1), hit(true));
            assert_eq!(find(usable.start), hit(false));
            assert_eq!(find(usable.end - 1), hit(false));
        }
        let local = 0;
        assert_eq!(find(std::ptr::from_ref(&local) as usize), None);
        assert_eq!(find(0), None);
        put_all(&mut pool, slots);
    }

    #[test]
    fn what_was_touched_reaches_up_from_the_lowest_page_until_it_is_given_back() {
        let page = mem::page_size();
        // More pages than are asked about at once.
        let mut pool = StackPool::new(150 * page);
        let slot = pool.take().expect("address space");
        let hit = find(slot.limit.get()).expect("it is known");
        assert_eq!(hit.touched(), Some(0));
        for depth in [1, 2, 64, 65, 149, 150] {
            let lowest = (hit.end - depth * page) as *mut u8;
            // SAFETY: in the slot, which is ours.
            unsafe { lowest.add(page - 1).write(1) };
            assert_eq!(hit.touched(), Some(depth * page));
        }
        pool.put(slot);
        // Elsewhere the system takes the memory when it needs some.
        #[cfg(all(target_os = "linux", not(multitask_portable)))]
        assert_eq!(hit.touched(), Some(0));
    }

    fn register() -> &'static Register {
        Box::leak(Box::new(Register {
            head: AtomicPtr::new(std::ptr::null_mut()),
            writers: Mutex::new(()),
        }))
    }

    #[test]
    fn a_removed_slab_is_not_found_and_its_entry_is_used_again() {
        let (register, layout) = (register(), Layout::new(SIZE, 4096));
        let [first, second] = [1 << 20, 2 << 20].map(|start| register.add(start, 1, layout));
        assert!(register.find(1 << 20).is_some() && register.find(2 << 20).is_some());
        register.remove(first);
        assert_eq!(register.find(1 << 20), None);
        assert!(register.find(2 << 20).is_some());
        assert!(std::ptr::eq(register.add(3 << 20, 1, layout), first));
        assert!(register.find(3 << 20).is_some());
        register.remove(second);
        assert_eq!(register.entries().count(), 2);
    }

    #[test]
    fn a_reader_never_sees_half_of_one_slab_and_half_of_another() {
        let (register, start) = (register(), 1 << 20);
        // They differ in everything but the start.
        let layouts = [16 << 10, (1 << 20) + 4096].map(|size| Layout::new(size, 4096));
        assert!(layouts[0].guard != layouts[1].guard);
        let entry = register.add(start, 1, layouts[0]);
        let whole = layouts.map(|layout| layout.size);
        let mut seen = [0_u64; 2];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for turn in 1..2_000_000 {
                    register.remove(entry);
                    assert!(std::ptr::eq(
                        entry,
                        register.add(start, 1, layouts[turn % 2])
                    ));
                }
            });
            while !writer.is_finished() {
                let Some(hit) = entry.find(start) else {
                    continue;
                };
                let which = whole.iter().position(|&size| size == hit.usable_size);
                seen[which.expect("one of the two")] += 1;
            }
        });
        assert!(seen != [0, 0]);
    }
}
