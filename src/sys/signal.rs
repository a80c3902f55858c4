//! Signals, as far as a fault handler and those who listen need them.
//!
//! Everything a handler calls from here is async-signal-safe: no lock, no allocation.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;

pub(crate) use std::ffi::c_int;

/// The two signals by which a system reports an access to memory that is not there; which one depends on the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `SIGSEGV`
    Segmentation,
    /// `SIGBUS`
    Bus,
}

impl Fault {
    pub(crate) const ALL: [Fault; 2] = [Fault::Segmentation, Fault::Bus];

    /// The fault of that signal number, if it is one.
    pub(crate) fn from_number(number: c_int) -> Option<Fault> {
        Fault::ALL
            .into_iter()
            .find(|fault| fault.number() == number)
    }

    pub(crate) fn number(self) -> c_int {
        match self {
            Fault::Segmentation => libc::SIGSEGV,
            Fault::Bus => libc::SIGBUS,
        }
    }
}

/// What the kernel says about one signal.
#[repr(transparent)]
pub(crate) struct Info(pub(super) libc::siginfo_t);

impl Info {
    /// The address whose access failed. Meaningless when the signal [was sent](Info::was_sent).
    pub(crate) fn address(&self) -> usize {
        // SAFETY: a handler of a `Fault` has this member; in a sent one it is other bytes of the same union.
        unsafe { self.0.si_addr() as usize }
    }

    /// Whether somebody sent the signal (`kill`, `raise`, `sigqueue`), so that no access failed.
    pub(crate) fn was_sent(&self) -> bool {
        if cfg!(any(target_os = "linux", target_os = "android")) {
            self.0.si_code <= 0
        } else {
            // SI_USER and its like are 0 or above 0x10000 there, the codes of a fault small positive numbers.
            self.0.si_code <= 0 || self.0.si_code > 0x1_0000
        }
    }
}

/// A handler that wants to know why: signal number, [`Info`], machine context.
pub(crate) type Informed = unsafe extern "C" fn(c_int, *mut Info, *mut c_void);
/// A handler of the old kind.
pub(crate) type Plain = unsafe extern "C" fn(c_int);

/// What happens on a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disposition {
    Default,
    Ignore,
    Plain(Plain),
    Informed(Informed),
}

/// What happens on a signal, and how: `struct sigaction`.
#[derive(Clone, Copy)]
pub(crate) struct Action(libc::sigaction);

impl Action {
    /// `SIG_DFL`.
    pub(crate) fn default() -> Action {
        Action::new(libc::SIG_DFL, 0)
    }

    /// Runs `handler` on the thread's alternate signal stack, with no signal blocked, its own included.
    pub(crate) fn informed(handler: Informed) -> Action {
        Action::new(
            handler as libc::sighandler_t,
            libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER,
        )
    }

    /// Runs `handler` once, and blocks the signal meanwhile.
    #[cfg(test)]
    pub(crate) fn once(handler: Informed) -> Action {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        Action::new(handler as libc::sighandler_t, flags)
    }

    /// Runs `handler` each time, and blocks the signal meanwhile.
    #[cfg(test)]
    pub(crate) fn blocking(handler: Informed) -> Action {
        Action::new(
            handler as libc::sighandler_t,
            libc::SA_SIGINFO | libc::SA_ONSTACK,
        )
    }

    /// The same, but a handler in it runs on the thread's alternate signal stack, if there is one.
    pub(crate) fn on_alternate_stack(mut self) -> Action {
        let flags = self.0.sa_flags as c_int | libc::SA_ONSTACK;
        self.0.sa_flags = flags as _;
        self
    }

    /// Whether both run the same handler, or the same of default and nothing.
    pub(crate) fn has_handler_of(&self, other: &Action) -> bool {
        self.0.sa_sigaction == other.0.sa_sigaction
    }

    /// What happens on that signal now.
    ///
    /// # Errors
    ///
    /// Those of `sigaction(2)`.
    pub(crate) fn of(signal: c_int) -> io::Result<Action> {
        let mut action = Action::default();
        // SAFETY: null changes nothing; `action` outlives the call.
        check(unsafe { libc::sigaction(signal, std::ptr::null(), &mut action.0) })?;
        Ok(action)
    }

    /// Lets this happen on that signal from now on, in every thread.
    ///
    /// # Safety
    ///
    /// A handler in it must be fit to run between any two instructions of any thread.
    ///
    /// # Errors
    ///
    /// Those of `sigaction(2)`.
    pub(crate) unsafe fn install(&self, signal: c_int) -> io::Result<()> {
        // SAFETY: the caller answers for the handler; `self` outlives the call.
        check(unsafe { libc::sigaction(signal, &self.0, std::ptr::null_mut()) })
    }

    pub(crate) fn disposition(&self) -> Disposition {
        match self.0.sa_sigaction {
            libc::SIG_DFL => Disposition::Default,
            libc::SIG_IGN => Disposition::Ignore,
            handler if self.has(libc::SA_SIGINFO) => {
                // SAFETY: neither of the two constants, hence a function, of this type by SA_SIGINFO. `Info` is a
                // siginfo_t.
                Disposition::Informed(unsafe {
                    std::mem::transmute::<libc::sighandler_t, Informed>(handler)
                })
            }
            handler => {
                // SAFETY: neither of the two constants, hence a function, of this type without SA_SIGINFO.
                Disposition::Plain(unsafe {
                    std::mem::transmute::<libc::sighandler_t, Plain>(handler)
                })
            }
        }
    }

    /// Whether the kernel goes back to the default action before it runs the handler.
    pub(crate) fn is_one_shot(&self) -> bool {
        self.has(libc::SA_RESETHAND)
    }

    /// Blocks the signals that the kernel would block while the handler of this action runs on `fault`. Returning
    /// from the handler that called this unblocks them again.
    ///
    /// # Errors
    ///
    /// Those of `pthread_sigmask(3)`.
    pub(crate) fn block_mask(&self, fault: Fault) -> io::Result<()> {
        let mut mask = self.0.sa_mask;
        if !self.has(libc::SA_NODEFER) {
            // SAFETY: a valid set and a valid signal.
            check(unsafe { libc::sigaddset(&mut mask, fault.number()) })?;
        }
        // SAFETY: `mask` outlives the call; null asks for no old mask.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    pub(super) fn new(handler: libc::sighandler_t, flags: c_int) -> Action {
        // SAFETY: integers and an optional function pointer; all zero is valid.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler;
        action.sa_flags = flags as _;
        // SAFETY: writes the set, which is ours; it cannot fail.
        unsafe { libc::sigemptyset(&mut action.sa_mask) };
        Action(action)
    }

    fn has(&self, flag: c_int) -> bool {
        self.0.sa_flags as c_int & flag != 0
    }
}

/// Sends `fault` to the calling thread.
///
/// # Errors
///
/// Those of `raise(3)`.
pub(crate) fn raise(fault: Fault) -> io::Result<()> {
    // SAFETY: takes an int; what then happens is as if another process had sent it.
    check(unsafe { libc::raise(fault.number()) })
}

/// Where the calling thread's alternate signal stack starts, if it has one, and how many bytes it has.
///
/// # Errors
///
/// Those of `sigaltstack(2)`.
pub(crate) fn alternate_stack() -> io::Result<Option<(*mut u8, usize)>> {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: null changes nothing; `stack` outlives the call.
    check(unsafe { libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()) })?;
    // SAFETY: sigaltstack succeeded and filled it in.
    let stack = unsafe { stack.assume_init() };
    let enabled = stack.ss_flags & libc::SS_DISABLE == 0;
    Ok(enabled.then_some((stack.ss_sp.cast(), stack.ss_size)))
}

/// Gives the calling thread `len` bytes at `start` as its alternate signal stack.
///
/// # Safety
///
/// The range is readable and writable memory that nobody else uses until the thread ends or has another alternate
/// stack.
///
/// # Errors
///
/// Those of `sigaltstack(2)`.
pub(crate) unsafe fn set_alternate_stack(start: *mut u8, len: usize) -> io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: start.cast(),
        ss_flags: 0,
        ss_size: len,
    };
    // SAFETY: the caller answers for the memory; `stack` outlives the call.
    check(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) })
}

/// Takes the calling thread's alternate signal stack away.
///
/// # Errors
///
/// Those of `sigaltstack(2)`: the thread runs on it now.
pub(crate) fn disable_alternate_stack() -> io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: std::ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 64 << 10,
    };
    // SAFETY: `stack` outlives the call; no memory is given.
    check(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) })
}

/// Writes `bytes` to standard error in one call, past every lock and buffer. What cannot be written is lost.
pub(crate) fn write_stderr(bytes: &[u8]) {
    // SAFETY: a valid range; a closed descriptor is an error like any other, ignored.
    let _lost = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

fn check(answer: c_int) -> io::Result<()> {
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_memory_signals_are_faults() {
        assert_eq!(Fault::from_number(libc::SIGSEGV), Some(Fault::Segmentation));
        assert_eq!(Fault::from_number(libc::SIGBUS), Some(Fault::Bus));
        assert_eq!(Fault::from_number(libc::SIGILL), None);
    }

    #[test]
    fn an_action_is_what_it_was_made_of() {
        unsafe extern "C" fn handler(_: c_int, _: *mut Info, _: *mut c_void) {}
        assert!(matches!(
            Action::default().disposition(),
            Disposition::Default
        ));
        assert!(matches!(
            Action::new(libc::SIG_IGN, 0).disposition(),
            Disposition::Ignore
        ));
        assert!(matches!(
            Action::informed(handler).disposition(),
            Disposition::Informed(_)
        ));
        let plain = Action::new(
            handler as Informed as libc::sighandler_t,
            libc::SA_RESETHAND as c_int,
        );
        assert!(matches!(plain.disposition(), Disposition::Plain(_)));
        assert!(plain.is_one_shot() && !Action::informed(handler).is_one_shot());
    }

    #[test]
    fn a_thread_of_std_has_an_alternate_stack_and_takes_another() {
        std::thread::spawn(|| {
            assert!(alternate_stack().expect("a valid question").is_some());
            let memory = Vec::leak(vec![0_u8; 64 << 10]);
            // SAFETY: leaked, and given to this thread alone.
            unsafe { set_alternate_stack(memory.as_mut_ptr(), memory.len()) }
                .expect("large enough");
            let taken = alternate_stack().expect("a valid question");
            assert_eq!(taken, Some((memory.as_mut_ptr(), memory.len())));
        })
        .join()
        .expect("the thread does not panic");
    }
}
