//! Owns [`Command`]: what to start, and how.
//!
//! 1. It is std's, which builds the process. What is not given of the streams stays as std has it when a call is over, so that each call
//!    can have its own defaults.

use super::child::Child;
use crate::rt::park::charge_all;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};

/// What to start, and how: [`std::process::Command`], whose children are waited for by suspending the task only.
///
/// The methods of std's `CommandExt` for Unix are here as well, and need no import.
///
/// ```
/// use multitask::process::Command;
///
/// let output = Command::new("sh").args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Command {
    inner: process::Command,
    given: Given,
    kill_on_drop: bool,
}

/// The streams of which the user has said what they shall be.
#[derive(Clone, Copy, Default)]
struct Given {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Command {
    /// To start `program`, without arguments, with the environment, the folder and the streams of this process.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command {
            inner: process::Command::new(program),
            given: Given::default(),
            kill_on_drop: false,
        }
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.inner.env_remove(key);
        self
    }

    /// Removes all variables from the child's environment.
    pub fn env_clear(&mut self) -> &mut Command {
        self.inner.env_clear();
        self
    }

    /// Sets the folder in which the child starts.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.inner.current_dir(dir);
        self
    }

    /// Sets what the child's standard input shall be.
    ///
    /// If nothing is said, it is this process's; but nothing at all for [`output`](Command::output).
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.given.stdin = true;
        self.inner.stdin(cfg);
        self
    }

    /// Sets what the child's standard output shall be.
    ///
    /// If nothing is said, it is this process's; but a pipe for [`output`](Command::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.given.stdout = true;
        self.inner.stdout(cfg);
        self
    }

    /// Sets what the child's standard error shall be, as [`stdout`](Command::stdout).
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.given.stderr = true;
        self.inner.stderr(cfg);
        self
    }

    /// Has a child killed when it is dropped before it was seen to have ended, and reaped as well. Not in std.
    ///
    /// So a task that is cancelled, or runs out of time, leaves no process behind: while it waits for a child that it has, or in
    /// [`output`](Command::output) or [`status`](Command::status). The child's own children live on. Dropping does not wait for the end, which comes a
    /// moment later. A task that is still there when this process exits drops nothing.
    ///
    /// ```
    /// use multitask::{process::Command, timeout, Timeout};
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sleep");
    /// command.arg("1000").kill_on_drop(true);
    /// assert!(matches!(timeout(Duration::from_millis(10), || command.status()), Err(Timeout)));
    /// ```
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// Starts a child.
    ///
    /// The other tasks have their turn first; then this thread is busy until the child's program is loaded, see [the
    /// module](super#starting).
    ///
    /// # Errors
    /// The program is not found, or may not be executed; the process is out of descriptors, or the system of processes.
    pub fn spawn(&mut self) -> io::Result<Child> {
        charge_all();
        self.start()
    }

    /// Starts a child, and suspends the task until it has ended and its pipes too; answers all that it wrote.
    ///
    /// As [`Child::wait_with_output`], with pipes for both streams and nothing to read, unless something else was said.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        charge_all();
        self.start_piped()?.wait_with_output()
    }

    /// Starts a child, and suspends the task until it has ended.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    fn start(&mut self) -> io::Result<Child> {
        Ok(Child::new(self.inner.spawn()?, self.kill_on_drop))
    }

    fn start_piped(&mut self) -> io::Result<Child> {
        self.fill_in(Stdio::null, Stdio::piped);
        let child = self.start();
        self.fill_in(Stdio::inherit, Stdio::inherit);
        child
    }

    /// Sets the streams that are not given.
    fn fill_in(&mut self, input: fn() -> Stdio, output: fn() -> Stdio) {
        if !self.given.stdin {
            self.inner.stdin(input());
        }
        if !self.given.stdout {
            self.inner.stdout(output());
        }
        if !self.given.stderr {
            self.inner.stderr(output());
        }
    }

    /// The program.
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// The arguments, without the program's name.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// The variables that are set, or removed, explicitly.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// The folder in which the child starts, if one was set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }
}

/// What std has in `os::unix::process::CommandExt`.
impl Command {
    /// Sets the child's user.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.inner.uid(id);
        self
    }

    /// Sets the child's group.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.inner.gid(id);
        self
    }

    /// Has the child call `f` before it becomes the program. An error of `f` is that of [`spawn`](Command::spawn).
    ///
    /// # Safety
    /// `f` runs in a copy of this process that has one thread only: see std's
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec) for what it may do, which is little. Above all it must not use anything
    /// of this library: what waits there for a descriptor would do so on behalf of the tasks of this process.
    pub unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller promises what std asks for.
        unsafe { self.inner.pre_exec(f) };
        self
    }

    /// Becomes the program, in place of this process with all its threads and tasks; returns only if that fails.
    ///
    /// No destructor runs. After a failure the process may be another than before, as std says of
    /// [its own](std::os::unix::process::CommandExt::exec).
    pub fn exec(&mut self) -> io::Error {
        self.inner.exec()
    }

    /// Sets the name by which the program is told that it was called.
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.inner.arg0(arg);
        self
    }

    /// Sets the child's process group; 0 is a new one of its own.
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.inner.process_group(pgroup);
        self
    }
}

/// The command line, as std shows it.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
