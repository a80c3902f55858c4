//! Owns [`OpenOptions`]: how a file is opened, and [`File`]'s own ways to do so.
//!
//! 1. A named pipe opens when somebody opens its other end, a terminal when somebody answers. So the pool's job looks at what is
//!    there first, and leaves such to a job that owns all that it uses ([`blocking::patient`]).

use super::file::File;
use crate::blocking;
use crate::rt::header::Why;
use crate::rt::park::may_block;
use crate::sys::fd::asks_nonblocking;
use crate::sys::file;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// How a file is to be opened. As [`std::fs::OpenOptions`], whose extension
/// [`OpenOptionsExt`] it implements as well.
///
/// ```
/// use multitask::fs::OpenOptions;
/// use std::io::Write;
/// use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
///
/// let path = std::env::temp_dir().join(format!("multitask-open-{}", std::process::id()));
/// let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
/// file.write_all(b"a line\n")?;
/// assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600);
/// multitask::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    options: std::fs::OpenOptions,
    flags: i32,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: bool) -> &mut Self {
            self.options.$name($name);
            self
        }
    )*};
}

impl OpenOptions {
    /// With nothing allowed: set what is to be. As [`std::fs::OpenOptions::new`].
    #[allow(clippy::new_without_default)] // std has none
    pub fn new() -> Self {
        OpenOptions {
            options: std::fs::OpenOptions::new(),
            flags: 0,
        }
    }

    settings! {
        /// Whether it can be read.
        read
        /// Whether it can be written.
        write
        /// Whether all is written at its end.
        append
        /// Whether it is emptied.
        truncate
        /// Whether it is made if it is not there.
        create
        /// Whether it is made, and must not be there.
        create_new
    }

    /// Opens the file at `path`. As [`std::fs::OpenOptions::open`]; suspends the task.
    ///
    /// A named pipe opens when its other end is opened. That wait can be cancelled and bounded by [`timeout`](crate::timeout); it
    /// goes on elsewhere then, and what is opened is closed.
    ///
    /// # Errors
    /// Those of std; no thread can be had.
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        let open = |options: &std::fs::OpenOptions, path: &Path| {
            let file = options.open(path)?;
            let nature = file::nature(file.as_fd())?;
            Ok((file, nature))
        };
        let (file, nature) = match on_disk(&[path], || open(&self.options, path))? {
            Some(opened) => opened,
            None => {
                let (options, path) = (self.options.clone(), path.to_owned());
                blocking::patient(Why::FileOpen, move || open(&options, &path))?
            }
        };
        Ok(File::opened(file, nature, asks_nonblocking(self.flags)))
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.options.mode(mode);
        self
    }

    /// With `O_NONBLOCK`, a pipe or a device answers `WouldBlock` where it would suspend the task otherwise.
    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.options.custom_flags(flags);
        self.flags = flags;
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl File {
    /// Opens a file to read it. As [`std::fs::File::open`]; suspends the task.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write it, makes it if it is not there, and empties it if it is. As [`std::fs::File::create`]; suspends
    /// the task.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, to read and to write it; fails if it is there. As [`std::fs::File::create_new`]; suspends the task.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(path)
    }

    /// [`OpenOptions::new`]. As [`std::fs::File::options`].
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }
}

/// Makes a call that opens what is at `paths`; `None` if something there may keep it waiting for another program, and the caller
/// is one that cannot just block.
///
/// # Errors
/// Those of `call`; no thread can be had.
pub(super) fn on_disk<R: Send>(
    paths: &[&Path],
    call: impl FnOnce() -> io::Result<R> + Send,
) -> io::Result<Option<R>> {
    if may_block() {
        return call().map(Some);
    }
    blocking::file(|| match paths.iter().any(|path| is_stream(path)) {
        true => Ok(None),
        false => call().map(Some),
    })
}

/// [`Nature::Stream`](file::Nature::Stream), without opening it. If something else takes its place meanwhile, that is opened; just the time it takes
/// is a surprise.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_char_device()
    })
}
