//! Owns [`Fd`]: reading and writing a descriptor whose mode is not ours to change.
//!
//! 1. The mode of the open file is left as it is, so no call is made that might wait on the worker: the kernel is asked for one
//!    that does not wait; where it has none, the descriptor is ready when the call is made.
//! 2. Being ready says that *some* bytes can be written. A call that may wait for the rest is made by a thread of the blocking
//!    pool, for no more bytes than a pipe takes at once; they are its own, so that the task can leave it.
//! 3. What is never waited for but still takes its time, a file, is the pool's as well.
//! 4. A call that uses the position of an open file keeps others that do so waiting until it has ended. So while the pool makes
//!    one, none is made on the worker (`under_way`).

use super::settings::Settings;
use super::source::Source;
use super::wait::ready;
use crate::blocking;
use crate::rt::clock::deadline_in;
use crate::rt::header::Why;
use crate::rt::park::charge;
use crate::rt::reactor::{Interest, Interests};
use crate::sys::file::{self, Nature};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Reads and writes any descriptor, suspending the task where the call would block.
///
/// What is inside is anything that has a descriptor: an [`OwnedFd`], a device opened as [`std::fs::File`], std's end of a pipe
/// to a child, or a borrowed one. Its mode, blocking or not, is neither changed nor minded: the open file may be shared with
/// other processes. Buffering is std's: [`BufReader`](std::io::BufReader) and its `read_line` work over it.
///
/// ```
/// use multitask::{io::Fd, spawn};
/// use std::io::{BufRead, BufReader};
/// use std::process::{Command, Stdio};
///
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let stdout = Fd::new(child.stdout.take().unwrap());
/// let reader = spawn(move || {
///     let mut line = String::new();
///     BufReader::new(stdout).read_line(&mut line).map(|_| line)
/// });
/// assert_eq!(reader.join().unwrap()?, "hello\n");
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # It does not seek
///
/// There is no `Seek`: what can be waited for has no position. A file inside is read and written at its own position, by the
/// blocking pool; [`fs::File`](crate::fs::File) is the type for that.
///
/// ```compile_fail
/// # fn file() -> std::fs::File { unimplemented!() }
/// use std::io::Seek;
///
/// multitask::io::Fd::new(file()).rewind();
/// ```
///
/// # Several readers, several writers
///
/// Any number of tasks and threads may use one `Fd` through `&`, and any number of `Fd`s one descriptor. One danger is left,
/// with kernels and kinds of descriptor that have no call that does not wait (terminals; most kinds before Linux 6.4): if another
/// *thread or process* takes the data between the look and the call, the call waits, and the worker with it. What is written to such a
/// descriptor goes through the blocking pool, 4096 bytes at a time; a task that is cancelled meanwhile may leave the last piece on its way.
pub struct Fd<T: AsFd> {
    /// Made at the first wait; goes before what it is a duplicate of.
    watch: OnceLock<Source<OwnedFd>>,
    inner: T,
    nature: OnceLock<Nature>,
    /// The kernel has no reading that does not wait for this kind of descriptor.
    read_waits: AtomicBool,
    /// Nor writing.
    write_waits: AtomicBool,
    /// Calls of the pool by rule 4; counted together by those that share an open file and know it.
    under_way: Arc<AtomicUsize>,
    settings: Settings,
}

impl<T: AsFd> Fd<T> {
    /// Wraps what has a descriptor; never suspends, and makes no system call.
    pub fn new(inner: T) -> Self {
        Fd {
            watch: OnceLock::new(),
            inner,
            nature: OnceLock::new(),
            read_waits: AtomicBool::new(false),
            write_waits: AtomicBool::new(false),
            under_way: Arc::default(),
            settings: Settings::default(),
        }
    }

    /// As `new`, of what is known already: what lies behind, and whether its user wants `WouldBlock` instead of waits.
    pub(crate) fn known(inner: T, nature: Nature, nonblocking: bool) -> Self {
        let fd = Fd::new(inner);
        fd.nature.get_or_init(|| nature);
        fd.settings.set_nonblocking(nonblocking);
        fd
    }

    /// As `new`, of a duplicate of what is in this one.
    pub(crate) fn sharing(&self, inner: T) -> Self {
        let fd = Fd {
            under_way: self.under_way.clone(),
            ..Fd::new(inner)
        };
        fd.settings.set_nonblocking(self.settings.nonblocking());
        if let Some(nature) = self.nature.get() {
            fd.nature.get_or_init(|| *nature);
        }
        fd
    }

    /// What is inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Gives back what is inside, as it was.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Bounds the wait of each later read by `timeout`; `None` lets it last for ever. As that of std's sockets.
    ///
    /// A read that exceeds it fails with `TimedOut`, carrying [`Timeout`](crate::Timeout).
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings.set_read_timeout(checked(timeout)?);
        Ok(())
    }

    /// Bounds the wait of each later write by `timeout`; `None` lets it last for ever. As that of std's sockets.
    ///
    /// # Errors
    /// `InvalidInput` if it is zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.settings.set_write_timeout(checked(timeout)?);
        Ok(())
    }

    /// The bound of each read.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.settings.read_timeout()
    }

    /// The bound of each write.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.settings.write_timeout()
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.nature()? {
            Nature::Storage => self.load(bufs),
            Nature::Stream if self.settings.nonblocking() => {
                charge();
                file::read(self.inner.as_fd(), bufs)
            }
            Nature::Stream => {
                let limit = self.settings.read_timeout();
                self.retry(Interest::Read, Why::Read, limit, || self.try_read(bufs))
            }
        }
    }

    fn send(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.nature()? {
            Nature::Storage => self.store(bufs),
            Nature::Stream if self.settings.nonblocking() => {
                charge();
                file::write(self.inner.as_fd(), bufs)
            }
            Nature::Stream => self.send_when_ready(bufs, self.settings.write_timeout()),
        }
    }

    fn send_when_ready(&self, bufs: &[IoSlice<'_>], limit: Option<Duration>) -> io::Result<usize> {
        let fd = self.inner.as_fd();
        let write = || without_waiting(&self.write_waits, || file::write_nowait(fd, bufs, None));
        // As a result that is no error, it ends the waiting as well.
        let turn_out = || write().map_or(Ok(None), |done| done.map(Some));
        if let Some(n) = self.retry(Interest::Write, Why::Write, limit, turn_out)? {
            return Ok(n);
        }
        let deadline = limit.and_then(deadline_in);
        let mut piece = Vec::new();
        for buf in bufs {
            let room = file::PIPE_BUF - piece.len();
            piece.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        if piece.is_empty() {
            return file::write(fd, bufs);
        }
        loop {
            self.wait_for_room(deadline)?;
            match blocking::write(fd.try_clone_to_owned()?, piece.clone(), deadline) {
                // It is non-blocking, and somebody else was quicker.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    fn wait_for_room(&self, deadline: Option<Instant>) -> io::Result<()> {
        let writable = || -> io::Result<()> {
            match ready(self.inner.as_fd(), Interests::WRITABLE)? {
                Some(_) => Ok(()),
                None => Err(ErrorKind::WouldBlock.into()),
            }
        };
        match writable() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let watch = self.watch()?;
                watch.retry_until(Interest::Write, Why::Write, deadline, |_| writable())
            }
            done => done,
        }
    }

    /// Reads from a file: at once what is in memory, by the pool what is on the disk.
    fn load(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(n) = self.load_now(bufs, None) {
            return Ok(n);
        }
        let fd = self.inner.as_fd();
        self.moving(|| file::read(fd, bufs))
    }

    /// Writes to a file: at once where the system's memory takes it, by the pool where it is full or cannot tell.
    fn store(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(n) = self.store_now(bufs, None) {
            return Ok(n);
        }
        let fd = self.inner.as_fd();
        self.moving(|| file::write(fd, bufs))
    }

    /// Reads from a file, where it stands or from `at` on, what is in memory. For all else, failures and the end of the file
    /// included, ask the pool: Linux 5.9 and 5.10 see an end where there is none.
    pub(crate) fn load_now(&self, bufs: &mut [IoSliceMut<'_>], at: Option<u64>) -> Option<usize> {
        charge();
        let wanted = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if wanted > AT_ONCE || at.is_none() && !self.is_still() {
            return None;
        }
        let fd = self.inner.as_fd();
        let read = without_waiting(&self.read_waits, || file::read_nowait(fd, bufs, at));
        read?.ok().filter(|&n| n > 0 || wanted == 0)
    }

    /// Writes to a file, where it stands or from `at` on, what the system's memory takes. For all else ask the pool.
    pub(crate) fn store_now(&self, bufs: &[IoSlice<'_>], at: Option<u64>) -> Option<usize> {
        charge();
        let given = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if given > AT_ONCE || at.is_none() && !self.is_still() {
            return None;
        }
        let fd = self.inner.as_fd();
        let write = without_waiting(&self.write_waits, || file::write_nowait(fd, bufs, at));
        write?.ok()
    }

    /// Makes a call that uses the position of a file, by the pool.
    ///
    /// # Errors
    /// Those of `call`; no thread can be had.
    pub(crate) fn moving<R: Send>(
        &self,
        call: impl FnOnce() -> io::Result<R> + Send,
    ) -> io::Result<R> {
        struct Left<'a>(&'a AtomicUsize);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _left = Left(&self.under_way);
        blocking::file(call)
    }

    /// Whether a call that uses the position of a file would not have to wait for another one: rule 4.
    pub(crate) fn is_still(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    fn try_read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.inner.as_fd();
        match without_waiting(&self.read_waits, || file::read_nowait(fd, bufs, None)) {
            Some(done) => done,
            // No bytes are there at once.
            None if bufs.iter().all(|buf| buf.is_empty()) => file::read(fd, bufs),
            None if ready(fd, Interests::READABLE)?.is_some() => file::read(fd, bufs),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// As `Source::retry`; a descriptor that never has to be waited for is never duplicated.
    fn retry<R>(
        &self,
        interest: Interest,
        why: Why,
        limit: Option<Duration>,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        if self.watch.get().is_none() {
            charge();
            match op() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
        self.watch()?.retry(interest, why, limit, |_| op())
    }

    fn watch(&self) -> io::Result<&Source<OwnedFd>> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch);
        }
        let made = Source::watch(self.inner.as_fd())?;
        // Somebody else may have made one meanwhile: then that is the one.
        Ok(self.watch.get_or_init(|| made))
    }

    /// What lies behind the descriptor.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn nature(&self) -> io::Result<Nature> {
        if let Some(nature) = self.nature.get() {
            return Ok(*nature);
        }
        let nature = file::nature(self.inner.as_fd())?;
        Ok(*self.nature.get_or_init(|| nature))
    }
}

/// Copying so many bytes out of the system's memory does not keep the others waiting for long.
const AT_ONCE: usize = 64 << 10;

/// Makes a call that does not wait, if the kernel has it; remembers if not.
fn without_waiting<R>(
    waits: &AtomicBool,
    call: impl FnOnce() -> io::Result<R>,
) -> Option<io::Result<R>> {
    if waits.load(Ordering::Relaxed) {
        return None;
    }
    match call() {
        Err(error) if file::is_unsupported(&error) => {
            waits.store(true, Ordering::Relaxed);
            None
        }
        done => Some(done),
    }
}

/// Writes what is formatted in one piece: each piece may cost a suspension.
pub(crate) fn write_formatted(to: &mut impl Write, args: fmt::Arguments<'_>) -> io::Result<()> {
    match args.as_str() {
        Some(text) => to.write_all(text.as_bytes()),
        None => to.write_all(fmt::format(args).as_bytes()),
    }
}

/// No limit is zero, as in std.
pub(crate) fn checked(timeout: Option<Duration>) -> io::Result<Option<Duration>> {
    if timeout == Some(Duration::ZERO) {
        let zero = "cannot set a 0 duration timeout";
        return Err(io::Error::new(ErrorKind::InvalidInput, zero));
    }
    Ok(timeout)
}

/// Suspends the task until there is something to read or the other end has finished.
impl<T: AsFd> Read for Fd<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

/// Suspends the task until there is room to write; `flush` never does.
impl<T: AsFd> Write for Fd<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: AsFd> Read for &Fd<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(&mut [IoSliceMut::new(buf)])
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receive(bufs)
    }
}

impl<T: AsFd> Write for &Fd<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.send(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: AsFd> From<T> for Fd<T> {
    fn from(inner: T) -> Self {
        Fd::new(inner)
    }
}

impl<T: AsFd + Into<OwnedFd>> From<Fd<T>> for OwnedFd {
    fn from(fd: Fd<T>) -> Self {
        fd.into_inner().into()
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Fd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + IntoRawFd> IntoRawFd for Fd<T> {
    fn into_raw_fd(self) -> RawFd {
        self.into_inner().into_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fd").field(&self.inner).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::scheduler::Scheduler;
    use crate::task::{spawn, yield_now};
    use std::fs::File;
    use std::sync::mpsc;

    #[test]
    fn while_the_pool_uses_the_position_of_a_file_nothing_is_tried_at_once() {
        let path = std::env::current_exe().expect("a path");
        let file = File::open(path).expect("it is there");
        let copy = file.try_clone().expect("descriptors");
        let file = Fd::known(file, Nature::Storage, false);
        let copy = file.sharing(copy);
        let scheduler = Scheduler::new().expect("descriptors");
        scheduler.block_on(|| {
            let (release, held) = mpsc::channel::<()>();
            let uses = spawn(move || file.moving(move || Ok(held.recv().is_err())));
            yield_now();
            assert!(!copy.is_still());
            let mut buf = [0; 4];
            assert_eq!(copy.load_now(&mut [IoSliceMut::new(&mut buf)], None), None);
            drop(release);
            assert!(uses.join().expect("no panic").expect("a thread"));
            assert!(copy.is_still());
            (&copy).read_exact(&mut buf).expect("it has as much");
        });
    }

    #[test]
    fn an_end_of_a_file_is_not_believed_at_once() {
        let file = File::open("/proc/self/cmdline").expect("a file");
        for file in [
            file,
            File::open(std::env::current_exe().expect("a path")).expect("a file"),
        ] {
            let length = io::copy(&mut &file, &mut io::sink()).expect("a file");
            assert!(length > 0);
            let fd = Fd::new(file);
            assert_eq!(fd.load_now(&mut [IoSliceMut::new(&mut [0; 4])], None), None);
            assert_eq!((&fd).read(&mut [0; 4]).expect("a file"), 0);
        }
    }
}
