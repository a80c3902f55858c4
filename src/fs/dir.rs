//! Owns [`read_dir`] and its entries, and [`DirBuilder`].
//!
//! 1. Entries come in batches: one job of the pool reads as many as [`BATCH`], the first one with the opening.
//! 2. What asks no disk in std does not suspend here; the kind of an entry never does, but for failing.

use crate::blocking;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::vec;

/// What is in a folder, in no order. As [`std::fs::read_dir`]; suspends the task.
///
/// ```
/// use multitask::{fs, spawn};
/// use std::io;
///
/// let task = spawn(|| fs::read_dir("src")?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
/// assert!(task.join().unwrap()?.contains(&"lib.rs".into()));
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Errors
/// Those of std; no thread can be had.
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let path = path.as_ref();
    blocking::file(|| {
        let mut entries = std::fs::read_dir(path)?;
        let batch = Batch::read(&mut entries);
        Ok(ReadDir { entries, batch })
    })
}

/// The entries of a folder. As [`std::fs::ReadDir`]; made by [`read_dir`].
///
/// Suspends the task once for some hundreds of entries. As ever with folders, what is made or removed meanwhile may be among
/// them or not.
pub struct ReadDir {
    entries: std::fs::ReadDir,
    batch: Batch,
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if let Some(entry) = self.batch.entries.next() {
            return Some(entry);
        }
        if self.batch.last {
            return None;
        }
        // If that fails it is the end: who skips failures would ask for ever.
        self.batch.last = true;
        let entries = &mut self.entries;
        match blocking::file(|| Ok(Batch::read(entries))) {
            Ok(batch) => self.batch = batch,
            Err(error) => return Some(Err(error)),
        }
        self.batch.entries.next()
    }
}

// As std's is. The errors in a batch would forbid it, but they are only moved out.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

/// Entries that were read and not yet asked for.
struct Batch {
    entries: vec::IntoIter<io::Result<DirEntry>>,
    /// There are no more.
    last: bool,
}

/// Enough to make little of the hop; some 30 KiB.
const BATCH: usize = 256;

impl Batch {
    /// Up to [`BATCH`] entries; as std's iterator does, it asks the disk.
    fn read(from: &mut std::fs::ReadDir) -> Batch {
        let entries: Vec<_> = from
            .take(BATCH)
            .map(|entry| entry.map(DirEntry::new))
            .collect();
        Batch {
            last: entries.len() < BATCH,
            entries: entries.into_iter(),
        }
    }
}

/// What is known of a file or folder in a folder. As [`std::fs::DirEntry`]; it keeps the folder open, as std's does on Linux.
pub struct DirEntry {
    entry: std::fs::DirEntry,
    /// It was known, or could be found out.
    file_type: Option<FileType>,
}

impl DirEntry {
    /// In the pool: of a file system that does not keep it in the folder, the kind has to be asked for.
    fn new(entry: std::fs::DirEntry) -> Self {
        let file_type = entry.file_type().ok();
        DirEntry { entry, file_type }
    }

    /// The path of the folder as it was given, and the name. As [`std::fs::DirEntry::path`]; never suspends.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What is known of it; links are not followed. As [`std::fs::DirEntry::metadata`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn metadata(&self) -> io::Result<Metadata> {
        blocking::file(|| self.entry.metadata())
    }

    /// Whether it is a file, a folder, a link or something else. As [`std::fs::DirEntry::file_type`]; it was found out with the
    /// entry and does not suspend, unless that failed: then it is tried again.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => blocking::file(|| self.entry.file_type()),
        }
    }

    /// Its name. As [`std::fs::DirEntry::file_name`]; never suspends.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.entry.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}

/// How a folder is to be made. As [`std::fs::DirBuilder`], whose extension [`DirBuilderExt`] it implements as well.
///
/// ```
/// use multitask::fs::{self, DirBuilder};
/// use std::os::unix::fs::DirBuilderExt;
///
/// let path = std::env::temp_dir().join(format!("multitask-folder-{}", std::process::id()));
/// DirBuilder::new().recursive(true).mode(0o700).create(path.join("of/folders"))?;
/// fs::remove_dir_all(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct DirBuilder {
    builder: std::fs::DirBuilder,
}

impl DirBuilder {
    /// With std's defaults. As [`std::fs::DirBuilder::new`].
    #[allow(clippy::new_without_default)] // std has none
    pub fn new() -> Self {
        DirBuilder {
            builder: std::fs::DirBuilder::new(),
        }
    }

    /// Whether those above it are made as well; then it may be there already. As [`std::fs::DirBuilder::recursive`].
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.builder.recursive(recursive);
        self
    }

    /// Makes the folder. As [`std::fs::DirBuilder::create`]; suspends the task.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        let path = path.as_ref();
        blocking::file(|| self.builder.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.builder.mode(mode);
        self
    }
}

impl fmt::Debug for DirBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.builder.fmt(f)
    }
}
