//! Owns the functions of [`fs`](crate::fs) that have a path and no file.
//!
//! 1. Each is one job of the pool that calls std's function of its name: what the kernel does in one go stays so.
//! 2. But what opens pipes and devices leaves that to [`File`], or to a job that owns what it uses.

use super::file::File;
use super::open::on_disk;
use crate::blocking;
use crate::rt::header::Why;
use std::fs::{self as std_fs, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Reads a whole file. As [`std::fs::read`]; suspends the task.
///
/// ```
/// let (path, task) = ("Cargo.toml", multitask::spawn(|| multitask::fs::read("Cargo.toml")));
/// assert_eq!(task.join().unwrap()?, std::fs::read(path)?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of std; no thread can be had.
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    if let Some(bytes) = on_disk(&[path], || std_fs::read(path))? {
        return Ok(bytes);
    }
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file of text. As [`std::fs::read_to_string`]; suspends the task.
///
/// # Errors
/// Those of std: `InvalidData` if it is not UTF-8; no thread can be had.
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    let path = path.as_ref();
    match on_disk(&[path], || std_fs::read_to_string(path))? {
        Some(text) => Ok(text),
        None => io::read_to_string(File::open(path)?),
    }
}

/// Makes a file, or replaces what is in it. As [`std::fs::write`]; suspends the task.
///
/// ```
/// use multitask::fs;
///
/// let path = std::env::temp_dir().join(format!("multitask-write-{}", std::process::id()));
/// fs::write(&path, "hello")?;
/// assert_eq!(fs::read_to_string(&path)?, "hello");
/// fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of std; no thread can be had.
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    match on_disk(&[path], || std_fs::write(path, contents))? {
        Some(()) => Ok(()),
        None => File::create(path)?.write_all(contents),
    }
}

/// Copies what is in a file, and who may do what with it; says how many bytes. As [`std::fs::copy`], with all short cuts of the
/// kernel; suspends the task.
///
/// # Errors
/// Those of std; no thread can be had.
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if let Some(n) = on_disk(&[from, to], || std_fs::copy(from, to))? {
        return Ok(n);
    }
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking::patient(Why::FileOpen, move || std_fs::copy(from, to))
}

/// Functions that are std's of the same name in the module `std_fs`, called by the pool.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($path:ident: $P:ident),+ $(; $($arg:ident: $Arg:ty),+)?) -> $T:ty;)+) => {$(
        $(#[$doc])*
        ///
        /// Suspends the task.
        ///
        /// # Errors
        /// Those of std's function; no thread can be had.
        pub fn $name<$($P: AsRef<Path>),+>($($path: $P,)+ $($($arg: $Arg,)+)?) -> io::Result<$T> {
            $(let $path = $path.as_ref();)+
            blocking::file(|| std_fs::$name($($path,)+ $($($arg,)+)?))
        }
    )+};
}
pub(crate) use calls;

calls! {
    /// The path from the root on, without links. As [`std::fs::canonicalize`].
    canonicalize(path: P) -> PathBuf;
    /// Makes a folder. As [`std::fs::create_dir`].
    create_dir(path: P) -> ();
    /// Makes a folder and those above it that are missing. As [`std::fs::create_dir_all`].
    create_dir_all(path: P) -> ();
    /// Whether something is there. As [`std::fs::exists`].
    exists(path: P) -> bool;
    /// Gives a file a second name. As [`std::fs::hard_link`].
    hard_link(original: P, link: Q) -> ();
    /// What is known of a file or folder; links are followed. As [`std::fs::metadata`].
    metadata(path: P) -> Metadata;
    /// Where a link leads to. As [`std::fs::read_link`].
    read_link(path: P) -> PathBuf;
    /// Removes an empty folder. As [`std::fs::remove_dir`].
    remove_dir(path: P) -> ();
    /// Removes a folder and all that is in it. As [`std::fs::remove_dir_all`], safe from links put there meanwhile.
    remove_dir_all(path: P) -> ();
    /// Removes a file. As [`std::fs::remove_file`].
    remove_file(path: P) -> ();
    /// Gives a file another name, in place of what has it. As [`std::fs::rename`].
    rename(from: P, to: Q) -> ();
    /// Sets who may do what with a file. As [`std::fs::set_permissions`].
    set_permissions(path: P; perm: Permissions) -> ();
    /// Makes a symbolic link. As [`std::fs::soft_link`].
    #[deprecated(note = "use `multitask::os::unix::fs::symlink`")]
    #[allow(deprecated)]
    soft_link(original: P, link: Q) -> ();
    /// What is known of a file, folder or link itself. As [`std::fs::symlink_metadata`].
    symlink_metadata(path: P) -> Metadata;
}
