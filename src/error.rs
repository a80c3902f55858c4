//! The errors that the runtime itself can answer.

use std::any::Any;
use std::io::Write;
use std::{error, fmt, io};

/// A deadline passed before the operation was done.
///
/// As an [`io::Error`] it has the kind [`io::ErrorKind::TimedOut`] and is found inside:
///
/// ```
/// let error = std::io::Error::from(multitask::Timeout);
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// assert!(error.get_ref().unwrap().is::<multitask::Timeout>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeout;

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl error::Error for Timeout {}

impl From<Timeout> for io::Error {
    fn from(timeout: Timeout) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, timeout)
    }
}

/// The task was cancelled, and the operation could not be ended by unwinding.
///
/// A cancelled task normally unwinds from where it waits and no error is seen. This one is seen where nothing can
/// be raised: by an operation that would wait in a destructor while the stack is unwinding already, and everywhere
/// in a program built with `panic = "abort"`. As an [`io::Error`] it has the kind [`io::ErrorKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl error::Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        io::Error::other(cancelled)
    }
}

/// Nothing can ever happen again on a scheduler whose tasks are not done.
///
/// No task is ready, no timer is armed, no descriptor is waited for, and the process has no other thread that could
/// wake one. The message lists every task that is left: its name, where it was spawned and what it waits for.
///
/// The tasks are still there: dropping the scheduler cancels them.
#[derive(Clone, PartialEq, Eq)]
pub struct Deadlock {
    report: String,
}

impl Deadlock {
    pub(crate) fn new(report: String) -> Self {
        Deadlock { report }
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

/// As `Display`: `main` shows an error that it returns through `Debug`, and this one should stay readable there.
impl fmt::Debug for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl error::Error for Deadlock {}

impl From<Deadlock> for io::Error {
    fn from(deadlock: Deadlock) -> Self {
        io::Error::new(io::ErrorKind::Deadlock, deadlock)
    }
}

/// Why a task has no value to give: it panicked or was cancelled.
pub enum JoinError {
    /// The task panicked; this is what it panicked with, as `std::thread`'s `join` gives it.
    Panic(Box<dyn Any + Send + 'static>),
    /// The task was cancelled before it could return.
    Cancelled,
}

impl JoinError {
    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JoinError::Cancelled)
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JoinError::Panic(_))
    }

    /// What the task panicked with, to be raised again by [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// Panics if the task did not panic but was cancelled.
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self {
            JoinError::Panic(panic) => panic,
            JoinError::Cancelled => panic!("the task did not panic: it was cancelled"),
        }
    }

    /// The message of the panic, if it is a string (as that of `panic!` is).
    pub fn message(&self) -> Option<&str> {
        match self {
            JoinError::Panic(panic) => panic_message(&**panic),
            JoinError::Cancelled => None,
        }
    }
}

/// The message of a panic, if it is a string.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let literal = panic.downcast_ref::<&'static str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Writes a line to standard error. If that fails the line is lost; `eprintln!` would panic.
pub(crate) fn report(line: fmt::Arguments<'_>) {
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panic(_) => match self.message() {
                Some(message) => write!(f, "the task panicked: {message}"),
                None => f.write_str("the task panicked"),
            },
            JoinError::Cancelled => f.write_str("the task was cancelled"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panic(_) => f
                .debug_tuple("Panic")
                .field(&self.message().unwrap_or(".."))
                .finish(),
            JoinError::Cancelled => f.write_str("Cancelled"),
        }
    }
}

impl error::Error for JoinError {}

/// Of kind [`io::ErrorKind::Other`], with the message of the panic or with [`Cancelled`] inside.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Panic(_) => io::Error::other(error.to_string()),
            JoinError::Cancelled => Cancelled.into(),
        }
    }
}
