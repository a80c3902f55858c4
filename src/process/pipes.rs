//! Owns the ends of a child's pipes that are ours, and what else a child's stream can be made of.
//!
//! 1. An end is non-blocking while it is one of ours (`Source`), and as std's when it is handed out. The child's end is
//!    another open file, whose mode is not touched.

use crate::io::pipe::{passages, reading_ends, writing_ends};
use crate::io::source::Source;
use crate::io::{Fd, Stderr, Stdout};
use crate::net::TcpStream;
use crate::os::unix::net::UnixStream;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{self, Stdio};
use std::time::Duration;

/// The way to a child's standard input: [`std::process::ChildStdin`], whose writes suspend the task only.
///
/// Dropping it ends the child's input. A write fails with `BrokenPipe` when the child has closed its end.
///
/// ```
/// use multitask::process::{Command, Stdio};
/// use std::io::Write;
///
/// let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"five!")?; // and is dropped
/// assert_eq!(child.wait_with_output()?.stdout.trim_ascii(), b"5");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ChildStdin {
    pub(crate) source: Source<process::ChildStdin>,
}

/// What a child writes to its standard output: [`std::process::ChildStdout`], whose reads suspend the task only.
///
/// A read answers 0 when the child, and all others that have its output, have ended or closed it. One that times out or is
/// cancelled has taken nothing: a [`BufReader`](std::io::BufReader) over it loses nothing either, nor does its `read_line`, which keeps in
/// the `String` what it had of the line.
///
/// ```
/// use multitask::process::{Command, Stdio};
/// use std::io::{BufRead, BufReader, ErrorKind};
/// use std::time::Duration;
///
/// let script = "printf beginning; read answer; echo ' and end'";
/// let mut command = Command::new("sh");
/// let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let mut stdout = BufReader::new(child.stdout.take().unwrap());
///
/// stdout.get_ref().set_read_timeout(Some(Duration::from_millis(20)))?;
/// let mut line = String::new();
/// assert_eq!(stdout.read_line(&mut line).unwrap_err().kind(), ErrorKind::TimedOut);
///
/// drop(child.stdin.take()); // the end of its input is an answer
/// stdout.get_ref().set_read_timeout(None)?;
/// stdout.read_line(&mut line)?;
/// assert_eq!(line, "beginning and end\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ChildStdout {
    pub(crate) source: Source<process::ChildStdout>,
}

/// What a child writes to its standard error: [`std::process::ChildStderr`], as [`ChildStdout`].
pub struct ChildStderr {
    pub(crate) source: Source<process::ChildStderr>,
}

writing_ends! { ChildStdin }
reading_ends! { ChildStdout ChildStderr }
passages! {
    ChildStdin: process::ChildStdin,
    ChildStdout: process::ChildStdout,
    ChildStderr: process::ChildStderr,
}

macro_rules! streams {
    ($($stream:ty)*) => {$(
        /// A child's stream can be a socket of ours. It is handed out for that, so it is blocking, unless clones of it are in use here.
        impl From<$stream> for Stdio {
            fn from(stream: $stream) -> Self {
                OwnedFd::from(stream).into()
            }
        }
    )*};
}

streams! { TcpStream UnixStream }

/// A child's stream can be what is inside.
impl<T: AsFd + Into<OwnedFd>> From<Fd<T>> for Stdio {
    fn from(fd: Fd<T>) -> Self {
        OwnedFd::from(fd).into()
    }
}

/// A child's stream can be this process's standard output.
impl From<Stdout> for Stdio {
    fn from(_: Stdout) -> Self {
        std::io::stdout().into()
    }
}

/// A child's stream can be this process's standard error.
impl From<Stderr> for Stdio {
    fn from(_: Stderr) -> Self {
        std::io::stderr().into()
    }
}
