//! Owns what a handler may return, and the forms in which a server says that something went wrong.

use crate::error::panic_message;
use std::any::Any;
use std::error::Error;
use std::{fmt, io};

/// Why a connection, or for a while the accepting, has not gone well: told to the hook of
/// [`Server::on_incident`](super::Server::on_incident).
///
/// Its `Display` form is a line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incident<A> {
    /// A handler has returned an error.
    #[non_exhaustive]
    Failed {
        /// The other end.
        peer: A,
        /// What the handler has returned.
        error: Box<dyn Error + Send + Sync>,
    },
    /// A handler has panicked. The panic hook (`std::panic::set_hook`) has shown it.
    #[non_exhaustive]
    Panicked {
        /// The other end.
        peer: A,
        /// What it has panicked with.
        payload: Box<dyn Any + Send>,
    },
    /// No connection can be accepted for now: most likely the process is out of descriptors. The server goes on trying. This
    /// is told once by each worker that accepts, until nothing has run out there for a second.
    Paused(io::Error),
}

impl<A: fmt::Debug> fmt::Display for Incident<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incident::Failed { peer, error } => write!(f, "connection from {peer:?}: {error}"),
            Incident::Panicked { peer, payload } => {
                let message = panic_message(&**payload).unwrap_or("Box<dyn Any>");
                write!(
                    f,
                    "connection from {peer:?}: its handler panicked: {message}"
                )
            }
            Incident::Paused(error) => write!(f, "no connection is accepted for now: {error}"),
        }
    }
}

/// What the handler of a [`Server`](super::Server) may return: `()`, or a `Result` whose error is told to the hook of
/// [`on_incident`](super::Server::on_incident).
///
/// As the `main` of a program, a handler that returns a `Result` can use `?`; any error will do that fits into a
/// `Box<dyn Error + Send + Sync>`.
///
/// ```
/// use multitask::net::Handled;
/// use std::io;
///
/// assert!(().into_result().is_ok());
/// assert!(io::Result::Ok(42).into_result().is_ok()); // the value is dropped
/// assert_eq!(Err::<(), _>("no").into_result().unwrap_err().to_string(), "no");
/// ```
#[diagnostic::on_unimplemented(
    message = "the handler of a server returns `()` or a `Result`, not `{Self}`"
)]
pub trait Handled {
    /// The error, if it is one; a value is dropped.
    ///
    /// # Errors
    /// The one that it is.
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl Handled for () {
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Handled for Result<T, E> {
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.map(drop).map_err(Into::into)
    }
}
