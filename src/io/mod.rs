//! Any descriptor: waiting for it, reading and writing it, pipes, and the three that every process has.
//!
//! Sockets are in [`net`](crate::net); files, which are always ready and need another way, in [`fs`](crate::fs). This is for the rest:
//! pipes, terminals, devices, `inotify`, event and timer descriptors, and those of other libraries.
//!
//! ```
//! use multitask::{io, spawn};
//! use std::io::{BufRead, BufReader, Write};
//!
//! let (reader, mut writer) = io::pipe()?;
//! let lines = spawn(|| BufReader::new(reader).lines().collect::<Result<Vec<_>, _>>());
//! writer.write_all(b"one\ntwo\n")?;
//! drop(writer);
//! assert_eq!(lines.join().unwrap()?, ["one", "two"]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Whose mode it is
//!
//! Whether calls on a descriptor wait (`O_NONBLOCK`) is kept by the open file, which other processes may share: a shell shares its
//! terminal with all that it starts. So nothing here changes the mode of a descriptor that was not made here. [`Fd`] and the
//! standard streams ask the kernel for calls that do not wait by themselves (`RWF_NOWAIT`); where it has none, they make sure that
//! the descriptor is ready, and make one call then. Only the ends of a [`pipe()`] are non-blocking inside, as sockets are.

pub(crate) mod arm;
pub(crate) mod fd;
mod gate;
pub(crate) mod pipe;
pub(crate) mod settings;
pub(crate) mod source;
mod stdio;
mod wait;

pub use crate::rt::reactor::Interests as Interest;
pub use fd::Fd;
pub use pipe::{pipe, PipeReader, PipeWriter};
pub use stdio::{stderr, stdin, stdout, Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock};
pub use wait::{wait, wait_readable, wait_writable};
