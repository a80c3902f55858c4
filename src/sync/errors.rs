//! Why an item could not be got or put. Who could not put it has it back.

use crate::error::{Cancelled, Timeout};
use crate::rt::park::Interrupt;
use std::{error, fmt, io};

/// Why [`Queue::get`](super::Queue::get), or one of its bounded forms, has no item.
///
/// As an [`io::Error`] `Closed` is [`BrokenPipe`](io::ErrorKind::BrokenPipe), and the others are what [`Timeout`] and
/// [`Cancelled`] become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GetError {
    /// The queue is closed, and nothing that would do is left in it.
    Closed,
    /// The deadline passed. From a form without one: that of a [`timeout`](crate::timeout) round it did, where nothing can be
    /// unwound.
    Timeout,
    /// The calling task was cancelled where nothing can be unwound: in a destructor that runs while unwinding, or in
    /// a build with `panic = "abort"`.
    Cancelled,
}

/// Why [`Queue::try_get`](super::Queue::try_get) has no item.
///
/// As an [`io::Error`] `Empty` is [`WouldBlock`](io::ErrorKind::WouldBlock), `Closed` is
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TryGetError {
    /// There is nothing that would do, yet.
    Empty,
    /// The queue is closed, and nothing that would do is left in it.
    Closed,
}

/// Why [`Queue::put`](super::Queue::put), or one of its bounded forms, did not put the item; here it is again.
///
/// As an [`io::Error`], which is without the item, the kinds are those of [`GetError`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutError<T> {
    /// The queue is closed.
    Closed(T),
    /// The deadline passed. From a form without one: that of a [`timeout`](crate::timeout) round it did, where nothing can be
    /// unwound.
    Timeout(T),
    /// The calling task was cancelled where nothing can be unwound: in a destructor that runs while unwinding, or in
    /// a build with `panic = "abort"`.
    Cancelled(T),
}

/// Why [`Queue::try_put`](super::Queue::try_put) did not put the item; here it is again.
///
/// As an [`io::Error`], which is without the item, `Full` is [`WouldBlock`](io::ErrorKind::WouldBlock), `Closed` is
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum TryPutError<T> {
    /// There is no room, and nobody waits who would take the item.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> PutError<T> {
    /// The item that was not put.
    pub fn into_inner(self) -> T {
        match self {
            PutError::Closed(item) | PutError::Timeout(item) | PutError::Cancelled(item) => item,
        }
    }

    /// Why, without the item: [`GetError`] has the same reasons.
    fn reason(&self) -> GetError {
        match self {
            PutError::Closed(_) => GetError::Closed,
            PutError::Timeout(_) => GetError::Timeout,
            PutError::Cancelled(_) => GetError::Cancelled,
        }
    }

    pub(super) fn interrupted(interrupt: Interrupt, item: T) -> Self {
        match interrupt {
            Interrupt::Cancelled => PutError::Cancelled(item),
            Interrupt::Timeout => PutError::Timeout(item),
        }
    }
}

impl<T> TryPutError<T> {
    /// The item that was not put.
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full(item) | TryPutError::Closed(item) => item,
        }
    }
}

impl From<Interrupt> for GetError {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => GetError::Cancelled,
            Interrupt::Timeout => GetError::Timeout,
        }
    }
}

// ---- in words ----

const CLOSED: &str = "the queue is closed";

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Closed => f.write_str(CLOSED),
            GetError::Timeout => Timeout.fmt(f),
            GetError::Cancelled => Cancelled.fmt(f),
        }
    }
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryGetError::Empty => "the queue is empty",
            TryGetError::Closed => CLOSED,
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => "the queue is full",
            TryPutError::Closed(_) => CLOSED,
        })
    }
}

/// Without the item, which need not know how to be shown: `unwrap` works for all.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(..)", self.reason())
    }
}

/// Without the item, which need not know how to be shown: `unwrap` works for all.
impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => "Full(..)",
            TryPutError::Closed(_) => "Closed(..)",
        })
    }
}

impl error::Error for GetError {}
impl error::Error for TryGetError {}
impl<T> error::Error for PutError<T> {}
impl<T> error::Error for TryPutError<T> {}

// ---- among std's ----

impl From<GetError> for io::Error {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Closed => io::Error::new(io::ErrorKind::BrokenPipe, error),
            GetError::Timeout => Timeout.into(),
            GetError::Cancelled => Cancelled.into(),
        }
    }
}

impl From<TryGetError> for io::Error {
    fn from(error: TryGetError) -> Self {
        match error {
            TryGetError::Empty => io::Error::new(io::ErrorKind::WouldBlock, error),
            TryGetError::Closed => GetError::Closed.into(),
        }
    }
}

impl<T> From<PutError<T>> for io::Error {
    fn from(error: PutError<T>) -> Self {
        error.reason().into()
    }
}

impl<T> From<TryPutError<T>> for io::Error {
    fn from(error: TryPutError<T>) -> Self {
        match error {
            TryPutError::Full(_) => io::Error::new(io::ErrorKind::WouldBlock, error.to_string()),
            TryPutError::Closed(_) => GetError::Closed.into(),
        }
    }
}
