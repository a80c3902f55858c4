//! What tests need that make files: a folder of their own, and named pipes.
#![allow(dead_code)] // each test uses a part

use std::env;
use std::ffi::{CString, OsString};
use std::io::Error;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A folder of its own for a test, removed in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Never one that is there already: who was killed leaves his behind, and the numbers of processes come round again.
    pub fn new() -> Folder {
        let pattern = env::temp_dir()
            .canonicalize()
            .unwrap()
            .join("multitask-XXXXXX");
        let mut name = CString::new(pattern.into_os_string().into_vec())
            .unwrap()
            .into_bytes_with_nul();
        // SAFETY: a name that ends with a zero, of which no byte but those of the pattern is changed.
        let made = unsafe { libc::mkdtemp(name.as_mut_ptr().cast()) };
        assert!(!made.is_null(), "{}", Error::last_os_error());
        name.pop();
        Folder(OsString::from_vec(name).into())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The same, for a command line.
    pub fn path(&self, name: &str) -> String {
        self.join(name).into_os_string().into_string().unwrap()
    }

    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    pub fn pipe(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        make_pipe(&path);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

pub fn make_pipe(path: &Path) {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a name that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}
