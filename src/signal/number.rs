//! Owns [`Signal`] and the constants.
//!
//! 1. A `Signal` is a number, known to the system or not: what can be listened for is decided when that is tried.

use signal_hook::consts::{signal as numbers, FORBIDDEN};
use signal_hook::low_level;
use std::{fmt, io};

/// A signal, as a number with a name: `SIGINT` is shown as that.
///
/// ```
/// use multitask::signal::{Signal, SIGINT};
///
/// assert_eq!(SIGINT.to_string(), "SIGINT");
/// assert_eq!(Signal::from_raw(2), SIGINT);
/// assert_eq!(Signal::from_raw(40).to_string(), "signal 40"); // a nameless one
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The signal of that number, as [`ExitStatusExt::signal`](std::os::unix::process::ExitStatusExt::signal) tells it.
    pub const fn from_raw(number: i32) -> Signal {
        Signal(number)
    }

    /// Its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Its name, `SIGINT` for instance, if it has one.
    pub fn name(self) -> Option<&'static str> {
        low_level::signal_name(self.0)
    }

    /// Sends the signal to the calling thread, which has seen to it when this returns; never suspends.
    ///
    /// So a program that was asked to end, and has cleaned up, ends in the way in which it was asked to. Its parent, a shell for
    /// instance, is to know:
    ///
    /// ```no_run
    /// use multitask::signal::{Signals, SIGINT, SIGTERM};
    ///
    /// let mut signals = Signals::new([SIGINT, SIGTERM])?;
    /// let asked = signals.wait()?;
    /// // .. clean up ..
    /// drop(signals); // from here on they end the program again
    /// asked.raise()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput`: there is no such signal.
    pub fn raise(self) -> io::Result<()> {
        low_level::raise(self.0)
    }

    /// Whether a program cannot go on after a handler of it, or can have none.
    pub(super) fn is_forbidden(self) -> bool {
        // The one that FORBIDDEN lacks tells of a bad access to memory just as SIGSEGV does.
        FORBIDDEN.contains(&self.0) || self.0 == numbers::SIGBUS
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("signal {}", self.0)),
        }
    }
}

/// As `Display`.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! signals {
    ($($name:ident $meaning:literal)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: ", $meaning, ".")]
        pub const $name: Signal = Signal(numbers::$name);
    )*};
}

signals! {
    SIGABRT "the program gave up"
    SIGALRM "the timer of `alarm` has expired"
    SIGBUS "an access to memory that is not there"
    SIGCHLD "a child process has ended or stopped"
    SIGCONT "go on after a stop"
    SIGFPE "an arithmetical fault"
    SIGHUP "the terminal is gone; to many servers: read the settings again"
    SIGILL "an instruction that the processor does not know"
    SIGINT "Ctrl-C"
    SIGIO "a descriptor is ready"
    SIGKILL "end, without a choice"
    SIGPIPE "a write to a pipe that nobody reads"
    SIGPROF "the timer of a profiler has expired"
    SIGQUIT "Ctrl-\\: end with a memory dump"
    SIGSEGV "an access to memory that is not there"
    SIGSTOP "stop, without a choice"
    SIGSYS "a system call that is not allowed"
    SIGTERM "please end"
    SIGTRAP "a breakpoint"
    SIGTSTP "Ctrl-Z: stop"
    SIGTTIN "a read from the terminal by a program in the background"
    SIGTTOU "a write to the terminal by a program in the background"
    SIGURG "urgent data on a socket"
    SIGUSR1 "of the program's own meaning"
    SIGUSR2 "of the program's own meaning"
    SIGVTALRM "the timer of processor time has expired"
    SIGWINCH "the terminal has a new size"
    SIGXCPU "the limit of processor time is reached"
    SIGXFSZ "the limit of a file's size is reached"
}
