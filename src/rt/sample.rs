//! Where a task goes on, on a thread that does not come round to say it: a signal interrupts that thread for as long as it takes to copy the stack.
//! With the feature `stall-backtrace`; in all other builds its place is taken by `sample_off.rs`.
//!
//! 1. Who asks has a *turn*, one at a time in the process. The request is theirs, and what comes of it.
//! 2. The state of the request decides: who moves it from `ASKED` to `TAKING` writes `taken`, until `TAKEN` or `VAIN`; who asked moves it from there, or from
//!    `ASKED`, to `IDLE`. It has the number of the request in it, so that a signal that is late finds nothing, or a request that is meant for its thread as well.
//! 3. The handler does nothing but compare, and copy words of a task's stack. It takes no lock, allocates nothing, reads no thread-local but `errno`, and walks nothing.
//!    So it may run in the middle of `malloc`, or of the unwinder, and whatever is on the stack cannot lead it astray.
//! 4. It copies for the run that was asked for, or not at all: the worker marks its run, and the handler, on the thread of that worker, compares.
//! 5. A signal that is not ours goes to the handler that was there before.

use super::stack;
use super::walk::{walk, Copied};
use crate::sys::context::{ask, copy_words, this_thread, Errno, Registers, SIGNAL};
use crate::sys::signal::{c_int, Action, Disposition, Info};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::fmt::{self, Write};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// For how long a thread is waited for that may not get a processor.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two looks whether it has answered.
const PAUSE: Duration = Duration::from_micros(100);
/// So much of a stack is copied, from its top down to whoever was called first.
const WORDS: usize = (256 << 10) / size_of::<u64>();
/// So many calls are told of.
const CALLS: usize = 128;

// ---- what a worker says ----

/// What a worker says of itself, for the handler on its thread.
#[derive(Default)]
pub(super) struct Mark {
    /// Its thread; zero before its first run.
    thread: AtomicI32,
    /// The number of the run that goes on; zero if none does.
    run: AtomicU64,
}

impl Mark {
    pub(super) fn begin(&self, run: u64) {
        // Relaxed, all: the handler is on this thread.
        if self.thread.load(Ordering::Relaxed) == 0 {
            self.thread.store(this_thread(), Ordering::Relaxed);
        }
        self.run.store(run, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.run.store(0, Ordering::Relaxed);
    }
}

// ---- who asks ----

/// Puts the handler in front of the one that is there, once in the process.
pub(super) fn prepare() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Without it nobody answers.
        let _best_effort = Action::of(SIGNAL).and_then(|before| {
            BEFORE.get_or_init(|| before);
            // SAFETY: by 3 it can run anywhere.
            unsafe { Action::restarting(on_signal).install(SIGNAL) }
        });
    });
}

/// See 1.
pub(super) struct Turn(MutexGuard<'static, u64>);

/// Waits for the turn of whoever asks; for others who do so, not for a worker.
pub(super) fn turn() -> Turn {
    static TURN: Mutex<u64> = Mutex::new(0);
    Turn(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Turn {
    /// Asks the thread of a worker, which is in that run and does not end it meanwhile.
    pub(super) fn ask(mut self, mark: &Mark, run: u64) -> Option<Asked<'_>> {
        *self.0 += 1;
        let thread = mark.thread.load(Ordering::Relaxed);
        REQUEST.thread.store(thread, Ordering::Relaxed);
        REQUEST.run.store(run, Ordering::Relaxed);
        REQUEST
            .mark
            .store(ptr::from_ref(mark).cast_mut(), Ordering::Relaxed);
        let asked = Asked {
            number: *self.0,
            _turn: self,
            _mark: mark,
        };
        // Release: the handler that acquires it sees the three above.
        let state = asked.number << 3 | ASKED;
        let before = REQUEST.state.swap(state, Ordering::Release);
        debug_assert_eq!(before, IDLE, "the turn is ours");
        ask(thread, REQUEST.token()).is_ok().then_some(asked)
    }
}

/// A request that was sent. It is taken back when this is dropped.
pub(super) struct Asked<'a> {
    number: u64,
    _turn: Turn,
    /// The handler may look at it until then.
    _mark: &'a Mark,
}

impl Asked<'_> {
    /// What comes of it; blocks for a tenth of a second at the most, and for as long as the copying takes.
    pub(super) fn frames(self) -> Option<Frames> {
        let deadline = Instant::now() + PATIENCE;
        while self.phase() == ASKED && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        if self.settle() != TAKEN {
            return None;
        }
        // SAFETY: by 2 it is ours, and whoever wrote it has released it.
        let taken = unsafe { &*REQUEST.taken.get() };
        let stack = Copied {
            start: taken.start,
            words: &taken.stack[..taken.words],
        };
        let addresses = walk(taken.registers, stack, CALLS);
        Some(Frames::new(addresses))
    }

    fn phase(&self) -> u64 {
        let state = REQUEST.state.load(Ordering::Acquire);
        debug_assert!(state == IDLE || state >> 3 == self.number);
        state & 7
    }

    /// Takes back a request that nobody has begun to answer; waits for whoever has.
    fn settle(&self) -> u64 {
        let asked = self.number << 3 | ASKED;
        let taken_back =
            REQUEST
                .state
                .compare_exchange(asked, IDLE, Ordering::Relaxed, Ordering::Relaxed);
        if taken_back.is_ok() {
            return IDLE;
        }
        while self.phase() == TAKING {
            thread::sleep(PAUSE);
        }
        self.phase()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.settle();
        REQUEST.state.store(IDLE, Ordering::Relaxed);
    }
}

// ---- what happens on the signal ----

/// Nobody asks.
const IDLE: u64 = 0;
/// Nobody has answered.
const ASKED: u64 = 1;
/// The handler copies.
const TAKING: u64 = 2;
/// It has copied.
const TAKEN: u64 = 3;
/// There was nothing to copy: another run, or the thread was not on the stack of a task.
const VAIN: u64 = 4;

struct Request {
    /// The number of the request, times eight, and its phase.
    state: AtomicU64,
    thread: AtomicI32,
    run: AtomicU64,
    mark: AtomicPtr<Mark>,
    taken: UnsafeCell<Taken>,
}

struct Taken {
    registers: Registers,
    start: usize,
    words: usize,
    stack: [u64; WORDS],
}

// SAFETY: `taken` is used by one at a time, by 2.
unsafe impl Sync for Request {}

/// What takes memory in it is not touched before somebody asks.
static REQUEST: Request = Request {
    state: AtomicU64::new(IDLE),
    thread: AtomicI32::new(0),
    run: AtomicU64::new(0),
    mark: AtomicPtr::new(ptr::null_mut()),
    taken: UnsafeCell::new(Taken {
        registers: Registers([0; Registers::COUNT]),
        start: 0,
        words: 0,
        stack: [0; WORDS],
    }),
};

/// What happened on the signal before us.
static BEFORE: OnceLock<Action> = OnceLock::new();

/// # Safety
/// The kernel calls it, as a handler with SA_SIGINFO.
unsafe extern "C" fn on_signal(number: c_int, info: *mut Info, context: *mut c_void) {
    let _errno = Errno::keep();
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid one.
    if unsafe { &*info }.value() == Some(REQUEST.token()) {
        // SAFETY: the kernel's.
        unsafe { REQUEST.answer(context) };
        return;
    }
    match BEFORE.get().map(Action::disposition) {
        // SAFETY: called as the kernel would, and it was in force before us.
        Some(Disposition::Plain(handler)) => unsafe { handler(number) },
        // SAFETY: as above.
        Some(Disposition::Informed(handler)) => unsafe { handler(number, info, context) },
        // By default it is ignored, too.
        Some(Disposition::Default | Disposition::Ignore) | None => {}
    }
}

impl Request {
    /// By it the handler knows our signals.
    fn token(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// # Safety
    /// `context` is what the kernel gave to the handler.
    unsafe fn answer(&self, context: *mut c_void) {
        let asked = self.state.load(Ordering::Acquire);
        if asked & 7 != ASKED || self.thread.load(Ordering::Relaxed) != this_thread() {
            return;
        }
        let number = asked & !7;
        let taking = self.state.compare_exchange(
            asked,
            number | TAKING,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        // Who asked may take it back right now, and ask another: then the number is another.
        if taking.is_err() {
            return;
        }
        // SAFETY: whoever asked keeps it until the request is over.
        let mark = unsafe { &*self.mark.load(Ordering::Relaxed) };
        let is_meant = mark.run.load(Ordering::Relaxed) == self.run.load(Ordering::Relaxed);
        // SAFETY: the kernel's; and by 2 `taken` is ours.
        let has_taken = is_meant && unsafe { (*self.taken.get()).take(Registers::of(context)) };
        let phase = if has_taken { TAKEN } else { VAIN };
        self.state.store(number | phase, Ordering::Release);
    }
}

impl Taken {
    /// Copies the stack of the task in whose middle this thread is; false if it is in none.
    fn take(&mut self, registers: Registers) -> bool {
        let pointer = registers.0[Registers::STACK_POINTER] as usize;
        let Some(hit) = stack::find(pointer).filter(|hit| !hit.in_guard) else {
            return false;
        };
        let lowest = hit.end - hit.usable_size;
        let start = pointer.saturating_sub(Registers::RED_ZONE).max(lowest);
        self.start = start & !(size_of::<u64>() - 1);
        self.words = ((hit.end - self.start) / size_of::<u64>()).min(WORDS);
        self.registers = registers;
        // SAFETY: words of a stack that this thread runs on, all usable; and `words` is not more than we have.
        unsafe {
            copy_words(
                self.start as *const u64,
                self.stack.as_mut_ptr(),
                self.words,
            )
        };
        true
    }
}

// ---- what came of it ----

/// Where a task was: the calls that stood on its stack.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Of the instructions, innermost first.
    addresses: Vec<usize>,
    /// Their names, once they have been looked up.
    text: OnceLock<String>,
}

impl Frames {
    fn new(addresses: Vec<usize>) -> Self {
        Frames {
            addresses,
            text: OnceLock::new(),
        }
    }

    /// As std shows a backtrace.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut lines = Lines::default();
            self.addresses.iter().for_each(|at| lines.add(*at));
            lines.text
        })
    }
}

#[derive(Default)]
struct Lines {
    text: String,
    calls: usize,
}

impl Lines {
    /// The call that stands at this instruction, after those in it that were inlined.
    fn add(&mut self, at: usize) {
        let before = self.calls;
        // What is asked for is the address to which a call returns.
        let back = ptr::without_provenance_mut(at.wrapping_add(1));
        backtrace::resolve(back, |symbol| {
            match symbol.name() {
                Some(name) => self.add_call(format_args!("{name:#}")),
                None => self.add_call(format_args!("<unknown>")),
            }
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                let _infallible = write!(self.text, "{:13}at {}:{line}", "", file.display());
                let column = symbol.colno().map(|column| format!(":{column}"));
                self.text.push_str(&column.unwrap_or_default());
                self.text.push('\n');
            }
        });
        if self.calls == before {
            self.add_call(format_args!("<unknown>"));
        }
    }

    fn add_call(&mut self, name: fmt::Arguments<'_>) {
        let _infallible = writeln!(self.text, "{:>4}: {name}", self.calls);
        self.calls += 1;
    }
}
