//! Owns [`Child`]: a process of ours and the ends of its pipes.
//!
//! 1. [`Child`] has no destructor of its own, so that its pipes can be moved out of it as out of std's.

use super::gather::gather;
use super::pipes::{ChildStderr, ChildStdin, ChildStdout};
use super::wait::Process;
use crate::rt::clock;
use std::fmt;
use std::io;
use std::process::{self, ExitStatus, Output};
use std::time::{Duration, Instant};

/// A process that was started: [`std::process::Child`], whose waits suspend the task only.
///
/// As in std, dropping it does not end the process, unless [`kill_on_drop`](super::Command::kill_on_drop) was asked for, and one that is never
/// waited for remains in the system's table as a zombie after its end.
///
/// ```
/// use multitask::{process::Command, spawn};
///
/// let sleepers: Vec<_> = (0..3)
///     .map(|n| spawn(move || Command::new("sh").args(["-c", &format!("sleep 0.1; exit {n}")]).spawn()?.wait()))
///     .collect();
/// for (n, sleeper) in sleepers.into_iter().enumerate() { // a tenth of a second for all of them
///     assert_eq!(sleeper.join().unwrap()?.code(), Some(n as i32));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Child {
    /// The way to its standard input, if that was [`Stdio::piped`](super::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// What it writes to its standard output, if that was piped.
    pub stdout: Option<ChildStdout>,
    /// What it writes to its standard error, if that was piped.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

impl Child {
    pub(super) fn new(mut child: process::Child, kill_on_drop: bool) -> Child {
        Child {
            stdin: child.stdin.take().map(ChildStdin::from),
            stdout: child.stdout.take().map(ChildStdout::from),
            stderr: child.stderr.take().map(ChildStderr::from),
            process: Process::new(child, kill_on_drop),
        }
    }

    /// The system's number of the process; never suspends.
    pub fn id(&self) -> u32 {
        self.process.get().id()
    }

    /// Forces the process to end, by `SIGKILL`; never suspends. It still has to be waited for.
    ///
    /// One that has ended already is no error.
    ///
    /// # Errors
    /// Those of `kill(2)`: it may have become another user's.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.get_mut().kill()
    }

    /// Suspends the task until the process has ended.
    ///
    /// Its standard input is closed before, so that it does not wait for what we would write. Pipes that its own children keep
    /// open do not matter. Once it has answered it answers the same again.
    ///
    /// # Errors
    /// Those of `waitpid(2)`: `ECHILD` if this program reaps children by other means.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.wait_until(None)
    }

    /// As [`wait`](Child::wait), for at most `timeout`. Not in std.
    ///
    /// The process goes on after a timeout, and can be waited for again.
    ///
    /// # Errors
    /// `TimedOut` carrying [`Timeout`](crate::Timeout); else as [`wait`](Child::wait).
    ///
    /// ```
    /// use multitask::process::Command;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("1000").spawn()?;
    /// let error = child.wait_timeout(Duration::from_millis(10)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<ExitStatus> {
        self.wait_until(clock::now().checked_add(timeout))
    }

    /// As [`wait_timeout`](Child::wait_timeout), until `deadline`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Child::wait_timeout).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        self.wait_until(Some(deadline))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait(deadline)
    }

    /// How the process ended, if it has; does not wait, and leaves its standard input open.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Suspends the task until the process has ended and its pipes too, and answers all that came out of them.
    ///
    /// Both are read at once. Its standard input is closed before. A child of the child that inherited a pipe keeps it open: this
    /// waits for that one too, as std's. Bound it by [`timeout`](crate::timeout()), which drops the child; limits that are set on the pipes do not
    /// count here.
    ///
    /// # Errors
    /// Those of reading, and as [`wait`](Child::wait).
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = gather(self.stdout.take(), self.stderr.take())?;
        Ok(Output {
            status: self.wait()?,
            stdout,
            stderr,
        })
    }
}

/// Takes in a child that std has started; never suspends. It is not killed when it is dropped.
impl From<process::Child> for Child {
    fn from(child: process::Child) -> Self {
        Child::new(child, false)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
