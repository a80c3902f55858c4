//! `multitask::io`: waiting for descriptors of any kind, reading and writing them through `Fd`, and pipes.
//!
//! Nothing sleeps to let things settle: once `settle` has returned, every task that is left waits.

mod common;

use common::files::Folder;
use common::{ends, scheduler, settle, LONG};
use multitask::io::{self, wait, wait_readable, wait_writable, Fd, Interest};
use multitask::net::{TcpListener, TcpStream};
use multitask::{spawn, spawn_local, timeout, yield_now, Scheduler, Timeout};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{array, env, fs, ptr, thread};

const SHORT: Duration = Duration::from_millis(20);

fn is_timeout(error: &std::io::Error) -> bool {
    let inner = error.get_ref();
    error.kind() == ErrorKind::TimedOut && inner.is_some_and(|inner| inner.is::<Timeout>())
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: F_GETFL touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK != 0
}

/// How many descriptors of this process refer to what `fd` does: a pipe or a socket, which has a number of its own.
fn copies(fd: impl AsFd) -> usize {
    let target = |number: String| fs::read_link(format!("/proc/self/fd/{number}")).ok();
    let ours = target(fd.as_fd().as_raw_fd().to_string());
    assert!(ours.is_some());
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| target(name.clone()) == ours).count()
}

/// A terminal: the side of who looks at it, and that of who runs in it. Bytes pass as they are.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut outer, mut inner) = (-1, -1);
    // SAFETY: two places to write to, and no names, modes or sizes.
    let made = unsafe {
        libc::openpty(
            &mut outer,
            &mut inner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    assert_eq!(made, 0);
    // SAFETY: plain integers.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the mode, which the calls fill, change and read.
    unsafe {
        assert_eq!(libc::tcgetattr(inner, &mut mode), 0);
        libc::cfmakeraw(&mut mode);
        assert_eq!(libc::tcsetattr(inner, libc::TCSANOW, &mode), 0);
    }
    // SAFETY: openpty returned fresh descriptors.
    unsafe { (OwnedFd::from_raw_fd(outer), OwnedFd::from_raw_fd(inner)) }
}

// ---- waiting ----

#[test]
fn a_wait_ends_when_data_comes_and_others_run_meanwhile() {
    let scheduler = scheduler();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let waits = scheduler.spawn(move || wait_readable(ours.as_fd(), None));
    settle(&scheduler);
    assert!(!waits.is_finished());
    assert_eq!(scheduler.stats().io, 1);
    scheduler.block_on(|| theirs.write_all(b"x").unwrap());
    scheduler.run().unwrap();
    waits.join().unwrap().unwrap();
}

#[test]
fn a_descriptor_that_is_ready_is_so_at_once_whatever_happened_before() {
    let scheduler = scheduler();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    scheduler.block_on(|| {
        for limit in [None, Some(Duration::ZERO), Some(LONG)] {
            for _ in 0..3 {
                wait_readable(ours.as_fd(), limit).unwrap();
                wait_writable(ours.as_fd(), limit).unwrap();
            }
        }
        assert_eq!(copies(&ours), 1);
    });
}

#[test]
fn a_wait_fails_at_its_timeout_and_not_before() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let fails = || {
        for limit in [Duration::ZERO, Duration::from_micros(300), SHORT] {
            let start = Instant::now();
            let error = wait_readable(ours.as_fd(), Some(limit)).unwrap_err();
            assert!(is_timeout(&error) && start.elapsed() >= limit);
        }
        assert_eq!(copies(&ours), 1);
    };
    fails(); // on a plain thread
    scheduler().block_on(fails);
}

#[test]
fn a_wait_for_several_things_says_which_of_them_is_there() {
    ends(several_things);
}

fn several_things() {
    let both = Interest::READABLE | Interest::WRITABLE;
    let scheduler = scheduler();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    scheduler.block_on(|| {
        assert_eq!(wait(ours.as_fd(), both, None).unwrap(), Interest::WRITABLE);
        theirs.write_all(b"x").unwrap();
        assert_eq!(wait(ours.as_fd(), both, None).unwrap(), both);
        ours.set_nonblocking(true).unwrap();
        while (&ours).write(&[0; 4096]).is_ok() {}
        assert_eq!(wait(ours.as_fd(), both, None).unwrap(), Interest::READABLE);
        (&ours).read_exact(&mut [0]).unwrap();
        // Neither now: either event ends the wait.
        let drains = spawn(move || {
            theirs.set_nonblocking(true).unwrap();
            while theirs.read(&mut [0; 65536]).is_ok() {}
            theirs
        });
        assert_eq!(wait(ours.as_fd(), both, None).unwrap(), Interest::WRITABLE);
        let mut theirs = drains.join().unwrap();
        while (&ours).write(&[0; 4096]).is_ok() {}
        spawn(move || theirs.write_all(b"x").map(|()| theirs))
            .join()
            .unwrap()
            .unwrap();
        assert_eq!(wait(ours.as_fd(), both, None).unwrap(), both);
    });
    assert_eq!(format!("{both:?}"), "READABLE | WRITABLE");
}

#[test]
fn a_hang_up_ends_every_wait() {
    let scheduler = scheduler();
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    let each = [
        Interest::READABLE,
        Interest::WRITABLE,
        Interest::PRIORITY,
        all,
    ];
    for interest in each {
        let (ours, theirs) = io_pair();
        let waits = scheduler.spawn(move || wait(ours.as_fd(), interest, None));
        settle(&scheduler);
        assert!(!waits.is_finished());
        drop(theirs);
        scheduler.run().unwrap();
        assert_eq!(waits.join().unwrap().unwrap(), interest);
    }
}

/// The full writing end of a pipe, which is ready for nothing, and the reading end.
fn io_pair() -> (std::io::PipeWriter, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: takes ints and touches no memory of ours.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    while (&writer).write(&[0; 4096]).is_ok() {}
    // SAFETY: as above.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, 0) };
    (writer, reader)
}

#[test]
#[cfg(target_os = "linux")]
fn priority_data_ends_a_wait_for_it_and_none_for_ordinary_data() {
    let scheduler = Scheduler::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours: &'static _ = Box::leak(Box::new(listener.accept().unwrap().0));
    let urgent = scheduler.spawn(|| wait(ours.as_fd(), Interest::PRIORITY, None));
    // A kernel that is short of memory calls a socket readable that has nothing to read; then so do we, and only then.
    let ordinary = scheduler.spawn(move || loop {
        wait_readable(ours.as_fd(), None).unwrap();
        if ours.peek(&mut [0]).is_ok() {
            return;
        }
        assert!(is_short_of_memory());
        multitask::sleep(Duration::from_millis(1));
    });
    ours.set_nonblocking(true).unwrap();
    settle(&scheduler);
    socket2::SockRef::from(&theirs)
        .send_out_of_band(b"!")
        .unwrap();
    while !urgent.is_finished() {
        scheduler.turn(Some(LONG)).unwrap();
    }
    assert_eq!(urgent.join().unwrap().unwrap(), Interest::PRIORITY);
    settle(&scheduler);
    assert!(!ordinary.is_finished());
    let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    let ready = wait(ours.as_fd(), all, None).unwrap();
    assert_eq!(ready | Interest::READABLE, all);
    (&theirs).write_all(b"x").unwrap();
    scheduler.run().unwrap();
    ordinary.join().unwrap();
}

/// Whether it has memory for connections left, as far as it says.
#[cfg(target_os = "linux")]
fn is_short_of_memory() -> bool {
    let number = |path, line: &str, place| -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|text| text.starts_with(line))?;
        line.split_whitespace().nth(place)?.parse().ok()
    };
    // In pages: what is in use, and below what it has plenty.
    let used = number("/proc/net/sockstat", "TCP:", 10);
    used >= number("/proc/sys/net/ipv4/tcp_mem", "", 0)
}

#[test]
fn a_file_and_the_null_device_are_always_ready_and_have_no_priority_data() {
    let scheduler = scheduler();
    for path in [env::current_exe().unwrap(), "/dev/null".into()] {
        let file = File::open(&path).unwrap();
        scheduler.block_on(|| {
            wait_readable(file.as_fd(), None).unwrap();
            wait_writable(file.as_fd(), None).unwrap();
            let error = wait(file.as_fd(), Interest::PRIORITY, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("priority data"), "{error}");
        });
    }
}

#[test]
fn a_descriptor_of_no_open_file_fails_at_once() {
    let path_only = File::from(OwnedFd::from(fs_open_path("/")));
    let error = wait_readable(path_only.as_fd(), None).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

fn fs_open_path(path: &str) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .unwrap()
}

#[test]
fn data_that_another_task_has_taken_is_not_reported() {
    let scheduler = Scheduler::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let (one, two) = (ours.clone(), ours.clone());
    let taken = Rc::new(Cell::new(0));
    let tasks = [one, two].map(|ours| {
        let taken = taken.clone();
        scheduler.spawn_local(move || {
            wait_readable(ours.as_fd(), None).unwrap();
            (&*ours).read_exact(&mut [0]).unwrap(); // blocks the worker if there is nothing
            taken.set(taken.get() + 1);
        })
    });
    settle(&scheduler);
    theirs.write_all(b"1").unwrap();
    while taken.get() == 0 {
        scheduler.turn(Some(LONG)).unwrap();
    }
    settle(&scheduler);
    assert_eq!(taken.get(), 1);
    theirs.write_all(b"2").unwrap();
    scheduler.run().unwrap();
    for task in tasks {
        task.join().unwrap();
    }
}

#[test]
fn a_socket_of_ours_is_waited_for_while_tasks_read_it() {
    let scheduler = scheduler();
    scheduler.block_on(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = Rc::new(listener.accept().unwrap().0);
        let (reads, waits, also) = (ours.clone(), ours.clone(), ours.clone());
        // In this order, and then in the other: whoever comes second finds the descriptor registered.
        let waits = spawn_local(move || wait_readable(waits.as_fd(), None));
        yield_now();
        let reads = spawn_local(move || (&*reads).read(&mut [0; 1]));
        yield_now();
        let also = spawn_local(move || wait_readable(also.as_fd(), None));
        yield_now();
        assert!(!reads.is_finished());
        theirs.write_all(b"xy").unwrap();
        waits.join().unwrap().unwrap();
        also.join().unwrap().unwrap();
        assert_eq!(reads.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn two_hundred_tasks_wait_for_one_descriptor_and_for_copies_of_it() {
    let scheduler = scheduler();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let copy = ours.try_clone().unwrap();
    let both: Rc<[UnixStream; 2]> = Rc::new([ours, copy]);
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let both = both.clone();
            scheduler.spawn_local(move || wait_readable(both[n % 2].as_fd(), Some(LONG)))
        })
        .collect();
    settle(&scheduler);
    theirs.write_all(b"x").unwrap();
    scheduler.run().unwrap();
    for task in tasks {
        task.join().unwrap().unwrap();
    }
    assert_eq!(copies(&both[0]), 2);
}

#[test]
fn a_cancelled_wait_leaves_no_descriptor_behind() {
    let scheduler = Scheduler::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Rc::new(ours);
    let its = ours.clone();
    let waits = scheduler.spawn_local(move || wait_readable(its.as_fd(), None));
    settle(&scheduler);
    assert_eq!(copies(&*ours), 2);
    waits.cancel();
    scheduler.run().unwrap();
    assert!(waits.join().unwrap_err().is_cancelled());
    let expired = scheduler.block_on(|| timeout(SHORT, || wait_readable(ours.as_fd(), None)));
    assert!(expired.is_err());
    assert_eq!(copies(&*ours), 1);
    theirs.write_all(b"x").unwrap();
    scheduler.block_on(|| wait_readable(ours.as_fd(), None).unwrap());
}

#[test]
fn a_plain_thread_waits_and_runs_its_default_tasks_meanwhile() {
    ends(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = thread::spawn(move || theirs.write_all(b"x").map(|()| theirs));
        wait_readable(ours.as_fd(), None).unwrap();
        let _theirs = writer.join().unwrap().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        spawn(move || theirs.write_all(b"x"));
        wait_readable(ours.as_fd(), None).unwrap();
    });
}

#[test]
fn a_blocking_descriptor_stays_blocking_and_a_non_blocking_one_non_blocking() {
    let scheduler = scheduler();
    for mode in [false, true] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(mode).unwrap();
        scheduler.block_on(|| {
            let writer = spawn(move || {
                theirs.write_all(b"xy")?;
                Fd::new(theirs).read_exact(&mut [0])
            });
            wait_readable(ours.as_fd(), None).unwrap();
            let mut fd = Fd::new(&ours);
            fd.read_exact(&mut [0; 2]).unwrap();
            assert_eq!(is_nonblocking(&ours), mode);
            fd.write_all(b"z").unwrap();
            writer.join().unwrap().unwrap();
            assert_eq!(fd.read(&mut [0]).unwrap(), 0);
        });
        assert_eq!(is_nonblocking(&ours), mode);
    }
}

// ---- Fd ----

/// Sends through one descriptor what comes out of the other, in one task each, while a third one goes on.
fn passes_through(write: OwnedFd, read: OwnedFd, count: usize) {
    let scheduler = Scheduler::new().unwrap();
    let sent: Vec<u8> = (0..count).map(|n| (n * 7 / 3) as u8).collect();
    let expected = sent.clone();
    let mut write = Fd::new(write);
    let writer = scheduler.spawn(move || write.write_all(&sent).map(|()| write));
    let mut read = Fd::new(read);
    settle(&scheduler);
    assert!(!writer.is_finished(), "it has to wait for a reader");
    let reader = scheduler.spawn(move || {
        let mut received = vec![0; count];
        read.read_exact(&mut received).map(|()| (received, read))
    });
    let (tick, ticks) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
    let (on, counted) = (tick.clone(), ticks.clone());
    let ticker = scheduler.spawn_local(move || {
        while on.get() {
            counted.set(counted.get() + 1);
            yield_now();
        }
    });
    let (received, read) = scheduler.block_on(|| reader.join()).unwrap().unwrap();
    assert!(received == expected);
    tick.set(false);
    scheduler.run().unwrap();
    ticker.join().unwrap();
    assert!(ticks.get() > 1);
    let write = writer.join().unwrap().unwrap();
    assert!(!is_nonblocking(&read) && !is_nonblocking(&write));
}

#[test]
fn four_megabytes_pass_through_a_blocking_pipe_on_one_worker() {
    ends(|| {
        let (reader, writer) = std::io::pipe().unwrap();
        passes_through(writer.into(), reader.into(), 4 << 20);
    });
}

#[test]
fn four_megabytes_pass_through_a_blocking_socket_on_one_worker() {
    ends(|| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        passes_through(ours.into(), theirs.into(), 4 << 20);
    });
}

/// The kernel has no call for terminals that does not wait.
#[test]
fn half_a_megabyte_passes_through_a_terminal_each_way_on_one_worker() {
    ends(|| {
        let (outer, inner) = terminal();
        passes_through(inner, outer, 512 << 10);
        let (outer, inner) = terminal();
        passes_through(outer, inner, 512 << 10);
    });
}

#[test]
fn a_task_that_reads_a_silent_terminal_is_cancelled_and_stalls_nobody() {
    let scheduler = scheduler();
    let (_outer, inner) = terminal();
    let mut inner = Fd::new(inner);
    let reads = scheduler.spawn(move || inner.read(&mut [0]));
    settle(&scheduler);
    reads.cancel();
    scheduler.run().unwrap();
    assert!(reads.join().unwrap_err().is_cancelled());
}

#[test]
fn a_task_that_writes_to_a_terminal_that_nobody_reads_times_out_and_is_cancelled() {
    ends(|| {
        let scheduler = scheduler();
        let (_outer, inner) = terminal();
        let mut inner = Fd::new(inner);
        scheduler.block_on(|| {
            inner.set_write_timeout(Some(SHORT)).unwrap();
            assert!(is_timeout(&inner.write_all(&[7; 1 << 20]).unwrap_err()));
            inner.set_write_timeout(None).unwrap();
            assert!(timeout(SHORT, || inner.write_all(&[7; 1 << 20])).is_err());
        });
        let writes = scheduler.spawn(move || inner.write_all(&[7; 1 << 20]));
        settle(&scheduler);
        writes.cancel();
        scheduler.run().unwrap();
        assert!(writes.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn each_byte_goes_to_one_of_several_readers_of_a_blocking_pipe() {
    ends(|| {
        let scheduler = scheduler();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let [one, two] = array::from_fn(|_| Fd::new(reader.try_clone().unwrap()));
        drop(reader);
        let readers = [one, two].map(|mut fd| {
            scheduler.spawn(move || {
                let (mut byte, mut sum) = ([0], 0);
                while fd.read(&mut byte).unwrap() == 1 {
                    sum += u32::from(byte[0]);
                    yield_now();
                }
                sum
            })
        });
        settle(&scheduler);
        let mut sum = 0;
        for n in 0..100 {
            writer.write_all(&[n]).unwrap();
            sum += u32::from(n);
            settle(&scheduler);
        }
        drop(writer);
        scheduler.run().unwrap();
        let received = readers.map(|reader| reader.join().unwrap());
        assert_eq!(received[0] + received[1], sum);
    });
}

#[test]
fn a_read_timeout_fails_the_read_and_leaves_the_descriptor_usable() {
    let scheduler = scheduler();
    let (reader, mut writer) = std::io::pipe().unwrap();
    scheduler.block_on(|| {
        let mut lines = BufReader::new(Fd::new(reader));
        let zero = lines.get_ref().set_read_timeout(Some(Duration::ZERO));
        assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
        lines.get_ref().set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(lines.get_ref().read_timeout(), Some(SHORT));
        let mut line = String::new();
        for _ in 0..2 {
            assert!(is_timeout(&lines.read_line(&mut line).unwrap_err()));
        }
        writer.write_all(b"late\n").unwrap();
        assert_eq!(lines.read_line(&mut line).unwrap(), 5);
        drop(writer);
        assert_eq!(lines.read_line(&mut line).unwrap(), 0);
    });
}

#[test]
fn a_write_timeout_fails_the_write() {
    let (writer, mut reader) = io_pair();
    scheduler().block_on(|| {
        let mut writer = Fd::new(writer);
        writer.set_write_timeout(Some(SHORT)).unwrap();
        assert!(is_timeout(&writer.write(b"x").unwrap_err()));
        reader.read_exact(&mut [0; 65536]).unwrap();
        assert_eq!(writer.write(b"x").unwrap(), 1);
    });
}

#[test]
fn the_lines_of_a_child_are_read_one_by_one_as_they_come() {
    ends(|| {
        let mut child = Command::new("sh")
            .args(["-c", "echo one; read line; echo $line; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = Fd::new(child.stdin.take().unwrap());
        let stdout = Fd::new(child.stdout.take().unwrap());
        let mut lines = BufReader::new(stdout).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "one");
        stdin.write_all(b"two\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "two");
        stdin.write_all(b"three").unwrap();
        drop(stdin);
        assert_eq!(lines.next().unwrap().unwrap(), "three");
        assert!(lines.next().is_none());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_file_is_read_and_written_at_its_own_position() {
    let folder = Folder::new();
    let path = folder.join("file");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&path).unwrap();
    let again = File::open(&path).unwrap();
    scheduler().block_on(|| {
        let mut write = Fd::new(file);
        for part in ["once ", "upon ", "a time"] {
            write.write_all(part.as_bytes()).unwrap();
        }
        let mut text = String::new();
        Fd::new(again).read_to_string(&mut text).unwrap();
        assert_eq!(text, "once upon a time");
        assert_eq!(write.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn vectored_calls_fill_and_empty_several_buffers_at_once() {
    let scheduler = scheduler();
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut reader, mut writer) = (Fd::new(reader), Fd::new(writer));
    scheduler.block_on(|| {
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(writer.write_vectored(&parts).unwrap(), 5);
        assert_eq!(writer.write(&[]).unwrap(), 0);
        let (mut one, mut two) = ([0; 3], [0; 3]);
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(reader.read_vectored(&mut bufs).unwrap(), 5);
        assert_eq!((&one, &two), (b"abc", b"de\0"));
        assert_eq!(reader.read(&mut []).unwrap(), 0);
    });
}

#[test]
fn devices_and_counters_are_read_as_pipes_are() {
    ends(|| {
        let scheduler = scheduler();
        // SAFETY: takes two ints.
        let counter = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        // SAFETY: eventfd returned a fresh descriptor.
        let counter = Rc::new(Fd::new(unsafe { OwnedFd::from_raw_fd(counter) }));
        let its = counter.clone();
        let reads = scheduler.spawn_local(move || {
            let mut count = [0; 8];
            (&*its)
                .read_exact(&mut count)
                .map(|()| u64::from_ne_bytes(count))
        });
        settle(&scheduler);
        assert!(!reads.is_finished());
        (&*counter).write_all(&7_u64.to_ne_bytes()).unwrap();
        scheduler.run().unwrap();
        assert_eq!(reads.join().unwrap().unwrap(), 7);
        scheduler.block_on(|| {
            let mut zeros = [1; 100];
            let zero = File::open("/dev/zero").unwrap();
            Fd::new(zero).read_exact(&mut zeros).unwrap();
            assert_eq!(zeros, [0; 100]);
            let null = File::options().write(true).read(true).open("/dev/null");
            let mut null = Fd::new(null.unwrap());
            null.write_all(&zeros).unwrap();
            assert_eq!(null.read(&mut zeros).unwrap(), 0);
        });
    });
}

#[test]
fn what_is_inside_comes_out_as_it_was() {
    fn is_send_and_sync(_: &(impl Send + Sync)) {}
    let (reader, _writer) = std::io::pipe().unwrap();
    let number = reader.as_raw_fd();
    let fd = Fd::from(reader);
    is_send_and_sync(&fd);
    assert_eq!((fd.as_raw_fd(), fd.get_ref().as_raw_fd()), (number, number));
    assert!(format!("{fd:?}").starts_with("Fd("));
    assert!(wait_readable(fd.as_fd(), Some(Duration::ZERO)).is_err());
    let borrowed: BorrowedFd<'_> = fd.as_fd();
    assert_eq!(Fd::new(borrowed).into_inner().as_raw_fd(), number);
    assert_eq!(OwnedFd::from(fd).as_raw_fd(), number);
}

// ---- pipes ----

/// One text, compiled and run for `std::io` and for ours.
macro_rules! a_pipe_of {
    ($name:ident, $($io:ident)::+) => {
        #[test]
        fn $name() {
            use $($io)::+::{pipe, PipeReader, PipeWriter};
            use std::os::fd::{FromRawFd, IntoRawFd};
            let (mut reader, mut writer): (PipeReader, PipeWriter) = pipe().unwrap();
            let clone: PipeWriter = writer.try_clone().unwrap();
            writer.write_all(b"hello").unwrap();
            drop(writer);
            let mut buf = [0; 5];
            reader.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"hello");
            (&clone).write_all(b"bye").unwrap();
            drop(clone);
            let again: PipeReader = reader.try_clone().unwrap();
            let mut text = String::new();
            (&again).read_to_string(&mut text).unwrap();
            assert_eq!(text, "bye");
            drop((reader, again));

            let (reader, writer) = pipe().unwrap();
            drop(reader);
            assert_eq!((&writer).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);

            let (reader, writer) = pipe().unwrap();
            let mut child = Command::new("echo").arg("through").stdout(writer).spawn().unwrap();
            assert_eq!(std::io::read_to_string(reader).unwrap(), "through\n");
            child.wait().unwrap();

            let (reader, writer) = pipe().unwrap();
            let reader = PipeReader::from(OwnedFd::from(reader));
            assert!(format!("{reader:?}").starts_with("PipeReader"));
            // SAFETY: it was just handed out.
            let mut writer = unsafe { PipeWriter::from_raw_fd(writer.into_raw_fd()) };
            writer.write_all(b"x").unwrap();
            assert_eq!((&reader).read(&mut [0; 2]).unwrap(), 1);
        }
    };
}

a_pipe_of!(a_pipe_of_std_does_what_is_expected_of_ours, std::io);
a_pipe_of!(a_pipe_of_ours_does_what_std_s_does, multitask::io);

#[test]
fn an_end_that_is_handed_out_blocks_again_unless_a_clone_is_in_use() {
    let (reader, writer) = io::pipe().unwrap();
    let clone = writer.try_clone().unwrap();
    assert!(is_nonblocking(&reader) && is_nonblocking(&writer));
    assert!(!is_nonblocking(std::io::PipeReader::from(reader)));
    let out = OwnedFd::from(writer);
    assert!(is_nonblocking(&out));
    assert!(!is_nonblocking(OwnedFd::from(clone)) && !is_nonblocking(&out));
}

#[test]
fn a_megabyte_passes_through_a_pipe_of_ours_on_one_worker() {
    ends(|| {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let copies = spawn(move || writer.write_all(&[7; 1 << 20]));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        copies.join().unwrap().unwrap();
        assert!(bytes == vec![7; 1 << 20]);
    });
}
