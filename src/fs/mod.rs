//! Files and folders with the names, signatures and errors of [`std::fs`], whose calls suspend the task instead of the thread.
//!
//! ```
//! use multitask::{fs, spawn};
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! let path = std::env::temp_dir().join(format!("multitask-{}", std::process::id()));
//! let writer = fs::File::create(&path)?;
//! let task = spawn(move || -> io::Result<()> {
//!     for n in 0..3 {
//!         writeln!(&writer, "line {n}")?; // suspends this task only
//!     }
//!     writer.sync_all()
//! });
//! task.join().unwrap()?;
//!
//! let lines = BufReader::new(fs::File::open(&path)?).lines().collect::<io::Result<Vec<_>>>()?;
//! assert_eq!(lines, ["line 0", "line 1", "line 2"]);
//! fs::remove_file(&path)?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Who does the work
//!
//! The kernel has no way to wait for a file. So what may touch a disk or a server is done by a thread of a pool while the task
//! is suspended: up to 64 calls at once, further ones queue. Left to the worker is only what the kernel says it can do without
//! waiting: small reads of what is in its memory, small writes where the file system has them (XFS and Btrfs do, ext4 does
//! not), and moving the position of a file. A hop to the pool takes about ten microseconds, so
//! [`BufReader`](std::io::BufReader) and [`BufWriter`](std::io::BufWriter) are worth more here than with std. Whole files ([`read`],
//! [`write()`], [`copy`], `read_to_end`) take one hop, and a folder is read by hundreds of entries.
//!
//! On a plain thread that has no tasks to run meanwhile, the calls are std's.
//!
//! What leads to a named pipe, a terminal or another device does not wait in the pool: [`File`] reads and writes it when it is
//! ready, as [`io::Fd`](crate::io::Fd) does.
//!
//! # Cancelling and time limits
//!
//! A call that has begun is finished, and what it did counts: its value is returned, and cancelling, or the deadline of a
//! [`timeout`](crate::timeout) scope, is met at the next wait. So a `timeout` does not cut a call short, and a disk or a server
//! that does not answer holds the task, and one of the 64 threads. What should be given up quickly is read and written in
//! pieces. A task that is cancelled already begins no call; in a destructor that runs while unwinding, calls do their work.
//!
//! Three waits depend on other programs, have no end of their own, and can be left at any time:
//! - [`File::lock`] and `lock_shared`, which look again after pauses of up to 16 ms;
//! - reading and writing a pipe or a device;
//! - opening them: a named pipe opens when somebody opens its other end. The pool goes on with that after a cancelled task has
//!   gone, and closes what it gets. 256 such calls can wait at once.
//!
//! # Dropping
//!
//! Dropping a [`File`] closes it, there and then, as with std: a lock is free and the descriptor can be used again when `drop`
//! has returned. A destructor does not suspend, for it may run where that would be wrong (while std's locks are held, while
//! unwinding). On disks that is quick. Network and user-space file systems may send out what was written, and hold up the
//! worker meanwhile: call [`File::sync_all`] before, which suspends and reports the errors that `drop` does not, or
//! [`task::blocking`](crate::task::blocking)`(|| drop(file))`.
//!
//! # What to mind
//!
//! - The methods of [`std::path::Path`] (`exists`, `is_file`, `metadata`, `read_dir`, ...) are std's: they block the worker.
//!   [`exists`] and [`metadata`] are here.
//! - Some files of the kernel wait for events although they look like files of a disk (`/proc/kmsg`, `trace_pipe` of tracefs).
//!   Reading them holds a thread of the pool; [`task::blocking`](crate::task::blocking) has more of these.
//! - [`std::io::copy`] works between all of these types, over 8 KiB of the task's stack; it knows std's types only, so it has
//!   none of the kernel's short cuts for ours. [`copy`] of whole files has them.
//! - std reads and writes through `Arc<File>` too. Rust lets no other crate say that of its types: write `&*file`.
//! - [`std::io::IsTerminal`] is for std's types alone: [`File::is_terminal`] is a method.
//! - Calls are made by another thread of the process: what Linux keeps for each thread (`setfsuid`, namespaces) is not the
//!   caller's there.

pub(crate) mod call;
mod dir;
#[allow(unsafe_code)] // FromRawFd's method is unsafe by its trait
mod file;
mod open;

#[allow(deprecated)]
pub use call::soft_link;
pub use call::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
    symlink_metadata, write,
};
pub use dir::{read_dir, DirBuilder, DirEntry, ReadDir};
pub use file::File;
pub use open::OpenOptions;
pub use std::fs::{FileTimes, FileType, Metadata, Permissions, TryLockError};
