//! `multitask::fs` and `os::unix::fs` through the public face: the same as std's to the compiler, and the same answers.

mod common;

use common::files::Folder;
use common::{ends, sockets::in_tasks};
use std::thread;

/// A module that uses everything stable of `std::fs` and `std::os::unix::fs`, by the signatures that std 1.95 has.
///
/// `signatures` is the proof to the compiler, `behaviour` the answers of a run, to be compared.
macro_rules! everything_in {
    ($name:ident, $root:ident) => {
        #[allow(deprecated)]
        mod $name {
            use crate::common::sockets::{told, without_numbers};
            use std::ffi::OsString;
            use std::fmt::Debug;
            use std::io::{
                self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write,
            };
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
            use std::panic::{RefUnwindSafe, UnwindSafe};
            use std::path::{Path, PathBuf};
            use std::process::Stdio;
            use std::time::{Duration, SystemTime};
            use $root::fs::{
                self, DirBuilder, DirEntry, File, FileTimes, FileType, Metadata, OpenOptions,
                Permissions, ReadDir, TryLockError,
            };
            #[cfg(target_os = "linux")]
            use $root::os::linux::fs::MetadataExt as _;
            use $root::os::unix::fs::{
                self as unix, DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt,
                OpenOptionsExt, PermissionsExt,
            };

            type Result<T> = io::Result<T>;
            type P = &'static Path;
            type Q = PathBuf;

            pub fn signatures() {
                let _: fn(P) -> Result<PathBuf> = fs::canonicalize::<P>;
                let _: fn(P, Q) -> Result<u64> = fs::copy::<P, Q>;
                let _: fn(P) -> Result<()> = fs::create_dir::<P>;
                let _: fn(P) -> Result<()> = fs::create_dir_all::<P>;
                let _: fn(P) -> Result<bool> = fs::exists::<P>;
                let _: fn(P, Q) -> Result<()> = fs::hard_link::<P, Q>;
                let _: fn(P) -> Result<Metadata> = fs::metadata::<P>;
                let _: fn(P) -> Result<Vec<u8>> = fs::read::<P>;
                let _: fn(P) -> Result<ReadDir> = fs::read_dir::<P>;
                let _: fn(P) -> Result<PathBuf> = fs::read_link::<P>;
                let _: fn(P) -> Result<String> = fs::read_to_string::<P>;
                let _: fn(P) -> Result<()> = fs::remove_dir::<P>;
                let _: fn(P) -> Result<()> = fs::remove_dir_all::<P>;
                let _: fn(P) -> Result<()> = fs::remove_file::<P>;
                let _: fn(P, Q) -> Result<()> = fs::rename::<P, Q>;
                let _: fn(P, Permissions) -> Result<()> = fs::set_permissions::<P>;
                let _: fn(P, Q) -> Result<()> = fs::soft_link::<P, Q>;
                let _: fn(P) -> Result<Metadata> = fs::symlink_metadata::<P>;
                let _: fn(P, &'static str) -> Result<()> = fs::write::<P, &'static str>;

                let _: fn(P, Option<u32>, Option<u32>) -> Result<()> = unix::chown::<P>;
                let _: fn(P, Option<u32>, Option<u32>) -> Result<()> = unix::lchown::<P>;
                let _: fn(&'static File, Option<u32>, Option<u32>) -> Result<()> =
                    unix::fchown::<&'static File>;
                let _: fn(P) -> Result<()> = unix::chroot::<P>;
                let _: fn(P, Q) -> Result<()> = unix::symlink::<P, Q>;

                let _: fn(P) -> Result<File> = File::open::<P>;
                let _: fn(P) -> Result<File> = File::create::<P>;
                let _: fn(P) -> Result<File> = File::create_new::<P>;
                let _: fn() -> OpenOptions = File::options;
                let _: fn(&File) -> Result<()> = File::sync_all;
                let _: fn(&File) -> Result<()> = File::sync_data;
                let _: fn(&File) -> Result<()> = File::lock;
                let _: fn(&File) -> Result<()> = File::lock_shared;
                let _: fn(&File) -> std::result::Result<(), TryLockError> = File::try_lock;
                let _: fn(&File) -> std::result::Result<(), TryLockError> = File::try_lock_shared;
                let _: fn(&File) -> Result<()> = File::unlock;
                let _: fn(&File, u64) -> Result<()> = File::set_len;
                let _: fn(&File) -> Result<Metadata> = File::metadata;
                let _: fn(&File) -> Result<File> = File::try_clone;
                let _: fn(&File, Permissions) -> Result<()> = File::set_permissions;
                let _: fn(&File, FileTimes) -> Result<()> = File::set_times;
                let _: fn(&File, SystemTime) -> Result<()> = File::set_modified;
                stream::<File>();
                stream::<&'static File>();
                file::<File>();

                let _: fn() -> OpenOptions = OpenOptions::new;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::read;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::write;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::append;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::truncate;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::create;
                let _: fn(&mut OpenOptions, bool) -> &mut OpenOptions = OpenOptions::create_new;
                let _: fn(&OpenOptions, P) -> Result<File> = OpenOptions::open::<P>;
                let _: fn(&mut OpenOptions, u32) -> &mut OpenOptions = OpenOptions::mode;
                let _: fn(&mut OpenOptions, i32) -> &mut OpenOptions = OpenOptions::custom_flags;
                plain::<OpenOptions>();
                clone::<OpenOptions>();

                let _: fn() -> DirBuilder = DirBuilder::new;
                let _: fn(&mut DirBuilder, bool) -> &mut DirBuilder = DirBuilder::recursive;
                let _: fn(&DirBuilder, P) -> Result<()> = DirBuilder::create::<P>;
                let _: fn(&mut DirBuilder, u32) -> &mut DirBuilder = DirBuilder::mode;
                plain::<DirBuilder>();

                plain::<ReadDir>();
                iterator::<ReadDir>();
                let _: fn(&DirEntry) -> PathBuf = DirEntry::path;
                let _: fn(&DirEntry) -> Result<Metadata> = DirEntry::metadata;
                let _: fn(&DirEntry) -> Result<FileType> = DirEntry::file_type;
                let _: fn(&DirEntry) -> OsString = DirEntry::file_name;
                let _: fn(&DirEntry) -> u64 = DirEntry::ino;
                plain::<DirEntry>();
            }

            fn plain<T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}

            fn clone<T: Clone>() {}

            fn iterator<T: Iterator<Item = Result<DirEntry>>>() {}

            fn stream<T: Read + Write + Seek>() {}

            fn file<T>()
            where
                T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static + FileExt,
                T: AsFd
                    + AsRawFd
                    + FromRawFd
                    + IntoRawFd
                    + From<OwnedFd>
                    + Into<OwnedFd>
                    + Into<Stdio>,
            {
                let _: for<'a> fn(&'a T) -> BorrowedFd<'a> = T::as_fd;
                let _: unsafe fn(RawFd) -> T = T::from_raw_fd;
            }

            /// What a program sees of it all in an empty folder: the answers, without the numbers that differ from run to run.
            pub fn behaviour(dir: &Path) -> Result<Vec<String>> {
                let mut seen = Vec::new();
                macro_rules! see {
                    ($result:expr) => {
                        seen.push(format!("{}: {}", stringify!($result), told($result)))
                    };
                }
                let at = |name: &str| dir.join(name);

                // Whole files.
                see!(fs::write(at("text"), "one\ntwo\nthree\n"));
                see!(fs::read_to_string(at("text")));
                see!(fs::read(at("text")));
                see!(fs::write(at("bytes"), [0xff, 0xfe]));
                see!(fs::read_to_string(at("bytes")));
                see!(fs::read(at("none")));
                see!(fs::read_to_string(at("none")));
                see!(fs::read(dir));
                see!(fs::write(at("no/such"), ""));
                see!(fs::write(dir, ""));
                see!(fs::read(at("zero\0byte")));
                let large: Vec<u8> = (0..300_000u32).map(|n| (n * 7 / 3) as u8).collect();
                see!(fs::write(at("large"), &large));
                see!(Ok(fs::read(at("large"))? == large));
                see!(fs::copy(at("large"), at("copy")));
                see!(Ok(fs::read(at("copy"))? == large));
                see!(fs::copy(at("none"), at("copy")));
                see!(fs::copy(dir, at("copy")));
                see!(fs::copy(at("text"), dir));
                see!(fs::read("/dev/null"));
                see!(fs::write("/dev/null", "gone"));
                see!(fs::copy(at("text"), "/dev/null"));
                see!(fs::read("/proc/version").map(|text| !text.is_empty()));

                // Names.
                see!(fs::exists(at("text")));
                see!(fs::exists(at("none")));
                see!(fs::exists(at("text").join("below")));
                see!(fs::rename(at("copy"), at("moved")));
                see!(fs::rename(at("copy"), at("moved")));
                see!(fs::hard_link(at("text"), at("second")));
                see!(fs::hard_link(at("text"), at("second")));
                see!(fs::metadata(at("second")).map(|m| MetadataExt::nlink(&m)));
                see!(unix::symlink("text", at("link")));
                see!(fs::soft_link("none", at("broken")));
                see!(fs::read_link(at("link")));
                see!(fs::read_link(at("text")));
                see!(fs::read_to_string(at("link")));
                see!(fs::read(at("broken")));
                see!(fs::exists(at("broken")));
                see!(fs::canonicalize(at("link")).map(|path| path == at("text")));
                see!(fs::canonicalize(at("broken")));
                see!(fs::remove_file(at("second")));
                see!(fs::remove_file(at("second")));
                see!(fs::remove_file(dir));

                // What is known of them.
                let of = |m: Metadata| {
                    (
                        m.len(),
                        m.is_file(),
                        m.is_dir(),
                        m.is_symlink(),
                        m.mode() & 0o777,
                        MetadataExt::nlink(&m),
                    )
                };
                see!(fs::metadata(at("text")).map(of));
                see!(fs::metadata(at("link")).map(of));
                see!(fs::symlink_metadata(at("link")).map(|m| (
                    m.len(),
                    m.is_symlink(),
                    m.file_type().is_fifo()
                )));
                see!(fs::metadata("/dev/null").map(|m| m.file_type().is_char_device()));
                see!(fs::symlink_metadata(at("none")).map(of));
                #[cfg(target_os = "linux")]
                see!(fs::metadata(at("text")).map(|m| m.st_size()));
                see!(fs::set_permissions(
                    at("text"),
                    Permissions::from_mode(0o640)
                ));
                see!(fs::metadata(at("text")).map(|m| m.permissions()));
                see!(fs::set_permissions(
                    at("none"),
                    Permissions::from_mode(0o640)
                ));
                see!(unix::chown(at("text"), None, None));
                see!(unix::lchown(at("broken"), None, None));
                see!(unix::chown(at("broken"), None, None));
                see!(unix::fchown(File::open(at("text"))?, None, None));
                see!(unix::chroot(at("none")));

                // Folders.
                see!(fs::create_dir(at("folder")));
                see!(fs::create_dir(at("folder")));
                see!(fs::create_dir(at("a/b")));
                see!(fs::create_dir_all(at("a/b/c")));
                see!(fs::create_dir_all(at("a/b/c")));
                see!(fs::create_dir_all(at("text/b")));
                see!(DirBuilder::new().create(at("a")));
                see!(DirBuilder::new().recursive(true).create(at("a")));
                see!(DirBuilder::new().mode(0o700).create(at("a/own")));
                see!(fs::metadata(at("a/own")).map(|m| m.permissions().mode() & 0o777));
                see!(Ok(DirBuilder::new().recursive(true).mode(0o701)));
                see!(fs::remove_dir(at("a")));
                see!(fs::remove_dir(at("text")));
                see!(fs::remove_dir(at("folder")));
                let listed = |dir: &Path| -> Result<Vec<_>> {
                    let mut entries = fs::read_dir(dir)?
                        .map(|entry| {
                            let entry = entry?;
                            let metadata = entry.metadata()?;
                            assert_eq!(entry.path(), dir.join(entry.file_name()));
                            assert_eq!(entry.ino(), MetadataExt::ino(&metadata));
                            let kind = entry.file_type()?;
                            Ok((
                                entry.file_name(),
                                kind,
                                metadata.len(),
                                format!("{entry:?}"),
                            ))
                        })
                        .collect::<Result<Vec<_>>>()?;
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                    Ok(entries)
                };
                see!(listed(dir));
                see!(listed(&at("a/own")));
                see!(listed(&at("text")));
                see!(fs::read_dir(at("none")));
                see!(fs::read_dir(dir));
                see!(fs::read_dir(at("a/own")).map(|mut own| (
                    own.next().is_none(),
                    own.next().is_none(),
                    own.size_hint()
                )));
                see!(fs::remove_dir_all(at("a")));
                see!(fs::remove_dir_all(at("a")));
                see!(fs::remove_dir_all(at("link")));

                // Opening.
                see!(File::open(at("none")));
                see!(File::open(dir).and_then(|mut dir| dir.read(&mut [0])));
                see!(File::create(dir));
                see!(File::create_new(at("text")));
                see!(OpenOptions::new().open(at("text")));
                see!(OpenOptions::new()
                    .read(true)
                    .truncate(true)
                    .open(at("text")));
                see!(OpenOptions::new()
                    .append(true)
                    .truncate(true)
                    .open(at("text")));
                see!(OpenOptions::new().write(true).open(at("new")));
                see!(OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(at("new")));
                see!(fs::metadata(at("new")).map(|m| m.mode() & 0o777));
                see!(OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(at("link")));
                see!(OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_DIRECTORY)
                    .open(at("text")));
                see!(Ok(OpenOptions::new().read(true).mode(0o7).clone()));
                see!(File::options().read(true).open(at("text")));

                // Reading.
                let mut file = File::open(at("text"))?;
                let mut buf = [0; 4];
                see!(file.read(&mut buf));
                see!(Ok(buf));
                see!(file.stream_position());
                let (mut a, mut b) = ([0; 2], [0; 3]);
                see!(file.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]));
                see!(Ok((a, b)));
                see!(file.read(&mut []));
                see!((&file).read(&mut [0; 64]));
                see!(file.read(&mut [0; 64]));
                see!(file.read_exact(&mut buf));
                see!(file.seek(SeekFrom::Start(8)));
                see!(file.read_exact(&mut buf));
                see!(Ok(buf));
                see!(file.seek(SeekFrom::Current(-2)));
                see!(io::read_to_string(&file));
                see!(file.seek(SeekFrom::End(-6)));
                let mut text = String::from("and ");
                see!(file.read_to_string(&mut text));
                see!(Ok(text));
                see!(file.seek(SeekFrom::Current(-100)));
                see!(file.seek(SeekFrom::End(-100)));
                see!(file.seek(SeekFrom::Start(u64::MAX)));
                see!(file.rewind());
                see!(file.seek_relative(4));
                let mut rest = vec![b'>'];
                see!(file.read_to_end(&mut rest));
                see!(Ok(rest));
                see!(file.seek(SeekFrom::Start(1000)));
                see!(file.read(&mut buf));
                see!(file.write(b"no"));
                see!(file.set_len(0));
                see!(file.rewind());
                see!(BufReader::new(&file).lines().collect::<Result<Vec<_>>>());
                let mut bytes = File::open(at("bytes"))?;
                see!(bytes.read_to_string(&mut String::new()));
                let mut some = File::open(at("large"))?;
                let mut most = vec![0; 200_000];
                see!(some.seek(SeekFrom::Start(50_000)));
                see!(some.read_exact(&mut most));
                see!(Ok(most == large[50_000..250_000]));
                see!(some.stream_position());

                // At a place.
                see!(file.rewind());
                see!(file.read_at(&mut buf, 4));
                see!(Ok(buf));
                see!(file.read_at(&mut buf, 1000));
                see!(file.read_at(&mut buf, u64::MAX));
                see!(file.read_exact_at(&mut buf, 12));
                see!(file.write_at(b"no", 0));
                see!(file.stream_position());

                // Writing.
                let mut file = File::options()
                    .read(true)
                    .write(true)
                    .truncate(true)
                    .open(at("new"))?;
                see!(file.write(b"one two"));
                see!(file.write_vectored(&[IoSlice::new(b" three"), IoSlice::new(b" four")]));
                see!(file.write(b""));
                see!(write!(file, " {} {}", 5, "six"));
                see!((&file).write_all(b"."));
                see!(file.flush());
                see!(file.stream_position());
                see!(file.write_at(b"ONE", 0));
                see!(file.write_all_at(b"!", 30));
                see!(file.write_at(b"no", u64::MAX));
                see!(file.stream_position());
                see!(fs::read(at("new")));
                see!(file.set_len(3));
                see!(file.set_len(u64::MAX));
                see!(file.write(b"x"));
                see!(fs::read(at("new")));
                see!(file.sync_all());
                see!(file.sync_data());
                see!(file.write_all(&large));
                see!(file.metadata().map(|m| m.len()));
                let mut more = File::options().append(true).open(at("text"))?;
                see!(more.write(b"four\n"));
                see!(more.stream_position());
                see!(more.seek(SeekFrom::Start(0)));
                see!(more.write(b"five\n"));
                see!(more.read(&mut buf));
                see!(fs::read_to_string(at("text")));
                see!(io::copy(
                    &mut File::open(at("text"))?,
                    &mut File::create(at("copy"))?
                ));
                see!(fs::read_to_string(at("copy")));

                // What else a file can do.
                let mut clone = file.try_clone()?;
                see!(clone.seek(SeekFrom::Start(7)));
                see!(file.stream_position());
                see!(file.set_permissions(Permissions::from_mode(0o604)));
                see!(file.metadata().map(|m| m.mode() & 0o777));
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
                see!(file.set_modified(then));
                see!(file.metadata()?.modified().map(|time| time == then));
                see!(file.set_times(
                    FileTimes::new()
                        .set_accessed(then)
                        .set_modified(then + Duration::from_secs(1))
                ));
                see!(file.metadata()?.modified().map(|time| time == then));
                see!(file.metadata()?.accessed().map(|time| time == then));

                // Locks.
                let other = File::open(at("new"))?;
                see!(file.lock());
                see!(Ok(other.try_lock()));
                see!(Ok(other.try_lock_shared()));
                see!(other.try_lock().map_err(io::Error::from));
                see!(Ok(clone.try_lock()));
                see!(file.unlock());
                see!(file.unlock());
                see!(other.lock_shared());
                see!(file.lock_shared());
                see!(Ok(file.try_lock_shared()));
                see!(Ok(file.try_lock()));
                see!(other.unlock());
                see!(Ok(file.try_lock()));

                // Descriptors.
                see!(Ok(&file));
                let fd = file.as_raw_fd();
                let owned = OwnedFd::from(file);
                see!(Ok(owned.as_raw_fd() == fd));
                let raw = File::from(owned).into_raw_fd();
                // SAFETY: `into_raw_fd` gave the descriptor up.
                let mut file = unsafe { File::from_raw_fd(raw) };
                see!(Ok(file.as_fd().as_raw_fd() == file.as_raw_fd()));
                see!(file.write(b"still there"));
                drop(clone);
                let status = std::process::Command::new("echo")
                    .arg("from a child")
                    .stdout(file)
                    .status();
                see!(status.map(|status| status.success()));
                see!(fs::read(at("new"))
                    .map(|bytes| String::from_utf8_lossy(&bytes[..40]).into_owned()));

                // A pipe.
                crate::common::files::make_pipe(&at("pipe"));
                let both = OpenOptions::new().read(true).write(true).open(at("pipe"));
                see!(Ok(&both));
                let mut both = both?;
                see!(both.write(b"abc"));
                see!(both.read(&mut buf));
                see!(both.stream_position());
                see!(both.read_at(&mut buf, 0));
                see!(both.write_at(&buf, 0));
                see!(both.metadata().map(|m| m.file_type().is_fifo()));
                let mut now = OpenOptions::new();
                let now = now.read(true).write(true).custom_flags(libc::O_NONBLOCK);
                let mut now = now.open(at("pipe"))?;
                see!(now.read(&mut buf));
                see!(now.try_clone()?.read(&mut buf));
                see!(now.write(&vec![0; 1 << 20]).map(|n| n < 1 << 20));
                see!(now.write(b"x"));
                see!(OpenOptions::new()
                    .write(true)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(at("pipe"))
                    .map(drop));

                let own = without_numbers(dir.to_str().unwrap());
                Ok(seen
                    .into_iter()
                    .map(|line| line.replace(&own, "DIR"))
                    .collect())
            }
        }
    };
}

everything_in!(of_std, std);
everything_in!(of_multitask, multitask);

#[test]
fn everything_of_std_fs_exists_with_the_same_signatures() {
    of_std::signatures();
    of_multitask::signatures();
}

#[test]
fn a_program_gets_the_same_answers_from_both_on_a_thread_and_in_a_task() {
    ends(same_answers);
}

fn same_answers() {
    let expected = of_std::behaviour(&Folder::new().0).unwrap();
    let same = |seen: Vec<String>| {
        for (seen, expected) in seen.iter().zip(&expected) {
            assert_eq!(seen, expected);
        }
        assert_eq!(seen.len(), expected.len());
    };
    let on_a_thread = thread::spawn(|| of_multitask::behaviour(&Folder::new().0).unwrap());
    same(on_a_thread.join().unwrap());
    same(in_tasks(|| {
        of_multitask::behaviour(&Folder::new().0).unwrap()
    }));
}
