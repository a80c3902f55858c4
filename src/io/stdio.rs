//! Owns the three standard streams.
//!
//! 1. Each is one `Fd`, so nothing is ever set non-blocking, and one gate.
//! 2. Of standard input nothing is lost: bytes leave the buffer when they are handed out, and a line is handed out whole. A
//!    wait for more that is cancelled or times out leaves what has come where it is.
//! 3. Nothing written is kept back: there is no buffer to be flushed at exit. What is formatted goes out in one piece.

use super::fd::{write_formatted, Fd};
use super::gate::{Gate, Held};
use crate::rt::park::charge;
use crate::sys::file::is_closed;
use std::fmt;
use std::io::{self, BufRead, IoSlice, IoSliceMut, IsTerminal, Lines, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{LazyLock, Mutex, MutexGuard, TryLockError};

// ---- input ----

/// Standard input: [`std::io::Stdin`], whose reads suspend the task only. Made by [`stdin`].
///
/// It may be a terminal, a pipe, a socket, a file or `/dev/null`. All handles share one buffer, which is not that of std:
/// what one of the two has read ahead the other does not see.
pub struct Stdin {
    input: &'static Input,
}

/// [`Stdin`], locked: nobody else reads from it until this is dropped. As [`std::io::StdinLock`].
///
/// Others wait for it in the order in which they asked.
pub struct StdinLock<'a> {
    buffer: MutexGuard<'a, Buffer>,
    fd: &'a Fd<io::Stdin>,
    _held: Held<'a>,
}

struct Input {
    fd: Fd<io::Stdin>,
    gate: Gate,
    /// Locked by who holds the gate; tasks never wait for it.
    buffer: Mutex<Buffer>,
}

/// What has been read and not yet handed out: `bytes[start..]`.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// Where a read puts what comes.
    fresh: Box<[u8]>,
}

/// Bytes to be read at a time, as in std.
const AHEAD: usize = 8 << 10;

/// Standard input. As [`std::io::stdin`]; never suspends.
///
/// ```no_run
/// use multitask::{io, spawn};
///
/// spawn(|| {
///     for line in io::stdin().lines() {
///         println!("you said {}", line.unwrap()); // other tasks run while you think
///     }
/// });
/// multitask::run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task that waits for input can be given a time limit, and loses no input by it:
///
/// ```no_run
/// use multitask::{io, timeout};
/// use std::time::Duration;
///
/// let mut answer = String::new();
/// match timeout(Duration::from_secs(10), || io::stdin().read_line(&mut answer)) {
///     Ok(length) => println!("{} bytes", length?),
///     Err(_) => println!("too late; what was typed so far is there for the next call"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdin() -> Stdin {
    static INPUT: LazyLock<Input> = LazyLock::new(|| Input {
        fd: Fd::new(io::stdin()),
        gate: Gate::new(),
        buffer: Mutex::new(Buffer {
            bytes: Vec::new(),
            start: 0,
            fresh: vec![0; AHEAD].into(),
        }),
    });
    Stdin { input: &INPUT }
}

impl Stdin {
    /// Keeps others from reading until the lock is dropped; suspends until they have dropped theirs.
    ///
    /// # Panics
    /// If the task has it locked already, where std's would wait for ever.
    pub fn lock(&self) -> StdinLock<'static> {
        let held = self.input.gate.lock();
        let buffer = match self.input.buffer.try_lock() {
            Ok(buffer) => buffer,
            // What a panic elsewhere has left is still what has been read.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("this task has locked standard input already"),
        };
        StdinLock {
            buffer,
            fd: &self.input.fd,
            _held: held,
        }
    }

    /// Appends the next line, with its end, to `buf`; suspends until it is there. Returns its length: zero at the end of the input.
    ///
    /// # Errors
    /// Those of reading; `InvalidData` for a line that is not UTF-8.
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Iterates over the lines, without their ends. It has the input locked.
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }
}

impl BufRead for StdinLock<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        charge();
        if self.buffer.unread().is_empty() {
            self.read_ahead()?;
        }
        Ok(self.buffer.unread())
    }

    fn consume(&mut self, amount: usize) {
        self.buffer.consume(amount);
    }

    fn read_until(&mut self, delimiter: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        let length = self.await_piece(delimiter)?;
        buf.extend_from_slice(&self.buffer.unread()[..length]);
        self.buffer.consume(length);
        Ok(length)
    }

    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        let length = self.await_piece(b'\n')?;
        let line = std::str::from_utf8(&self.buffer.unread()[..length]);
        let valid = line.map(|line| buf.push_str(line));
        self.buffer.consume(length);
        let invalid = "stream did not contain valid UTF-8";
        valid.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, invalid))?;
        Ok(length)
    }
}

impl StdinLock<'_> {
    /// Reads until `delimiter`, or the end, is in the buffer; how far that is.
    fn await_piece(&mut self, delimiter: u8) -> io::Result<usize> {
        charge();
        let mut seen = 0;
        loop {
            // Of a slice this is std's fast search.
            seen += (&self.buffer.unread()[seen..]).skip_until(delimiter)?;
            let found = seen > 0 && self.buffer.unread()[seen - 1] == delimiter;
            if found || self.read_ahead()? == 0 {
                return Ok(seen);
            }
        }
    }

    /// Reads once and adds it to the buffer; zero at the end.
    fn read_ahead(&mut self) -> io::Result<usize> {
        let n = loop {
            match self.fd.read(&mut self.buffer.fresh) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break nothing_if_closed(done)?,
            }
        };
        self.buffer.add(n);
        Ok(n)
    }
}

impl Buffer {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes over `n` fresh bytes.
    fn add(&mut self, n: usize) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(&self.fresh[..n]);
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.bytes.len());
    }
}

impl Read for StdinLock<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.buffer.unread().is_empty() && buf.len() >= AHEAD {
            return nothing_if_closed(self.fd.read(buf));
        }
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let n = self.fill_buf()?.read_vectored(bufs)?;
        self.consume(n);
        Ok(n)
    }
}

impl Read for &Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buf)
    }
}

/// A stream that was closed before the program began has nothing to read, and takes everything: as in std.
fn nothing_if_closed(done: io::Result<usize>) -> io::Result<usize> {
    done.or_else(|error| if is_closed(&error) { Ok(0) } else { Err(error) })
}

// ---- output ----

struct Output<T: AsFd> {
    fd: Fd<T>,
    gate: Gate,
}

impl<T: AsFd> Output<T> {
    fn new(inner: T) -> Self {
        Output {
            fd: Fd::new(inner),
            gate: Gate::new(),
        }
    }

    fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let closed = buf.len();
        (&self.fd)
            .write(buf)
            .or_else(|error| taken_if_closed(error, closed))
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let closed = bufs.iter().map(|buf| buf.len()).sum();
        (&self.fd)
            .write_vectored(bufs)
            .or_else(|error| taken_if_closed(error, closed))
    }
}

fn taken_if_closed(error: io::Error, length: usize) -> io::Result<usize> {
    if is_closed(&error) {
        Ok(length)
    } else {
        Err(error)
    }
}

/// Standard output. As [`std::io::stdout`]; never suspends.
///
/// ```
/// use multitask::{io, spawn};
/// use std::io::Write;
///
/// let greets = spawn(|| writeln!(io::stdout(), "hello from {}", "a task"));
/// greets.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdout() -> Stdout {
    static OUTPUT: LazyLock<Output<io::Stdout>> = LazyLock::new(|| Output::new(io::stdout()));
    Stdout { output: &OUTPUT }
}

/// Standard error. As [`std::io::stderr`]; never suspends.
pub fn stderr() -> Stderr {
    static OUTPUT: LazyLock<Output<io::Stderr>> = LazyLock::new(|| Output::new(io::stderr()));
    Stderr { output: &OUTPUT }
}

macro_rules! outputs {
    ($($(#[$doc:meta])* $name:ident $lock:ident $inner:path;)*) => {$(
        $(#[$doc])*
        ///
        /// Unlike std's it keeps nothing back: each call writes to the descriptor, so `flush` has nothing to do, nothing is lost at
        /// exit, and what `println!` of std keeps back until the end of its line comes later. As std's, which write at least each
        /// line, it wants a [`BufWriter`](std::io::BufWriter) for much output. What `write!` formats, and what `write_all` is given, is not mixed with
        /// the output of other tasks.
        pub struct $name {
            output: &'static Output<$inner>,
        }

        #[doc = concat!("[`", stringify!($name), "`], locked: what others write waits until this is dropped. As [`std::io::", stringify!($lock), "`].")]
        ///
        /// The task that has it may lock and write in any other way as well.
        pub struct $lock<'a> {
            output: &'a Output<$inner>,
            _held: Held<'a>,
        }

        impl $name {
            /// Keeps others from writing until the lock is dropped; suspends until they have dropped theirs.
            pub fn lock(&self) -> $lock<'static> {
                $lock {
                    output: self.output,
                    _held: self.output.gate.lock(),
                }
            }
        }

        /// Suspends the task until there is room to write, and while another has it locked; `flush` never does.
        impl Write for $name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                (&*self).write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(args)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Write for &$name {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.lock().write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.lock().write_vectored(bufs)
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.lock().write_all(buf)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                self.lock().write_fmt(args)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        /// Suspends the task until there is room to write; `flush` never does.
        impl Write for $lock<'_> {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.output.write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.output.write_vectored(bufs)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                write_formatted(self, args)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

outputs! {
    /// Standard output: [`std::io::Stdout`], whose writes suspend the task only. Made by [`stdout`].
    Stdout StdoutLock io::Stdout;
    /// Standard error: [`std::io::Stderr`], whose writes suspend the task only. Made by [`stderr`].
    Stderr StderrLock io::Stderr;
}

macro_rules! descriptors {
    ($($name:ident, $stream:ty, $fd:ident $(. $field:ident)*;)*) => {$(
        impl $stream {
            /// Whether it is a terminal: [`std::io::IsTerminal`] is for std's types alone.
            pub fn is_terminal(&self) -> bool {
                self.as_fd().is_terminal()
            }
        }

        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.$fd $(.$field)*.as_fd()
            }
        }

        impl AsRawFd for $stream {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

descriptors! {
    Stdin, Stdin, input.fd;
    StdinLock, StdinLock<'_>, fd;
    Stdout, Stdout, output.fd;
    StdoutLock, StdoutLock<'_>, output.fd;
    Stderr, Stderr, output.fd;
    StderrLock, StderrLock<'_>, output.fd;
}
