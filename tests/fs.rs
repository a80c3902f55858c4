//! `multitask::fs` through the public face: calls that stop one task only, and what cancelling and time limits make of them.
//!
//! What keeps a call waiting for as long as a test wants is a lease (`F_SETLEASE`): the file opens when the lease is given back.

mod common;

use common::sockets::{in_tasks, in_tasks_of_one_thread, until, waiting, Flag};
use common::{ends, settle, OnDrop};
use common::{files::Folder, scheduler};
use multitask::fs::{self, File, OpenOptions};
use multitask::{spawn, task, timeout, yield_now, Timeout};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

/// So many threads the pool has for files.
const LIMIT: usize = 64;

// ---- What the tests need ----

/// A file that does not open until this is dropped.
struct Lease {
    path: PathBuf,
    file: std::fs::File,
    _folder: Arc<Folder>,
}

impl Lease {
    fn new(contents: &[u8]) -> Lease {
        let folder = Arc::new(Folder::new());
        let path = folder.file("leased", contents);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let lease = Lease {
            path,
            file,
            _folder: folder,
        };
        // SAFETY: SIG_IGN is no function. The signal says that somebody wants to open the file.
        assert_ne!(
            unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) },
            libc::SIG_ERR
        );
        lease.set(libc::F_WRLCK);
        lease
    }

    fn set(&self, kind: libc::c_int) {
        // SAFETY: takes ints and touches no memory of ours.
        let done = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, kind) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    fn keeps(&self) -> Arc<Folder> {
        self._folder.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.set(libc::F_UNLCK);
    }
}

/// How many descriptors of this process lead to `path`.
fn open_at(path: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target == path).count()
}

fn threads_for_files() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        threads.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("comm")).ok());
    names
        .filter(|name| name.trim() == "multitask-files")
        .count()
}

// ---- Calls that wait ----

#[test]
fn other_tasks_run_while_a_file_does_not_open() {
    in_tasks(|| {
        let lease = Lease::new(b"at last");
        let path = lease.path.clone();
        let folder = lease.keeps();
        let reads = waiting(move || fs::read(path).unwrap());
        for _ in 0..100 {
            yield_now();
        }
        assert!(!reads.is_finished());
        drop(lease);
        assert_eq!(reads.join().unwrap(), b"at last");
        drop(folder);
    });
}

#[test]
fn a_plain_thread_runs_its_tasks_while_a_file_does_not_open() {
    ends(|| {
        let lease = Lease::new(b"at last");
        let path = lease.path.clone();
        let _folder = lease.keeps();
        spawn(move || drop(lease));
        assert_eq!(fs::read(path).unwrap(), b"at last");
    });
}

#[test]
fn a_cancelled_call_is_finished_and_the_cancel_is_met_at_the_next_wait() {
    ends(|| {
        let scheduler = scheduler();
        let lease = Lease::new(b"before");
        let (path, folder) = (lease.path.clone(), lease.keeps());
        let written = Flag::new();
        let writes = scheduler.spawn({
            let (path, written) = (path.clone(), written.clone());
            move || {
                let text = String::from("after");
                fs::write(path, text).unwrap();
                written.raise();
                yield_now();
                unreachable!("it was cancelled");
            }
        });
        settle(&scheduler);
        writes.cancel();
        settle(&scheduler);
        assert!(!writes.is_finished(), "what it lent is in use");
        drop(lease);
        scheduler.run().unwrap();
        assert!(written.up());
        assert!(writes.join().unwrap_err().is_cancelled());
        assert_eq!(std::fs::read(&path).unwrap(), b"after");
        drop(folder);
    });
}

#[test]
fn a_deadline_that_passes_during_a_call_is_met_after_it() {
    in_tasks(|| {
        // On a machine that has other things to do the time may be up before the call, which does not begin then.
        let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
        let begun = limits.find_map(|limit| {
            let lease = Lease::new(b"late");
            let path = lease.path.clone();
            let reads = waiting(move || timeout(limit, || fs::read(path).unwrap()));
            multitask::sleep(limit * 2);
            (!reads.is_finished()).then_some((reads, lease))
        });
        let (reads, lease) = begun.expect("they go on for ever");
        let folder = lease.keeps();
        drop(lease);
        assert_eq!(reads.join().unwrap().unwrap(), b"late"); // it waited no more
        let lease = Lease::new(b"late");
        let late = lease.path.clone();
        let goes_on =
            waiting(move || timeout(SHORT, || fs::read(late).map(|_| yield_now())).is_err());
        multitask::sleep(SHORT * 2);
        drop((lease.keeps(), lease));
        assert!(goes_on.join().unwrap());
        drop(folder);
    });
}

#[test]
fn a_task_that_was_cancelled_begins_no_call() {
    let folder = Folder::new();
    let path = folder.join("never");
    let scheduler = scheduler();
    let task = scheduler.spawn({
        let path = path.clone();
        move || {
            let _swallowed = catch_unwind(task::park);
            fs::write(path, "no")
        }
    });
    settle(&scheduler);
    task.cancel();
    scheduler.run().unwrap();
    assert!(task.join().unwrap_err().is_cancelled());
    assert!(!path.exists());
}

#[test]
fn a_destructor_writes_a_file_while_its_task_unwinds() {
    let folder = Folder::new();
    let path = folder.join("last words");
    let scheduler = scheduler();
    let task = scheduler.spawn({
        let path = path.clone();
        move || {
            let _last = OnDrop(|| {
                let mut file = File::create(&path).unwrap();
                file.write_all(b"saved").unwrap();
                file.sync_all().unwrap();
            });
            task::park();
        }
    });
    settle(&scheduler);
    task.cancel();
    scheduler.run().unwrap();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(std::fs::read(&path).unwrap(), b"saved");
}

#[test]
fn files_that_do_not_open_take_no_more_threads_than_the_limit() {
    in_tasks(|| {
        let lease = Lease::new(b"x");
        let (path, folder) = (lease.path.clone(), lease.keeps());
        let readers: Vec<_> = (0..3 * LIMIT)
            .map(|_| {
                let path = path.clone();
                waiting(move || fs::read(path).unwrap())
            })
            .collect();
        until(|| threads_for_files() == LIMIT);
        drop(lease);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), b"x");
        }
        assert!(threads_for_files() <= LIMIT);
        drop(folder);
    });
}

#[test]
fn a_thousand_tasks_read_files_within_the_limit_of_threads_and_descriptors() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.file("read by all", &[7; 10_000]);
        let (left, most) = (
            Arc::new(AtomicUsize::new(1_000)),
            Arc::new(AtomicUsize::new(0)),
        );
        let readers: Vec<_> = (0..1_000)
            .map(|_| {
                let (path, left) = (path.clone(), left.clone());
                spawn(move || {
                    let bytes = fs::read(path).unwrap();
                    left.fetch_sub(1, SeqCst);
                    bytes
                })
            })
            .collect();
        let watch = spawn({
            let (left, most) = (left.clone(), most.clone());
            move || {
                while left.load(SeqCst) > 0 {
                    most.fetch_max(open_at(&path), SeqCst);
                    assert!(threads_for_files() <= LIMIT);
                    yield_now();
                }
                assert_eq!(open_at(&path), 0);
            }
        });
        for reader in readers {
            assert!(reader.join().unwrap() == [7; 10_000]);
        }
        watch.join().unwrap();
        assert!(most.load(SeqCst) <= LIMIT);
    });
}

// ---- Pipes and devices ----

#[test]
fn a_named_pipe_opens_with_its_other_end_and_other_tasks_run_meanwhile() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.pipe("pipe");
        let reader = {
            let path = path.clone();
            waiting(move || {
                let mut file = File::open(path).unwrap();
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            })
        };
        for _ in 0..100 {
            yield_now();
        }
        assert!(!reader.is_finished());
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(b"one ").unwrap();
        yield_now();
        write!(writer, "{} {}", 2, 3).unwrap();
        drop(writer);
        assert_eq!(reader.join().unwrap(), "one 2 3");
        drop(folder);
    });
}

#[test]
fn pipes_that_do_not_open_hold_up_no_file() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let pipes: Vec<_> = (0..LIMIT + 10)
            .map(|n| folder.pipe(&n.to_string()))
            .collect();
        let text = folder.file("text", b"here");
        let opens = pipes
            .iter()
            .cloned()
            .map(|pipe| waiting(move || File::open(pipe).map(drop)));
        let opens: Vec<_> = opens.collect();
        assert_eq!(fs::read(&text).unwrap(), b"here");
        assert!(!opens.iter().any(|open| open.is_finished()));
        for pipe in &pipes {
            drop(OpenOptions::new().write(true).open(pipe).unwrap());
        }
        for open in opens {
            open.join().unwrap().unwrap();
        }
        drop(folder);
    });
}

#[test]
fn a_task_that_waits_for_a_pipe_to_open_is_cancelled_at_once_and_nothing_stays_open() {
    in_tasks_of_one_thread(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.pipe("pipe");
        let opens = |path: &Path| {
            let path = path.to_owned();
            waiting(move || File::open(path).map(drop))
        };
        let waits = opens(&path);
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        assert_eq!(
            timeout(SHORT, || File::open(&path).map(drop)).map(drop),
            Err(Timeout)
        );
        // The calls go on, and somebody comes.
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        until(|| {
            writer
                .write(b"x")
                .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        });
        drop(writer);
        assert_eq!(open_at(&path), 0);
        drop(folder);
    });
}

#[test]
fn a_plain_thread_gives_up_to_open_a_pipe_at_the_deadline_of_its_scope() {
    ends(|| {
        let folder = Folder::new();
        let path = folder.pipe("pipe");
        assert_eq!(
            timeout(SHORT, || File::open(&path).map(drop)).map(drop),
            Err(Timeout)
        );
        drop(OpenOptions::new().write(true).open(&path).unwrap());
    });
}

#[test]
fn a_read_of_a_silent_pipe_is_cancelled_and_bounded() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.pipe("pipe");
        let both = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let reads = {
            let mut both = both.try_clone().unwrap();
            waiting(move || both.read(&mut [0]))
        };
        reads.cancel();
        assert!(reads.join().unwrap_err().is_cancelled());
        assert!(timeout(SHORT, || (&both).read(&mut [0])).is_err());
        assert!(timeout(SHORT, || (&both).read_to_end(&mut Vec::new())).is_err());
        (&both).write_all(b"x").unwrap();
        assert_eq!((&both).read(&mut [0; 9]).unwrap(), 1, "nothing was lost");
        drop(folder);
    });
}

#[test]
fn whole_pipes_are_read_written_and_copied_to() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let (path, text) = (folder.pipe("pipe"), folder.file("text", b"copied"));
        let send = |f: fn(&Path, &Path) -> io::Result<()>| {
            let (path, text) = (path.clone(), text.clone());
            spawn(move || f(&path, &text))
        };
        let large = "x".repeat(100_000);
        let writes = send(|path, _| fs::write(path, "x".repeat(100_000)));
        assert!(fs::read_to_string(&path).unwrap() == large);
        writes.join().unwrap().unwrap();
        let copies = send(|path, text| fs::copy(text, path).map(drop));
        assert_eq!(fs::read(&path).unwrap(), b"copied");
        copies.join().unwrap().unwrap();
        let waits = send(|path, text| fs::copy(text, path).map(drop));
        until(|| open_at(&text) == 1);
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        drop(folder);
    });
}

// ---- Locks ----

fn holding(path: &Path) -> File {
    let file = File::open(path).unwrap();
    file.lock().unwrap();
    file
}

#[test]
fn a_lock_is_waited_for_while_other_tasks_run_and_comes_when_it_is_free() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.file("locked", b"");
        let held = holding(&path);
        let waits = {
            let path = path.clone();
            waiting(move || holding(&path))
        };
        let shares = {
            let path = path.clone();
            waiting(move || File::open(path).unwrap().lock_shared())
        };
        for _ in 0..3 {
            multitask::sleep(SHORT);
            assert!(!waits.is_finished() && !shares.is_finished());
        }
        held.unlock().unwrap();
        let theirs = waits.join().unwrap();
        drop(theirs);
        shares.join().unwrap().unwrap();
        let (one, two) = (File::open(&path).unwrap(), File::open(&path).unwrap());
        one.lock_shared().unwrap();
        two.lock_shared().unwrap();
        drop(folder);
    });
}

#[test]
fn who_leaves_the_wait_for_a_lock_has_none() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.file("locked", b"");
        let held = holding(&path);
        let ours = Arc::new(File::open(&path).unwrap());
        let waits = {
            let ours = ours.clone();
            waiting(move || ours.lock())
        };
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        assert!(timeout(SHORT, || ours.lock()).is_err());
        held.unlock().unwrap();
        // Time for one that still tried in the name of those two.
        assert!(timeout(SHORT, task::park).is_err());
        File::open(&path).unwrap().try_lock().unwrap();
        drop(folder);
    });
}

#[test]
fn three_hundred_tasks_wait_for_a_lock_one_after_the_other_and_hold_up_no_file() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let (path, text) = (folder.file("locked", b""), folder.file("text", b"here"));
        let held = holding(&path);
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..300)
            .map(|_| {
                let (path, inside) = (path.clone(), inside.clone());
                waiting(move || {
                    let file = holding(&path);
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    yield_now();
                    inside.fetch_sub(1, SeqCst);
                    drop(file);
                })
            })
            .collect();
        assert_eq!(fs::read(&text).unwrap(), b"here");
        assert!(!tasks.iter().any(|task| task.is_finished()));
        drop(held);
        for task in tasks {
            task.join().unwrap();
        }
        drop(folder);
    });
}

#[test]
fn a_plain_thread_waits_for_a_lock_with_and_without_a_limit() {
    ends(|| {
        let folder = Folder::new();
        let path = folder.file("locked", b"");
        let held = holding(&path);
        let ours = File::open(&path).unwrap();
        assert!(timeout(SHORT, || ours.lock()).is_err());
        let waits = thread::spawn(move || ours.lock().map(|()| ours));
        drop(held);
        waits.join().unwrap().unwrap();
        // And one that has tasks runs them.
        let held = holding(&path);
        spawn(move || drop(held));
        File::open(&path).unwrap().lock().unwrap();
    });
}

// ---- Folders ----

#[test]
fn a_folder_has_the_entries_that_std_sees_however_many() {
    in_tasks(|| {
        for count in [0, 1, 255, 256, 257, 512, 1_000] {
            let folder = Folder::new();
            for n in 0..count {
                folder.file(&format!("{n:0100}"), b"");
            }
            let expected: BTreeSet<_> = std::fs::read_dir(&folder.0)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            assert_eq!(expected.len(), count);
            let mut entries = fs::read_dir(&folder.0).unwrap();
            let mut seen: Vec<_> = entries
                .by_ref()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert!(entries.next().is_none());
            seen.sort();
            assert!(seen.into_iter().eq(expected));
        }
    });
}

#[test]
fn entries_come_many_at_a_time() {
    let folder = Folder::new();
    for n in 0..300 {
        folder.file(&n.to_string(), b"");
    }
    in_tasks_of_one_thread(move || {
        let mut entries = fs::read_dir(&folder.0).unwrap();
        let others = Flag::new();
        let other = spawn({
            let others = others.clone();
            move || others.raise()
        });
        for entry in entries.by_ref().take(200) {
            assert!(entry.unwrap().file_type().unwrap().is_file());
        }
        assert!(!others.up(), "it suspended");
        assert_eq!(entries.count(), 100);
        assert!(others.up());
        other.join().unwrap();
    });
}

#[test]
fn a_folder_that_is_left_midway_is_closed_with_its_last_entry() {
    in_tasks(|| {
        let folder = Folder::new();
        for n in 0..1_000 {
            folder.file(&n.to_string(), b"");
        }
        let mut entries = fs::read_dir(&folder.0).unwrap();
        let kept = entries.by_ref().nth(300).unwrap().unwrap();
        assert_eq!(open_at(&folder.0), 1);
        drop(entries);
        assert!(kept.metadata().unwrap().is_file());
        drop(kept);
        assert_eq!(open_at(&folder.0), 0);
    });
}

// ---- Files ----

#[test]
fn tasks_that_share_a_file_share_its_position_and_lose_nothing() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.join("shared");
        let file = Arc::new(File::create(&path).unwrap());
        let writers: Vec<_> = (0..50u8)
            .map(|n| {
                let file = if n % 2 == 0 {
                    file.clone()
                } else {
                    Arc::new(file.try_clone().unwrap())
                };
                spawn(move || {
                    for _ in 0..20 {
                        assert_eq!((&*file).write(&[n; 100]).unwrap(), 100);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let reader = Arc::new(File::open(&path).unwrap());
        let readers: Vec<_> = (0..50)
            .map(|_| {
                let reader = reader.clone();
                spawn(move || {
                    let mut piece = [0; 100];
                    let mut seen = Vec::new();
                    for _ in 0..20 {
                        (&*reader).read_exact(&mut piece).unwrap();
                        assert!(piece.iter().all(|byte| *byte == piece[0]));
                        seen.push(piece[0]);
                    }
                    seen
                })
            })
            .collect();
        let mut seen: Vec<_> = readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
            .collect();
        seen.sort();
        assert!(seen.into_iter().eq((0..50).flat_map(|n| [n; 20])));
        assert_eq!((&*reader).stream_position().unwrap(), 100_000);
        drop(folder);
    });
}

#[test]
fn what_several_tasks_format_at_once_is_whole_lines() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.join("log");
        let log = Arc::new(File::create(&path).unwrap());
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let log = log.clone();
                spawn(move || (0..20).try_for_each(|_| writeln!(&*log, "{n} and {n}")))
            })
            .collect();
        for task in tasks {
            task.join().unwrap().unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 400);
        assert!(lines
            .lines()
            .all(|line| line.split_once(" and ").is_some_and(|(a, b)| a == b)));
        drop(folder);
    });
}

#[test]
fn many_tasks_write_and_read_at_their_places_of_one_file() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .open(folder.join("places"));
        let file = Arc::new(file.unwrap());
        let tasks: Vec<_> = (0..100u64)
            .map(|n| {
                let file = file.clone();
                spawn(move || {
                    let (bytes, mut back) = ([n as u8; 1_000], [0; 1_000]);
                    file.write_all_at(&bytes, n * 1_000).unwrap();
                    file.read_exact_at(&mut back, n * 1_000).unwrap();
                    assert!(back == bytes);
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(file.metadata().unwrap().len(), 100_000);
        assert_eq!((&*file).stream_position().unwrap(), 0);
        drop(folder);
    });
}

#[test]
fn a_file_goes_to_std_and_comes_back_as_it_is() {
    in_tasks(|| {
        let folder = Arc::new(Folder::new());
        let path = folder.file("text", b"0123456789");
        let mut file = File::from(std::fs::File::open(&path).unwrap());
        file.read_exact(&mut [0; 3]).unwrap();
        let mut theirs = std::fs::File::from(file);
        theirs.read_exact(&mut [0; 3]).unwrap();
        let mut file = File::from(theirs);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "6789");
        file.rewind().unwrap();
        let child = Command::new("cat")
            .stdin(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"0123456789");
        // A pipe, which waits.
        let (reader, mut writer) = io::pipe().unwrap();
        let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
        let reads = waiting(move || reader.read(&mut [0; 9]));
        writer.write_all(b"xyz").unwrap();
        assert_eq!(reads.join().unwrap().unwrap(), 3);
        drop(folder);
    });
}

#[test]
fn what_is_no_terminal_is_none_and_what_is_one_is() {
    let null = File::open("/dev/null").unwrap();
    assert!(!null.is_terminal());
    if let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/ptmx") {
        assert!(terminal.is_terminal());
    }
}
