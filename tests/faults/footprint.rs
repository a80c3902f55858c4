//! What the process has: everything that a run takes and has to give back.

use multitask::faults::{held, Held};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{read_dir, read_to_string};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The system's allocator, counting.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the process has, at a moment when nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    pub descriptors: usize,
    /// It has a child, be it a zombie.
    pub children: bool,
    pub held: Held,
    /// What may also be kept for the next time, so that it has to be seen growing.
    pub bytes: usize,
    pub mappings: usize,
}

impl Footprint {
    pub fn now() -> Footprint {
        let descriptors = read_dir("/proc/self/fd").unwrap().count();
        let mappings = read_to_string("/proc/self/maps").unwrap().lines().count();
        Footprint {
            descriptors,
            children: has_children(),
            held: held(),
            bytes: BYTES.load(Relaxed),
            mappings,
        }
    }

    /// Waits until all that has to be given back was: a thread of the pool may be about to close what a task has left to it.
    ///
    /// # Errors
    /// What there was too much of, after so long.
    pub fn returned(before: &Footprint, patience: Duration) -> Result<Footprint, String> {
        let end = Instant::now() + patience;
        loop {
            let now = Footprint::now();
            if now.is_back(before) {
                return Ok(now);
            }
            if Instant::now() > end {
                return Err(format!("before {before:?}, now {now:?}"));
            }
            thread::yield_now();
        }
    }

    fn is_back(&self, before: &Footprint) -> bool {
        let must = |it: &Footprint| {
            let held = (it.held.headers, it.held.homes, it.held.rooms);
            (it.descriptors, it.children, held)
        };
        must(self) == must(before)
    }

    /// Whether there is more of what may be kept for the next time: memory, and stacks on which a panic is set aside.
    pub fn has_grown(&self, before: &Footprint) -> bool {
        self.bytes > before.bytes
            || self.mappings > before.mappings
            || self.held.slabs > before.held.slabs
    }
}

fn has_children() -> bool {
    // SAFETY: all zero is valid.
    let mut info = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` outlives the call.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 }
}
