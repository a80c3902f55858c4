//! Child processes, with the names, signatures and errors of [`std::process`]; waiting suspends the task only.
//!
//! A program moves over by its `use` lines: `std::process` becomes `multitask::process`, and the rest compiles as it stands.
//!
//! ```
//! use multitask::process::{Command, Stdio};
//! use multitask::spawn;
//! use std::io::{self, BufRead, BufReader};
//!
//! let child = spawn(|| -> io::Result<Option<i32>> {
//!     let script = "echo one; echo two; exit 3";
//!     let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
//!     let lines = BufReader::new(child.stdout.take().unwrap()).lines(); // each suspends this task only
//!     assert_eq!(lines.collect::<Result<Vec<_>, _>>()?, ["one", "two"]);
//!     Ok(child.wait()?.code())
//! });
//! assert_eq!(child.join().unwrap()?, Some(3));
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Beyond std
//!
//! [`Child::wait_timeout`] and [`wait_deadline`](Child::wait_deadline); [`Command::kill_on_drop`]; time limits for the pipes to
//! a child, such as [`ChildStdout::set_read_timeout`]; a [`Stdio`] can be made of our sockets, pipes and streams; [`Child`] takes in std's.
//! A [`timeout`](crate::timeout()) scope bounds any of the waits, and cancelling ends them; the child can be waited for again.
//!
//! # Starting
//!
//! A child is started where [`spawn`](Command::spawn) is called, on the thread that runs the tasks, as std does it: it takes
//! a fraction of a millisecond, until the program is loaded, and the other tasks have their turn first. It is not handed to another thread because
//! Linux has a child inherit much from the very *thread* that starts it: processors and priority, name spaces, sandboxes, and the
//! "signal when the parent dies" that some programs ask for. Where a program may be slow to load, from a network say, and none of that matters,
//! [`task::blocking`](crate::task::blocking) starts it elsewhere:
//!
//! ```
//! use multitask::{process::Command, task};
//!
//! let mut child = task::blocking(|| Command::new("true").spawn())?;
//! assert!(child.wait()?.success());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Waiting
//!
//! No signal handler is installed. A wait uses a descriptor that tells of the child's end (`pidfd`, Linux 5.3 and later), which
//! lives until the child is reaped; where there is none to be had, a thread waits for the child instead, up to 1024 of them. A program that
//! reaps children by itself, or ignores `SIGCHLD`, makes waits fail with the system's error, as in std.

mod child;
#[allow(unsafe_code)] // for pre_exec, which is unsafe in std
mod command;
mod gather;
mod pipes;
mod wait;

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{
    abort, exit, id, CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination,
};
