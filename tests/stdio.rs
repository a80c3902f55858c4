//! `multitask::io::{stdin, stdout, stderr}`, each case in a process of its own whose standard streams are what the case is about.
//!
//! The process is this program started again, with the name of a role. Nothing sleeps to let things settle: a role says what it has
//! come to, on a stream that the case listens to.

#[path = "common/files.rs"]
mod files;

use files::Folder;
use multitask::{io, spawn, spawn_local, timeout, yield_now, Scheduler};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, ptr, thread};

const ROLE: &str = "MULTITASK_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// Name and code of each role, and of each case.
macro_rules! named {
    ($($name:ident)*) => { &[$((stringify!($name), $name as fn())),*] };
}

fn main() {
    let roles: &[(&str, fn())] = named! {
        copies counts_beside_ticks reads_line_by_line gives_up_twice writes_whole_lines writes_much_beside_ticks
        two_readers cancels_a_reader locks_again locks_input_twice reads_without_tasks reads_in_all_ways tells_terminals
    };
    if let Ok(wanted) = env::var(ROLE) {
        let role = roles.iter().find(|(name, _)| *name == wanted);
        return role.expect("a role of this program").1();
    }
    let cases: &[(&str, fn())] = named! {
        a_pipe_is_copied_to_a_pipe
        a_file_is_copied_to_a_file
        the_null_device_is_an_empty_input_and_takes_all_output
        a_socket_is_copied_to_itself
        a_terminal_is_copied_line_by_line
        a_non_blocking_pipe_is_copied_as_well
        shared_descriptors_keep_their_mode_while_tasks_wait_for_them
        a_silent_pipe_stops_no_other_task
        a_silent_terminal_stops_no_other_task
        a_full_pipe_stops_no_other_task
        a_full_terminal_stops_no_other_task
        a_line_that_comes_in_pieces_is_not_lost_to_a_timeout
        what_several_tasks_write_is_whole_lines
        two_readers_get_whole_lines_in_turn
        a_cancelled_reader_leaves_the_input_to_others
        who_has_locked_the_output_writes_in_any_way
        who_locks_the_input_twice_panics_and_does_not_hang
        a_program_without_tasks_reads_and_writes
        reading_in_all_ways_reads_the_same_as_std
        only_terminals_are_terminals
    };
    let filter = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let filter = filter.as_deref().unwrap_or("");
    let mut failed = 0;
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(filter)) {
        let (tell, told) = mpsc::channel();
        let case = *case;
        thread::spawn(move || tell.send(catch_unwind(case).is_ok()));
        let passed = told.recv_timeout(PATIENCE) == Ok(true);
        println!("case {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    assert_eq!(failed, 0, "cases failed");
}

// ---- cases ----

fn a_pipe_is_copied_to_a_pipe() {
    let mut role = Role::of("copies").start();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 3) as u8).collect();
    let (expected, mut stdin) = (sent.clone(), role.stdin());
    let writer = thread::spawn(move || stdin.write_all(&sent));
    assert!(role.rest() == expected);
    writer.join().unwrap().unwrap();
    role.succeeds();
}

fn a_file_is_copied_to_a_file() {
    let folder = Folder::new();
    let (from, to) = (folder.join("from"), folder.join("to"));
    let text = "a line\n".repeat(100_000);
    fs::write(&from, &text).unwrap();
    let role = Role::of("copies").stdin(File::open(&from).unwrap());
    role.stdout(File::create(&to).unwrap()).start().succeeds();
    assert!(fs::read_to_string(&to).unwrap() == text);
    // Appended: the position is the file's, which the two share.
    let role = Role::of("reads_line_by_line").stdin(File::open(&from).unwrap());
    role.stdout(File::options().append(true).open(&to).unwrap())
        .start()
        .succeeds();
    let expected = format!("{text}100000 lines\n");
    assert!(fs::read_to_string(&to).unwrap() == expected);
}

fn the_null_device_is_an_empty_input_and_takes_all_output() {
    let mut role = Role::of("reads_line_by_line").stdin(Stdio::null()).start();
    assert_eq!(role.line(), "0 lines");
    role.succeeds();
    let mut role = Role::of("copies").stdout(Stdio::null()).start();
    role.stdin().write_all(&[7; 100_000]).unwrap();
    role.succeeds();
}

fn a_socket_is_copied_to_itself() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let output = OwnedFd::from(theirs.try_clone().unwrap());
    let role = Role::of("copies").stdin(OwnedFd::from(theirs));
    let role = role.stdout(output).start();
    (&ours).write_all(b"there and back").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    (&ours).read_to_string(&mut back).unwrap();
    assert_eq!(back, "there and back");
    role.succeeds();
}

fn a_terminal_is_copied_line_by_line() {
    let (outer, inner) = terminal();
    let role = Role::of("copies").stdin(inner.try_clone().unwrap());
    let role = role.stdout(inner).start();
    let mut outer = File::from(outer);
    for line in ["one", "two"] {
        outer.write_all(format!("{line}\n").as_bytes()).unwrap();
        // The terminal's echo, then what was copied.
        let expected = format!("{line}\r\n{line}\r\n");
        let mut shown = vec![0; expected.len()];
        outer.read_exact(&mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }
    outer.write_all(&[4]).unwrap(); // ^D
    role.succeeds();
}

fn a_non_blocking_pipe_is_copied_as_well() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (mut output, write) = std::io::pipe().unwrap();
    set_nonblocking(&reader);
    set_nonblocking(&write);
    let role = Role::of("copies").stdin(reader).stdout(write).start();
    let copied = thread::spawn(move || {
        let mut copied = Vec::new();
        output.read_to_end(&mut copied).map(|_| copied)
    });
    writer.write_all(&[7; 1_000_000]).unwrap();
    drop(writer);
    role.succeeds();
    assert!(copied.join().unwrap().unwrap() == vec![7; 1_000_000]);
}

fn shared_descriptors_keep_their_mode_while_tasks_wait_for_them() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (outer, inner) = terminal();
    let each: [(OwnedFd, File); 2] = [
        (reader.into(), File::from(OwnedFd::from(writer))),
        (inner, File::from(outer)),
    ];
    for (input, mut feeds) in each {
        let shared = input.try_clone().unwrap();
        let mut role = Role::of("counts_beside_ticks").stdin(input).start();
        for _ in 0..3 {
            assert_eq!(role.line(), "tick");
            assert!(!is_nonblocking(&shared));
        }
        feeds.write_all(b"one\n").unwrap();
        assert_eq!(role.line_but("tick"), "line");
        assert!(!is_nonblocking(&shared) && !is_nonblocking(role.stdout.get_ref()));
    }
}

fn a_silent_pipe_stops_no_other_task() {
    let mut role = Role::of("counts_beside_ticks").start();
    for _ in 0..10 {
        assert_eq!(role.line(), "tick");
    }
    let mut stdin = role.stdin();
    for _ in 0..3 {
        stdin.write_all(b"one\n").unwrap();
        assert_eq!(role.line_but("tick"), "line");
    }
}

fn a_silent_terminal_stops_no_other_task() {
    let (outer, inner) = terminal();
    let mut outer = File::from(outer);
    let mut role = Role::of("counts_beside_ticks").stdin(inner).start();
    for _ in 0..3 {
        assert_eq!(role.line(), "tick");
        outer.write_all(b"half a ").unwrap();
        assert_eq!(role.line(), "tick");
        outer.write_all(b"line\n").unwrap();
        assert_eq!(role.line_but("tick"), "line");
    }
}

fn a_full_pipe_stops_no_other_task() {
    let mut role = Role::of("writes_much_beside_ticks").start();
    for _ in 0..10 {
        assert_eq!(role.complaint(), "tick");
    }
    assert!(role.rest() == vec![7; 1 << 20]);
}

fn a_full_terminal_stops_no_other_task() {
    let (outer, inner) = terminal();
    make_raw(&inner);
    let role = Role::of("writes_much_beside_ticks");
    let mut role = role.stdout(inner).start();
    for _ in 0..10 {
        assert_eq!(role.complaint(), "tick");
    }
    let mut shown = vec![0; 1 << 20];
    File::from(outer).read_exact(&mut shown).unwrap();
    assert!(shown == vec![7; 1 << 20]);
}

fn a_line_that_comes_in_pieces_is_not_lost_to_a_timeout() {
    let mut role = Role::of("gives_up_twice").start();
    let mut stdin = role.stdin();
    for piece in ["in ", "three "] {
        stdin.write_all(piece.as_bytes()).unwrap();
        assert_eq!(role.line(), "too late");
    }
    stdin.write_all(b"pieces\nand one more\n").unwrap();
    assert_eq!(role.line(), "in three pieces");
    assert_eq!(role.line(), "and one more");
    role.succeeds();
}

fn what_several_tasks_write_is_whole_lines() {
    let mut role = Role::of("writes_whole_lines").start();
    let text = String::from_utf8(role.rest()).unwrap();
    let mut counts = [0; 4];
    for line in text.lines() {
        let (task, rest) = line.split_once(' ').unwrap();
        let task: usize = task.parse().unwrap();
        assert_eq!(rest, format!("{} {}", counts[task], "x".repeat(100)));
        counts[task] += 1;
    }
    assert_eq!(counts, [500; 4]);
    role.succeeds();
}

fn two_readers_get_whole_lines_in_turn() {
    let mut role = Role::of("two_readers").start();
    role.stdin().write_all(b"one\ntwo\nthree\nfour\n").unwrap();
    let lines = [(); 4].map(|()| role.line());
    assert_eq!(lines, ["0 one", "1 two", "0 three", "1 four"]);
    role.succeeds();
}

fn a_cancelled_reader_leaves_the_input_to_others() {
    let mut role = Role::of("cancels_a_reader").start();
    assert_eq!(role.line(), "cancelled");
    role.stdin().write_all(b"for the second\n").unwrap();
    assert_eq!(role.line(), "for the second");
    role.succeeds();
}

fn who_has_locked_the_output_writes_in_any_way() {
    let mut role = Role::of("locks_again").start();
    let lines = [(); 4].map(|()| role.line());
    assert_eq!(lines, ["locked", "again", "otherwise", "another task"]);
    role.succeeds();
}

fn who_locks_the_input_twice_panics_and_does_not_hang() {
    let mut role = Role::of("locks_input_twice").start();
    assert_eq!(role.line(), "panicked");
    role.stdin().write_all(b"still there\n").unwrap();
    assert_eq!(role.line(), "still there");
}

fn a_program_without_tasks_reads_and_writes() {
    let mut role = Role::of("reads_without_tasks").start();
    let mut stdin = role.stdin();
    for word in ["one", "two"] {
        writeln!(stdin, "{word}").unwrap();
        assert_eq!(role.line(), word);
    }
    drop(stdin);
    role.succeeds();
}

fn reading_in_all_ways_reads_the_same_as_std() {
    let mut role = Role::of("reads_in_all_ways").start();
    let mut stdin = role.stdin();
    let mut text = b"line\nuntil;\xff\nbytes, rest of the line\n".to_vec();
    text.extend([b'x'; 100_000]);
    text.extend(b"\nno end");
    stdin.write_all(&text).unwrap();
    drop(stdin);
    assert_eq!(role.line(), "as expected");
    role.succeeds();
}

fn only_terminals_are_terminals() {
    let (_outer, inner) = terminal();
    let mut role = Role::of("tells_terminals").stdin(inner).start();
    assert_eq!(role.line(), "true false false");
    let mut role = Role::of("tells_terminals").start();
    assert_eq!(role.line(), "false false false");
}

// ---- roles ----

fn in_a_task<T>(f: impl FnOnce() -> T) -> T {
    Scheduler::new().unwrap().block_on(f)
}

fn copies() {
    in_a_task(|| std::io::copy(&mut io::stdin(), &mut io::stdout())).unwrap();
}

fn reads_line_by_line() {
    in_a_task(|| {
        let lines = io::stdin().lines().map(Result::unwrap).count();
        writeln!(io::stdout(), "{lines} lines").unwrap();
    });
}

fn counts_beside_ticks() {
    in_a_task(|| {
        let ticker = spawn(|| loop {
            io::stdout().write_all(b"tick\n").unwrap();
            multitask::sleep(Duration::from_millis(1));
        });
        for line in io::stdin().lock().lines() {
            line.unwrap();
            writeln!(io::stdout(), "line").unwrap();
        }
        ticker.cancel();
    });
}

fn gives_up_twice() {
    in_a_task(|| {
        let mut line = String::new();
        for _ in 0..2 {
            io::wait_readable(io::stdin().as_fd(), None).unwrap();
            let read = timeout(SHORT, || io::stdin().read_line(&mut line));
            assert!(read.is_err() && line.is_empty());
            writeln!(io::stdout(), "too late").unwrap();
        }
        for _ in 0..2 {
            line.clear();
            io::stdin().read_line(&mut line).unwrap();
            io::stdout().write_all(line.as_bytes()).unwrap();
        }
    });
}

fn writes_whole_lines() {
    in_a_task(|| {
        let writers = [0, 1, 2, 3].map(|task| {
            spawn(move || {
                for n in 0..500 {
                    let long = "x".repeat(100);
                    match n % 2 {
                        0 => writeln!(io::stdout(), "{task} {n} {long}").unwrap(),
                        _ => {
                            let mut stdout = io::stdout().lock();
                            for part in [task.to_string(), n.to_string()] {
                                stdout.write_all(part.as_bytes()).unwrap();
                                stdout.write_all(b" ").unwrap();
                                yield_now();
                            }
                            writeln!(stdout, "{long}").unwrap();
                        }
                    }
                }
            })
        });
        for writer in writers {
            writer.join().unwrap();
        }
    });
}

fn writes_much_beside_ticks() {
    in_a_task(|| {
        let written = Rc::new(Cell::new(false));
        let done = written.clone();
        spawn_local(move || {
            io::stdout().write_all(&[7; 1 << 20]).unwrap();
            done.set(true);
        });
        while !written.get() {
            writeln!(io::stderr(), "tick").unwrap();
            multitask::sleep(Duration::from_millis(1));
        }
    });
}

fn two_readers() {
    in_a_task(|| {
        let first = io::stdin().lock();
        let readers = [0, 1].map(|reader| {
            spawn(move || {
                for _ in 0..2 {
                    let mut line = String::new();
                    io::stdin().read_line(&mut line).unwrap();
                    write!(io::stdout(), "{reader} {line}").unwrap();
                }
            })
        });
        yield_now();
        drop(first);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

fn cancels_a_reader() {
    in_a_task(|| {
        let first = spawn(|| io::stdin().read_line(&mut String::new()));
        yield_now();
        let second = spawn(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        yield_now();
        first.cancel();
        assert!(first.join().unwrap_err().is_cancelled());
        writeln!(io::stdout(), "cancelled").unwrap();
        let line = second.join().unwrap().unwrap();
        io::stdout().write_all(line.as_bytes()).unwrap();
    });
}

fn locks_again() {
    in_a_task(|| {
        let stdout = io::stdout();
        let mut lock = stdout.lock();
        let other = spawn(|| writeln!(io::stdout(), "another task"));
        yield_now();
        writeln!(lock, "locked").unwrap();
        writeln!(stdout.lock(), "again").unwrap();
        yield_now();
        writeln!(&stdout, "otherwise").unwrap();
        yield_now();
        assert!(!other.is_finished());
        drop(lock);
        other.join().unwrap().unwrap();
    });
}

fn locks_input_twice() {
    in_a_task(|| {
        let panicked = catch_unwind(|| {
            let _first = io::stdin().lock();
            let _second = io::stdin().lock();
        });
        assert!(panicked.is_err());
        writeln!(io::stdout(), "panicked").unwrap();
        let mut line = String::new();
        io::stdin().read_line(&mut line).unwrap();
        io::stdout().write_all(line.as_bytes()).unwrap();
    });
}

fn reads_without_tasks() {
    for line in io::stdin().lines() {
        writeln!(io::stdout().lock(), "{}", line.unwrap()).unwrap();
    }
}

fn reads_in_all_ways() {
    in_a_task(|| {
        let mut stdin = io::stdin().lock();
        let mut line = String::from("a ");
        assert_eq!(stdin.read_line(&mut line).unwrap(), 5);
        assert_eq!(line, "a line\n");
        let mut bytes = Vec::new();
        assert_eq!(stdin.read_until(b';', &mut bytes).unwrap(), 6);
        assert_eq!(bytes, b"until;");
        let invalid = stdin.read_line(&mut line).unwrap_err();
        assert_eq!(invalid.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(line, "a line\n");
        let mut five = [0; 5];
        stdin.read_exact(&mut five).unwrap();
        assert_eq!(&five, b"bytes");
        assert_eq!(stdin.fill_buf().unwrap()[0], b',');
        stdin.consume(1);
        drop(stdin);
        let mut stdin = io::stdin();
        assert_eq!((&stdin).read(&mut five[..1]).unwrap(), 1);
        line.clear();
        stdin.read_line(&mut line).unwrap();
        assert_eq!(line, "rest of the line\n");
        line.clear();
        assert_eq!(stdin.read_line(&mut line).unwrap(), 100_001);
        let mut rest = String::new();
        stdin.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "no end");
        assert_eq!(stdin.read_line(&mut rest).unwrap(), 0);
        assert_eq!(stdin.read(&mut five).unwrap(), 0);
        writeln!(io::stdout(), "as expected").unwrap();
    });
}

fn tells_terminals() {
    let each = [
        io::stdin().is_terminal(),
        io::stdout().is_terminal(),
        io::stderr().lock().is_terminal(),
    ];
    writeln!(io::stdout(), "{} {} {}", each[0], each[1], each[2]).unwrap();
}

// ---- processes and terminals ----

/// This program in a role, killed when it is dropped.
struct Role {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

struct Starting(Command, bool);

impl Role {
    fn of(name: &str) -> Starting {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(ROLE, name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        Starting(command, true)
    }

    fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    fn line(&mut self) -> String {
        next_line(&mut self.stdout)
    }

    fn complaint(&mut self) -> String {
        next_line(&mut self.stderr)
    }

    /// The next line that is not `noise`.
    fn line_but(&mut self, noise: &str) -> String {
        loop {
            let line = self.line();
            if line != noise {
                return line;
            }
        }
    }

    /// What it writes to its standard output until its end.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        rest
    }

    /// It ends well, and complains of nothing.
    fn succeeds(mut self) {
        drop(self.child.stdin.take());
        let mut complaints = String::new();
        self.stderr.read_to_string(&mut complaints).unwrap();
        let status = self.child.wait().unwrap();
        assert!(
            status.success() && complaints.is_empty(),
            "{status}: {complaints}"
        );
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Starting {
    fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.0.stdin(stdin);
        self
    }

    fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.0.stdout(stdout);
        self.1 = false;
        self
    }

    fn start(self) -> Role {
        let Starting(mut command, listens) = self;
        let mut child = command.spawn().unwrap();
        drop(command); // with what it was given
        let stdout = child.stdout.take();
        let stdout = stdout.unwrap_or_else(|| {
            assert!(!listens);
            let (empty, _closed) = std::io::pipe().unwrap();
            OwnedFd::from(empty).into()
        });
        let stderr = child.stderr.take().unwrap();
        Role {
            child,
            stdout: BufReader::new(stdout),
            stderr: BufReader::new(stderr),
        }
    }
}

fn next_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    assert!(line.ends_with('\n'), "{line:?} is cut off");
    line.trim_end().to_owned()
}

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
    for fd in [outer, inner] {
        // SAFETY: takes ints and touches no memory of ours.
        assert_eq!(
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) },
            0
        );
    }
    // SAFETY: openpty returned fresh descriptors.
    unsafe { (OwnedFd::from_raw_fd(outer), OwnedFd::from_raw_fd(inner)) }
}

/// Bytes pass as they are.
fn make_raw(terminal: &OwnedFd) {
    // SAFETY: plain integers.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the mode, which the calls fill, change and read.
    unsafe {
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &mut mode), 0);
        libc::cfmakeraw(&mut mode);
        let done = libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &mode);
        assert_eq!(done, 0);
    }
}

fn flags(fd: impl AsFd) -> i32 {
    // SAFETY: F_GETFL touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    flags(fd) & libc::O_NONBLOCK != 0
}

fn set_nonblocking(fd: impl AsFd) {
    let flags = flags(&fd) | libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes an int and touches no memory of ours.
    let done = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(done, 0);
}
