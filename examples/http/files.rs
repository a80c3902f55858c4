//! Owns which files are given out, and as what.
//!
//! 1. Nothing outside of the root: each part of a path is a plain name, and what it leads to, all symbolic links followed, lies in the
//!    root. (Links may lead from one place in it to another. Who may change files there while they are served is trusted.)
//! 2. Nothing whose name begins with a dot. Nothing but regular files: another one might be waited for without end.
//! 3. What is refused is not found: it is not told why.

use super::status::Status;
use multitask::task;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// What is read at once.
pub const PIECE: usize = 64 << 10;

/// Where files are given out from.
pub struct Files {
    /// Without symbolic links in it.
    root: PathBuf,
}

pub enum Found {
    File(Opened),
    /// A folder, asked for by a name without the slash at its end: this one has it.
    Folder(String),
}

pub struct Opened {
    file: File,
    pub length: u64,
    pub modified: Option<SystemTime>,
    pub content_type: &'static str,
    /// The first of it, all if there is not more than a piece.
    pub beginning: Vec<u8>,
}

impl Files {
    pub fn new(root: &Path) -> io::Result<Files> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Files { root })
    }

    /// What `path` leads to, as it stands in the target of a request; with the first of what is in it, unless that is not wanted. Suspends:
    /// another thread does it.
    pub fn find(&self, path: &str, is_wanted: bool) -> Result<Found, Status> {
        let names = names(path).ok_or(Status::NOT_FOUND)?;
        task::blocking(|| self.open(&names, path.ends_with('/'), is_wanted))
    }

    fn open(&self, names: &[Vec<u8>], is_folder: bool, is_wanted: bool) -> Result<Found, Status> {
        let path = self.resolve(names, is_folder).ok_or(Status::NOT_FOUND)?;
        let kind = fs::metadata(&path).map_err(|_| Status::NOT_FOUND)?;
        if kind.is_dir() && !is_folder {
            return Ok(Found::Folder(encoded(names)));
        }
        if !kind.is_file() {
            return Err(Status::NOT_FOUND);
        }
        let file = File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Status::NOT_FOUND,
            _ => Status::UNAVAILABLE, // most likely there is no descriptor left
        })?;
        let opened = Opened::new(file, content_type(&path), is_wanted);
        opened.map(Found::File).map_err(|_| Status::SERVER_ERROR)
    }

    /// Invariants 1 and 2.
    fn resolve(&self, names: &[Vec<u8>], is_folder: bool) -> Option<PathBuf> {
        let mut path = self.root.clone();
        path.extend(names.iter().map(|name| OsStr::from_bytes(name)));
        if is_folder {
            path.push("index.html");
        }
        let path = path.canonicalize().ok()?;
        let inside = path.strip_prefix(&self.root).ok()?;
        let is_shown = !inside.components().any(is_hidden); // a link may lead to what is
        is_shown.then_some(path)
    }
}

impl Opened {
    fn new(mut file: File, content_type: &'static str, is_wanted: bool) -> io::Result<Opened> {
        let kind = file.metadata()?; // of what was opened
        let mut beginning = Vec::new();
        if is_wanted {
            let first = kind.len().min(PIECE as u64);
            (&mut file).take(first).read_to_end(&mut beginning)?;
        }
        Ok(Opened {
            length: kind.len(),
            modified: kind.modified().ok(),
            content_type,
            file,
            beginning,
        })
    }

    /// Reads more of it, at most a piece: at most `left`. Suspends, as [`Files::find`].
    ///
    /// # Errors
    /// Those of reading; the file has become shorter than it was.
    pub fn read(&mut self, left: u64) -> io::Result<Vec<u8>> {
        let piece = left.min(PIECE as u64);
        let file = &mut self.file;
        let read = task::blocking(move || {
            let mut bytes = Vec::with_capacity(piece as usize);
            file.take(piece).read_to_end(&mut bytes).map(|_| bytes)
        })?;
        if (read.len() as u64) < piece {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

/// The names in a path, its escapes resolved: each of them alone, so that none turns out to be two. `None` if one is not allowed.
fn names(path: &str) -> Option<Vec<Vec<u8>>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let names = parts.map(|part| unescaped(part).filter(|name| is_plain(name)));
    names.collect()
}

fn is_plain(name: &[u8]) -> bool {
    !name.starts_with(b".") && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0))
}

fn is_hidden(part: Component) -> bool {
    !matches!(part, Component::Normal(name) if !name.as_bytes().starts_with(b"."))
}

fn unescaped(part: &str) -> Option<Vec<u8>> {
    let mut bytes = part.bytes();
    let mut name = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            _ => byte,
        });
    }
    Some(name)
}

/// As a path that ends with a slash.
fn encoded(names: &[Vec<u8>]) -> String {
    let mut path = String::from("/");
    for name in names {
        for &byte in name {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(byte.into());
                }
                _ => path += &format!("%{byte:02X}"),
            }
        }
        path.push('/');
    }
    path
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    match &*extension.to_ascii_lowercase() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" | "rs" | "toml" | "log" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
