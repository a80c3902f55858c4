//! What happens when a task overflows its stack: one line that names it, and the end of the process.
//!
//! A thread's own overflow is reported by std, which knows the guards of threads; a touched guard of ours would be a
//! bare `Segmentation fault`. So this handler goes in front of the one that was there:
//!
//! 1. A fault in a guard of a registered slab writes one line to standard error and aborts.
//! 2. Any other does what it would have done without us, std's own message included.
//! 3. Up to that decision, and all the way to the abort, nothing allocates, locks or formats: the thread may be
//!    anywhere.
//! 4. The handler runs on the thread's alternate signal stack, for which [`prepare_thread`] is there: the task has no
//!    stack left.

use crate::rt::stack;
use crate::sys::mem;
use crate::sys::signal::{self, c_int, Action, Disposition, Fault, Info};
use std::cell::RefCell;
use std::ffi::c_void;
use std::io;
use std::sync::{Once, OnceLock};

/// Says which task runs on the calling thread: calls what it is given with the task's name and number, or not at all.
///
/// It is called in a signal handler, on the alternate stack: it must not allocate, lock, or run destructors.
pub(crate) type Describe = fn(&mut dyn FnMut(Option<&str>, u64));

/// The usable bytes of an alternate signal stack that we make.
const ALTERNATE_STACK: usize = 64 << 10;

/// So many there have to be. For one line and the end of the process any will do; but std's is the least that the system allows, of which the
/// registers of a new processor may leave little, and a stall is looked at by a handler that has to come back (see `sample`).
const ENOUGH: usize = if cfg!(feature = "stall-backtrace") {
    32 << 10
} else {
    2 << 10
};

static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// What was done on each of [`Fault::ALL`] before us.
static PREVIOUS: [OnceLock<Action>; 2] = [OnceLock::new(), OnceLock::new()];

/// Puts the handler in front of the present one, once per process; the first `describe` counts. Costs one load from
/// then on.
pub(crate) fn install(describe: Describe) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        DESCRIBE.get_or_init(|| describe);
        for fault in Fault::ALL {
            // sigaction fails only for a bad signal number. If it did, overflows would be bare faults: no reason to
            // refuse to run.
            let _best_effort = install_for(fault);
        }
    });
}

/// Gives the calling thread an alternate signal stack if it has none, or one that is too small; threads made by std have one, if std has started the program.
///
/// It goes with the thread: 64 KiB of address space, of which a page or two is ever touched.
///
/// # Errors
///
/// No address space, or the thread is about to end. Tasks can run without it, but an overflow is then a bare fault.
pub(crate) fn prepare_thread() -> io::Result<()> {
    if signal::alternate_stack()?.is_some_and(|(_, len)| len >= ENOUGH) {
        return Ok(());
    }
    let given = |alternate: &RefCell<Option<Alternate>>| {
        let mut alternate = alternate.borrow_mut();
        if alternate.is_none() {
            *alternate = Some(Alternate::map()?);
        }
        alternate.as_ref().map_or(Ok(()), Alternate::give)
    };
    ALTERNATE.try_with(given).map_err(io::Error::other)?
}

thread_local! {
    /// What was given to this thread, if it had none.
    static ALTERNATE: RefCell<Option<Alternate>> = const { RefCell::new(None) };
}

/// A mapping of a thread's own: a guard, and above it the alternate signal stack.
struct Alternate {
    start: *mut u8,
    guard: usize,
}

impl Alternate {
    fn map() -> io::Result<Alternate> {
        let guard = mem::page_size();
        let start = mem::reserve(guard + ALTERNATE_STACK)?;
        let alternate = Alternate { start, guard };
        // SAFETY: the lowest page of what was mapped above.
        unsafe { mem::protect_none(start, guard) }?;
        Ok(alternate)
    }

    fn stack(&self) -> *mut u8 {
        self.start.wrapping_add(self.guard)
    }

    fn give(&self) -> io::Result<()> {
        // SAFETY: of our mapping all but the guard, which is the thread's until it ends: see `drop`.
        unsafe { signal::set_alternate_stack(self.stack(), ALTERNATE_STACK) }
    }
}

impl Drop for Alternate {
    /// With the thread. It may have another alternate stack by now; one that it runs on right now stays for ever.
    fn drop(&mut self) {
        let taken_away = match signal::alternate_stack() {
            Ok(Some((start, _))) if start == self.stack() => signal::disable_alternate_stack(),
            other => other.map(drop),
        };
        if taken_away.is_ok() {
            // SAFETY: our mapping; no signal is handled on it any more.
            let _best_effort = unsafe { mem::release(self.start, self.guard + ALTERNATE_STACK) };
        }
    }
}

fn install_for(fault: Fault) -> io::Result<()> {
    // Saved before the handler can run.
    let previous = Action::of(fault.number())?;
    PREVIOUS[fault as usize].get_or_init(|| previous);
    // SAFETY: by 3 `on_fault` can run anywhere.
    unsafe { Action::informed(on_fault).install(fault.number()) }
}

/// # Safety
/// The kernel calls it, as a handler with SA_SIGINFO.
unsafe extern "C" fn on_fault(number: c_int, info: *mut Info, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid one.
    let about = unsafe { &*info };
    if let Some(size) = overflowed(about) {
        report(size);
        std::process::abort();
    }
    let Some(fault) = Fault::from_number(number) else {
        return;
    };
    match PREVIOUS[fault as usize].get() {
        // SAFETY: the arguments are the kernel's, and `previous` was in force before us.
        Some(previous) => unsafe { as_before(previous, fault, info, context) },
        None => reset(fault, &Action::default()),
    }
}

/// The usable size of the stack whose guard was touched, if that is what happened.
fn overflowed(about: &Info) -> Option<usize> {
    if about.was_sent() {
        return None;
    }
    stack::find(about.address())
        .filter(|hit| hit.in_guard)
        .map(|hit| hit.usable_size)
}

/// One line, in one write, so that other threads' output cannot come between.
fn report(size: usize) {
    let mut line = Line::new();
    if let Some(describe) = DESCRIBE.get() {
        describe(&mut |name, id| {
            line.push_str("task '")
                .push_name(name.unwrap_or("<unnamed>"))
                .push_str("' (#")
                .push_number(id)
                .push_str(")");
        });
    }
    if line.is_empty() {
        line.push_str("a task");
    }
    line.push_str(" has overflowed its ")
        .push_number(size as u64 >> 10)
        .push_str(" KiB stack\n");
    signal::write_stderr(line.as_bytes());
}

/// Does what the kernel would have done had `previous` been in force. (But one thing cannot be: a handler without
/// `SA_ONSTACK` runs on the alternate stack nevertheless.)
///
/// # Safety
///
/// `info` and `context` are what the kernel gave, and `previous` was installed for `fault`.
unsafe fn as_before(previous: &Action, fault: Fault, info: *mut Info, context: *mut c_void) {
    // SAFETY: the kernel's.
    let was_sent = unsafe { &*info }.was_sent();
    match previous.disposition() {
        Disposition::Ignore if was_sent => return,
        // The access is repeated when we return, and the kernel does the rest: it kills for an ignored fault too.
        Disposition::Default | Disposition::Ignore => reset(fault, previous),
        Disposition::Plain(_) | Disposition::Informed(_) => {
            if previous.is_one_shot() {
                reset(fault, &Action::default());
            }
            let _best_effort = previous.block_mask(fault);
        }
    }
    match previous.disposition() {
        // A signal that was sent is not repeated.
        Disposition::Default if was_sent => drop(signal::raise(fault)),
        Disposition::Default | Disposition::Ignore => {}
        // SAFETY: called as the kernel would.
        Disposition::Plain(handler) => unsafe { handler(fault.number()) },
        // SAFETY: called as the kernel would.
        Disposition::Informed(handler) => unsafe { handler(fault.number(), info, context) },
    }
}

/// Takes our handler away.
fn reset(fault: Fault, to: &Action) {
    // SAFETY: only called with the default or an ignoring action: no handler.
    let _best_effort = unsafe { to.install(fault.number()) };
}

/// A line on the stack; what does not fit is cut off.
struct Line {
    bytes: [u8; Line::CAPACITY],
    len: usize,
}

impl Line {
    const CAPACITY: usize = 256;
    /// Leaves room for everything else in the line.
    const MAX_NAME: usize = 160;

    fn new() -> Line {
        Line {
            bytes: [0; Line::CAPACITY],
            len: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push_str(&mut self, text: &str) -> &mut Line {
        for &byte in text.as_bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
        self
    }

    /// At most [`Line::MAX_NAME`] bytes of it, and no line break in them.
    fn push_name(&mut self, name: &str) -> &mut Line {
        let end = self.len + Line::MAX_NAME;
        for letter in name.chars() {
            let mut utf8 = [0; 4];
            let text = if letter.is_control() {
                "?"
            } else {
                &*letter.encode_utf8(&mut utf8)
            };
            if self.len + text.len() > end {
                return self.push_str("...");
            }
            self.push_str(text);
        }
        self
    }

    fn push_number(&mut self, number: u64) -> &mut Line {
        if number >= 10 {
            self.push_number(number / 10);
        }
        let digit = b'0' + (number % 10) as u8;
        self.push_str(char::from(digit).encode_utf8(&mut [0; 4]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::stack::{Budget, StackPool};
    use corosensei::{Coroutine, CoroutineResult};
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SIGABRT: i32 = 6;
    const SIGSEGV: i32 = 11;
    /// Names the scenario in a process that a test started.
    const CHILD: &str = "OVERFLOW_CHILD";
    const SIZE: usize = 64 << 10;
    /// In the page at zero, which is never mapped.
    const NOWHERE: usize = 16;

    /// What a process of its own does, by name. Those that return end well.
    fn run(scenario: &str) {
        let describe: Describe = |report| report(Some("greedy"), 7);
        match scenario {
            "overflow" => {
                install(describe);
                overflow(StackPool::new(SIZE));
            }
            "overflow of an unnamed task" => {
                install(|report| report(None, 7));
                overflow(StackPool::new(SIZE));
            }
            "overflow outside of a task" => {
                install(|_report| ());
                overflow(StackPool::new(2 * SIZE));
            }
            "overflow over mprotect" => {
                install(describe);
                overflow(StackPool::with_mprotect(SIZE, Budget::leaked(10)));
            }
            "overflow of a recycled stack" => {
                install(describe);
                let mut pool = StackPool::new(SIZE);
                let slot = pool.take().expect("address space");
                pool.put(slot);
                overflow(pool);
            }
            "overflow on another thread" => {
                install(describe);
                std::thread::spawn(|| overflow(StackPool::new(SIZE)))
                    .join()
                    .expect("never here");
            }
            "overflow on a thread without an alternate stack" => {
                install(describe);
                let thread = std::thread::spawn(|| {
                    signal::disable_alternate_stack().expect("there is one");
                    prepare_thread().expect("address space");
                    overflow(StackPool::new(SIZE));
                });
                thread.join().expect("never here");
            }
            "overflow on an unprepared thread" => {
                install(describe);
                let thread = std::thread::spawn(|| {
                    signal::disable_alternate_stack().expect("there is one");
                    overflow(StackPool::new(SIZE));
                });
                thread.join().expect("never here");
            }
            "bad access in a task" => in_task(bad_access),
            "bad access" => bad_access(),
            "native overflow" => drop(black_box(recurse(0))),
            "native overflow on another thread" => {
                let thread = std::thread::Builder::new().name("native".into());
                let thread = thread.spawn(|| recurse(0)).expect("a thread");
                thread.join().expect("never here");
            }
            "sent" => {
                signal::raise(Fault::Segmentation).expect("a valid signal");
                std::process::exit(3);
            }
            "sent with the default action" => {
                put_first(&Action::default());
                signal::raise(Fault::Segmentation).expect("a valid signal");
                std::process::exit(3);
            }
            "bad access with the default action" => {
                put_first(&Action::default());
                in_task(bad_access);
            }
            "bad access with another handler" => {
                put_first(&Action::informed(other_handler));
                in_task(bad_access);
            }
            "bad access with a handler for one time" => {
                put_first(&Action::once(idle_handler));
                in_task(bad_access);
            }
            "bad access with a handler that faults" => {
                put_first(&Action::blocking(faulting_handler));
                in_task(bad_access);
            }
            "jump onto the stack" => in_task(jump_onto_the_stack),
            unknown => panic!("no scenario {unknown}"),
        }
    }

    /// Makes `action` the one that was there before us, if we come.
    fn put_first(action: &Action) {
        // SAFETY: the default, or `other_handler`, which only calls `write` and `sigaction`.
        unsafe { action.install(Fault::Segmentation.number()) }.expect("a valid signal");
        if std::env::var_os(INSTALL).is_some() {
            install(|report| report(Some("greedy"), 7));
        }
    }

    /// Set in a child in which a scenario of [`same_with_and_without_us`] runs with our handler.
    const INSTALL: &str = "OVERFLOW_INSTALL";

    unsafe extern "C" fn other_handler(number: c_int, info: *mut Info, context: *mut c_void) {
        // SAFETY: the kernel's, or what our handler handed on.
        let address = unsafe { &*info }.address();
        let mut line = Line::new();
        line.push_str("signal ")
            .push_number(number as u64)
            .push_str(" at ")
            .push_number(address as u64);
        line.push_str(if context.is_null() {
            " without context\n"
        } else {
            "\n"
        });
        signal::write_stderr(line.as_bytes());
        reset(Fault::Segmentation, &Action::default());
    }

    /// Lets the fault come back. Gives up after a few.
    unsafe extern "C" fn idle_handler(_number: c_int, _info: *mut Info, _context: *mut c_void) {
        static TURNS: AtomicUsize = AtomicUsize::new(0);
        signal::write_stderr(b"handled\n");
        if TURNS.fetch_add(1, Ordering::Relaxed) == 3 {
            std::process::abort();
        }
    }

    unsafe extern "C" fn faulting_handler(_number: c_int, _info: *mut Info, _context: *mut c_void) {
        // SAFETY: this one does not care what it is given.
        unsafe { idle_handler(_number, _info, _context) };
        bad_access();
    }

    fn overflow(mut pool: StackPool) {
        let slot = pool.take().expect("address space");
        let mut task = Coroutine::<(), (), u64, _>::with_stack(slot, |_, ()| recurse(0));
        task.resume(());
    }

    fn in_task(f: impl FnOnce() + 'static) {
        let slot = StackPool::new(SIZE).take().expect("address space");
        let mut task = Coroutine::<(), (), (), _>::with_stack(slot, |_, ()| f());
        assert!(matches!(task.resume(()), CoroutineResult::Return(())));
    }

    #[allow(unconditional_recursion)]
    fn recurse(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        recurse(depth + 1) + frame[depth as usize % 64]
    }

    fn bad_access() {
        // SAFETY: none; this is the crash that the test is about, in a process of its own.
        unsafe { black_box(std::ptr::without_provenance::<u64>(NOWHERE)).read_volatile() };
    }

    /// A fault at an address in a slot, but not in its guard: stacks are not executable.
    fn jump_onto_the_stack() {
        let target = black_box([0_u64; 8]);
        // SAFETY: none; this is the crash that the test is about, in a process of its own.
        let jump = unsafe { std::mem::transmute::<*const u64, extern "C" fn()>(target.as_ptr()) };
        jump();
    }

    /// Not a test of its own: what the children of the others run.
    #[test]
    fn child() {
        let Ok(scenario) = std::env::var(CHILD) else {
            return;
        };
        if std::env::var_os(INSTALL).is_some() && !scenario.contains("with ") {
            install(|report| report(Some("greedy"), 7));
        }
        run(&scenario);
    }

    fn child_doing(scenario: &str, installed: bool) -> Output {
        let module = module_path!()
            .split_once("::")
            .expect("a module of a crate")
            .1;
        let mut child = Command::new(std::env::current_exe().expect("this test's own path"));
        child.args([
            &format!("{module}::child"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ]);
        child.env(CHILD, scenario);
        if installed {
            child.env(INSTALL, "1");
        }
        let mut output = child.output().expect("the test binary runs again");
        // Less the obituary that an emulator adds.
        let said = output.stderr.split_inclusive(|&byte| byte == b'\n');
        let said = said.filter(|line| !line.starts_with(b"qemu: uncaught target signal"));
        output.stderr = said.flatten().copied().collect();
        output
    }

    fn stderr(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn assert_says(scenario: &str, expected: &str) {
        let output = child_doing(scenario, false);
        assert_eq!(stderr(&output), expected, "{scenario}");
        assert_eq!(output.status.signal(), Some(SIGABRT), "{scenario}");
    }

    const GREEDY: &str = "task 'greedy' (#7) has overflowed its 64 KiB stack\n";

    #[test]
    fn an_overflow_says_one_line_and_aborts() {
        assert_says("overflow", GREEDY);
    }

    #[test]
    fn an_overflow_on_another_thread_says_so_too() {
        assert_says("overflow on another thread", GREEDY);
    }

    #[test]
    fn a_prepared_thread_reports_an_overflow_and_an_unprepared_one_cannot() {
        assert_says("overflow on a thread without an alternate stack", GREEDY);
        let output = child_doing("overflow on an unprepared thread", false);
        assert_eq!(
            (stderr(&output).as_str(), output.status.signal()),
            ("", Some(SIGSEGV))
        );
    }

    #[test]
    fn a_prepared_thread_has_an_alternate_stack_that_is_enough() {
        let size = || Some(signal::alternate_stack().expect("valid")?.1);
        std::thread::spawn(move || {
            let given = size();
            prepare_thread().expect("address space");
            let has = size().expect("it was given one");
            assert!(has >= ENOUGH && Some(has) >= given);
            prepare_thread().expect("it has one");
            assert_eq!(size(), Some(has));
        })
        .join()
        .expect("the thread does not panic");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_alternate_stack_goes_with_its_thread() {
        let before = mem::mappings();
        for _ in 0..1_000 {
            let thread = std::thread::spawn(|| {
                signal::disable_alternate_stack().expect("there is one");
                prepare_thread().expect("address space");
                assert!(signal::alternate_stack().expect("valid").is_some());
            });
            thread.join().expect("the thread does not panic");
        }
        // Other tests map and unmap meanwhile, a few hundred at most.
        assert!(mem::mappings() < before + 500);
    }

    #[test]
    fn an_overflow_over_a_guard_by_mprotect_is_known_as_well() {
        assert_says("overflow over mprotect", GREEDY);
    }

    #[test]
    fn a_recycled_stack_still_has_its_guard() {
        assert_says("overflow of a recycled stack", GREEDY);
    }

    #[test]
    fn a_task_without_a_name_or_without_a_description_is_reported_all_the_same() {
        let unnamed = "task '<unnamed>' (#7) has overflowed its 64 KiB stack\n";
        assert_says("overflow of an unnamed task", unnamed);
        assert_says(
            "overflow outside of a task",
            "a task has overflowed its 128 KiB stack\n",
        );
    }

    /// What the process says, without the thread ids in it, and how it ends.
    fn outcome(scenario: &str, installed: bool) -> (String, Option<i32>, Option<i32>) {
        let output = child_doing(scenario, installed);
        let said = stderr(&output).replace(|letter: char| letter.is_ascii_digit(), "");
        (said, output.status.signal(), output.status.code())
    }

    fn same_with_and_without_us(scenario: &str) -> (String, Option<i32>, Option<i32>) {
        let without = outcome(scenario, false);
        assert_eq!(outcome(scenario, true), without, "{scenario}");
        without
    }

    #[test]
    fn a_bad_access_is_a_bare_fault_as_without_us() {
        for scenario in [
            "bad access",
            "bad access in a task",
            "bad access with the default action",
            "jump onto the stack",
        ] {
            assert_eq!(
                same_with_and_without_us(scenario),
                (String::new(), Some(SIGSEGV), None)
            );
        }
    }

    #[test]
    fn the_overflow_of_a_native_stack_is_std_s_business_as_without_us() {
        for scenario in ["native overflow", "native overflow on another thread"] {
            let (said, signal, _) = same_with_and_without_us(scenario);
            assert!(
                said.contains("has overflowed its stack") && !said.contains("task"),
                "{said}"
            );
            assert_eq!(signal, Some(SIGABRT));
        }
    }

    #[test]
    fn a_fault_that_was_sent_does_what_it_does_without_us() {
        same_with_and_without_us("sent");
        let (_, signal, _) = same_with_and_without_us("sent with the default action");
        assert_eq!(signal, Some(SIGSEGV));
    }

    #[test]
    fn a_handler_that_was_there_before_gets_the_fault_as_the_kernel_made_it() {
        let output = child_doing("bad access with another handler", true);
        assert_eq!(stderr(&output), "signal 11 at 16\n");
        assert_eq!(output.status.signal(), Some(SIGSEGV));
        same_with_and_without_us("bad access with another handler");
    }

    #[test]
    fn a_handler_that_was_there_before_runs_as_often_and_as_blocked_as_without_us() {
        for scenario in [
            "bad access with a handler for one time",
            "bad access with a handler that faults",
        ] {
            let handled_once = ("handled\n".to_owned(), Some(SIGSEGV), None);
            assert_eq!(
                same_with_and_without_us(scenario),
                handled_once,
                "{scenario}"
            );
        }
    }

    #[test]
    fn a_long_name_is_cut_between_letters_and_a_line_break_in_it_is_not_printed() {
        let mut line = Line::new();
        line.push_name("a\nb")
            .push_str("|")
            .push_name(&"\u{fc}".repeat(300))
            .push_str("|")
            .push_number(u64::MAX);
        let expected = format!("a?b|{}...|{}", "\u{fc}".repeat(80), u64::MAX);
        assert_eq!(std::str::from_utf8(line.as_bytes()), Ok(&*expected));
    }

    #[test]
    fn a_line_that_is_full_stays_as_it_is() {
        let mut line = Line::new();
        line.push_str(&"x".repeat(300)).push_number(12);
        assert_eq!(line.as_bytes(), [b'x'; Line::CAPACITY]);
    }
}
