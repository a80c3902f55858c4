//! What Unix knows of files, as [`std::os::unix::fs`]: the same extension traits, which the types of [`fs`](crate::fs) implement, and
//! functions that suspend the task.
//!
//! ```
//! use multitask::{fs, os::unix::fs::symlink};
//!
//! let link = std::env::temp_dir().join(format!("multitask-link-{}", std::process::id()));
//! symlink("where/to", &link)?;
//! assert_eq!(fs::read_link(&link)?.to_str(), Some("where/to"));
//! fs::remove_file(&link)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::blocking;
use crate::fs::call::calls;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs as std_fs;
use std::path::Path;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

calls! {
    /// Sets whose a file is. As [`std::os::unix::fs::chown`].
    chown(dir: P; uid: Option<u32>, gid: Option<u32>) -> ();
    /// Sets whose a file or link itself is. As [`std::os::unix::fs::lchown`].
    lchown(dir: P; uid: Option<u32>, gid: Option<u32>) -> ();
    /// Makes a symbolic link. As [`std::os::unix::fs::symlink`].
    symlink(original: P, link: Q) -> ();
    /// Makes a folder the root of all paths, for the whole process. As [`std::os::unix::fs::chroot`].
    chroot(dir: P) -> ();
}

/// Sets whose an open file is. As [`std::os::unix::fs::fchown`].
///
/// Suspends the task.
///
/// # Errors
/// Those of std's function; no thread can be had.
pub fn fchown<F: AsFd>(fd: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let fd = fd.as_fd();
    blocking::file(|| std_fs::fchown(fd, uid, gid))
}
