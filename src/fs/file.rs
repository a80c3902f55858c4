//! Owns [`File`]: an open file, read and written where that does not keep the worker waiting.
//!
//! 1. What is inside is std's file, in an [`Fd`]: which knows disks from pipes, and what can be done at once.
//! 2. What uses the position of the file goes through [`Fd::moving`], or is sure not to wait for such a call.
//! 3. Nothing waits in the pool for another program, and nothing suspends in a destructor.

use crate::blocking;
use crate::io::fd::{write_formatted, Fd};
use crate::io::source::retry_unannounced;
use crate::rt::header::Why;
use crate::rt::park::{charge, may_block};
use crate::sys::file::Nature;
use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::SystemTime;

/// An open file: [`std::fs::File`], whose calls suspend the task only.
///
/// It reads, writes and seeks through `&` as well. Tasks and threads may share it; they share its position too.
/// [`FileExt`]'s `read_at` and `write_at` need none.
///
/// ```
/// use multitask::{fs::File, spawn};
/// use std::io::{self, Read, Seek, Write};
/// use std::os::unix::fs::FileExt;
///
/// let path = std::env::temp_dir().join(format!("multitask-file-{}", std::process::id()));
/// let task = spawn(move || -> io::Result<String> {
///     let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
///     file.write_all(b"hello world")?;
///     file.write_all_at(b"W", 6)?;
///     file.rewind()?;
///     let mut text = String::new();
///     file.read_to_string(&mut text)?;
///     multitask::fs::remove_file(&path)?;
///     Ok(text)
/// });
/// assert_eq!(task.join().unwrap()?, "hello World");
/// # Ok::<(), io::Error>(())
/// ```
///
/// Dropping it closes it and does not suspend, see [`fs`](crate::fs).
pub struct File {
    fd: Fd<std::fs::File>,
}

impl File {
    /// Wraps a file that was opened for its user; `nonblocking` if that is how it was to be opened.
    pub(super) fn opened(file: std::fs::File, nature: Nature, nonblocking: bool) -> File {
        File {
            fd: Fd::known(file, nature, nonblocking),
        }
    }

    fn std(&self) -> &std::fs::File {
        self.fd.get_ref()
    }

    /// Waits until all that was written is on the disk, with all that is known of the file. As [`std::fs::File::sync_all`];
    /// suspends the task.
    ///
    /// # Errors
    /// Those of std, which are also those of earlier writes; no thread can be had.
    pub fn sync_all(&self) -> io::Result<()> {
        blocking::file(|| self.std().sync_all())
    }

    /// Waits until all that was written is on the disk. As [`std::fs::File::sync_data`]; suspends the task.
    ///
    /// # Errors
    /// As [`sync_all`](File::sync_all).
    pub fn sync_data(&self) -> io::Result<()> {
        blocking::file(|| self.std().sync_data())
    }

    /// Waits until no other open file has a lock of this one, and locks it. As [`std::fs::File::lock`].
    ///
    /// Suspends the task; it can be cancelled and bounded by [`timeout`](crate::timeout), and has no lock then. No event tells
    /// that a lock is free, so a task looks again after 1, 2, 4, 8, and then every 16 ms, in no order among those that wait.
    ///
    /// ```
    /// use multitask::{fs::File, spawn, timeout, Timeout};
    /// use std::time::Duration;
    ///
    /// let path = std::env::temp_dir().join(format!("multitask-lock-{}", std::process::id()));
    /// let ours = File::create(&path)?;
    /// let theirs = File::open(&path)?;
    /// ours.lock()?;
    /// let tries = spawn(move || timeout(Duration::from_millis(5), || theirs.lock()).map(drop));
    /// assert_eq!(tries.join().unwrap(), Err(Timeout));
    /// # drop(ours);
    /// # multitask::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of std; no thread can be had; [`Cancelled`](crate::Cancelled) or [`Timeout`](crate::Timeout) inside where
    /// nothing can be unwound.
    pub fn lock(&self) -> io::Result<()> {
        self.lock_by(std::fs::File::lock, std::fs::File::try_lock)
    }

    /// As [`lock`](File::lock), beside others who share it. As [`std::fs::File::lock_shared`].
    ///
    /// # Errors
    /// As `lock`.
    pub fn lock_shared(&self) -> io::Result<()> {
        self.lock_by(std::fs::File::lock_shared, std::fs::File::try_lock_shared)
    }

    /// Locks the file if no other open file has a lock of it. As [`std::fs::File::try_lock`]; suspends the task, for a server may
    /// have to be asked, and waits for no lock.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.try_lock_by(std::fs::File::try_lock)
    }

    /// As [`try_lock`](File::try_lock), beside others who share it. As [`std::fs::File::try_lock_shared`].
    ///
    /// # Errors
    /// As `try_lock`.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.try_lock_by(std::fs::File::try_lock_shared)
    }

    /// Gives the lock back; closing the file does so as well. As [`std::fs::File::unlock`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn unlock(&self) -> io::Result<()> {
        blocking::file(|| self.std().unlock())
    }

    /// Makes the file `size` bytes long, cutting it off or filling it with zeros. As [`std::fs::File::set_len`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        blocking::file(|| self.std().set_len(size))
    }

    /// What is known of the file. As [`std::fs::File::metadata`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::file(|| self.std().metadata())
    }

    /// Another handle of the same open file, position and locks included. As [`std::fs::File::try_clone`]; never suspends.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<File> {
        let copy = self.std().try_clone()?;
        Ok(File {
            fd: self.fd.sharing(copy),
        })
    }

    /// Sets who may do what with the file. As [`std::fs::File::set_permissions`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        blocking::file(|| self.std().set_permissions(perm))
    }

    /// Sets when the file was read and changed. As [`std::fs::File::set_times`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        blocking::file(|| self.std().set_times(times))
    }

    /// Sets when the file was changed. As [`std::fs::File::set_modified`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Whether it is a terminal: [`std::io::IsTerminal`] is for std's types alone.
    pub fn is_terminal(&self) -> bool {
        self.std().is_terminal()
    }

    /// The kernel's own wait cannot be left, and a thread that gets the lock for a task that has left could not give it back
    /// without taking it from whoever has it by then. So there is none: just tries, with pauses.
    fn lock_by(
        &self,
        wait: fn(&std::fs::File) -> io::Result<()>,
        attempt: fn(&std::fs::File) -> Result<(), TryLockError>,
    ) -> io::Result<()> {
        if may_block() {
            return wait(self.std());
        }
        retry_unannounced(Why::FileLock, None, || match self.try_lock_by(attempt) {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    fn try_lock_by(
        &self,
        attempt: fn(&std::fs::File) -> Result<(), TryLockError>,
    ) -> Result<(), TryLockError> {
        blocking::file(|| Ok(attempt(self.std()))).unwrap_or_else(|e| Err(TryLockError::Error(e)))
    }
}

macro_rules! streams {
    ($($File:ty),*) => {$(
        /// Suspends the task, unless what is read is in the system's memory.
        impl Read for $File {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&self.fd).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.fd).read_vectored(bufs)
            }

            fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                let mut file = self.std();
                match self.fd.nature()? {
                    Nature::Storage => self.fd.moving(|| file.read_to_end(buf)),
                    Nature::Stream => (&self.fd).read_to_end(buf),
                }
            }

            fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
                let mut file = self.std();
                match self.fd.nature()? {
                    Nature::Storage => self.fd.moving(|| file.read_to_string(buf)),
                    Nature::Stream => (&self.fd).read_to_string(buf),
                }
            }
        }

        /// Suspends the task, unless the file system takes it at once; `flush` has nothing to do. What is formatted is written
        /// in one piece.
        impl Write for $File {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&self.fd).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&self.fd).write_vectored(bufs)
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                write_formatted(self, args)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        /// Suspends the task to ask for the end of the file, and while another call uses its position.
        impl Seek for $File {
            fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
                charge();
                let mut file = self.std();
                match pos {
                    // The rest is a number in the kernel's memory; the end may be known to a server only.
                    SeekFrom::Start(_) | SeekFrom::Current(_) if self.fd.is_still() => file.seek(pos),
                    _ => self.fd.moving(|| file.seek(pos)),
                }
            }
        }
    )*};
}

streams!(File, &File);

/// As [`std::os::unix::fs::FileExt`], which it implements. Suspends the task, unless what is read is in the system's memory, or the
/// file system takes at once what is written.
impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.fd.load_now(&mut [IoSliceMut::new(buf)], Some(offset)) {
            Some(n) => Ok(n),
            None => blocking::file(|| self.std().read_at(buf, offset)),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        match self.fd.store_now(&[IoSlice::new(buf)], Some(offset)) {
            Some(n) => Ok(n),
            None => blocking::file(|| self.std().write_at(buf, offset)),
        }
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        File { fd: Fd::new(file) }
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> Self {
        file.fd.into_inner()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        std::fs::File::from(fd).into()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        file.fd.into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        std::fs::File::from(file).into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller promises that `fd` is open and now ours alone, which is what std asks for.
        unsafe { std::fs::File::from_raw_fd(fd) }.into()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.fd.into_raw_fd()
    }
}

/// As std's, which asks no disk: its path as the kernel remembers it, and how it was opened.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::scheduler::Scheduler;
    use crate::task::{spawn, yield_now};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{mpsc, Arc};

    /// Whether another task that is ready runs while `call` is made.
    fn suspends<R>(call: impl FnOnce() -> R) -> bool {
        let ran = Arc::new(AtomicBool::new(false));
        let other = spawn({
            let ran = ran.clone();
            move || ran.store(true, Ordering::Relaxed)
        });
        call();
        let suspended = ran.load(Ordering::Relaxed);
        other.join().expect("no panic");
        suspended
    }

    #[test]
    fn seeking_suspends_only_if_it_might_have_to_wait() {
        let path = std::env::current_exe().expect("a path");
        Scheduler::new().expect("descriptors").block_on(|| {
            let file = File::open(path).expect("it is there");
            let copy = file.try_clone().expect("descriptors");
            assert!(!suspends(|| (&copy).seek(SeekFrom::Start(7))));
            assert!(!suspends(|| (&copy).seek(SeekFrom::Current(-1))));
            assert!(suspends(|| (&copy).seek(SeekFrom::End(-1))));
            let (release, held) = mpsc::channel::<()>();
            let uses = spawn(move || file.fd.moving(move || Ok(held.recv().is_err())));
            yield_now();
            assert!(suspends(|| (&copy).seek(SeekFrom::Start(7))));
            drop(release);
            assert!(uses.join().expect("no panic").expect("a thread"));
        });
    }
}
