//! `process`: the same as std's, but that a wait suspends the task only.
//!
//! What has to do with waiting is run twice: with the kernel's descriptor for a child, and on a thread where `pidfd_open` fails.

mod common;

use common::children::{exists, without_pidfd};
use common::{ends, scheduler, settle, LONG};
use multitask::os::unix::process::ExitStatusExt;
use multitask::process::{self, Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use multitask::{io, os, spawn, timeout, yield_now, JoinHandle, Scheduler, Timeout};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(10);

/// Runs a test with the kernel's descriptor for children, and without.
#[track_caller]
fn both_ways(test: fn()) {
    ends(test);
    ends(move || {
        without_pidfd();
        test();
    });
}

fn in_task<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    scheduler().block_on(f)
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000");
    command
}

/// A child that ends with this status when the pipe has no writer any more.
fn gated(status: u8) -> (Child, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let script = format!("read line; exit {status}");
    (sh(&script).stdin(reader).spawn().unwrap(), writer)
}

fn kill(pid: i32) {
    // SAFETY: integers only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits until the process is gone, and reaped.
fn is_gone(pid: u32) {
    while exists(pid) {
        thread::yield_now();
    }
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: F_GETFL touches no memory.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    flags & libc::O_NONBLOCK != 0
}

// ---- the same as std's ----

macro_rules! outcomes {
    ($($process:ident)::*) => {{
        use $($process)::*::{Command, Stdio};
        let mut outcomes = Vec::new();
        for script in [
            "exit 0",
            "exit 3",
            "kill -KILL $$",
            "kill -TERM $$",
            "cat; echo out; echo err >&2",
            "echo \"$A,$B,$HOME,$PATH\"",
            "pwd",
            "printf '%s\\n' \"$0\" \"$@\"",
        ] {
            let mut command = Command::new("sh");
            command.arg("-c").arg(script).args(["zero", "one two", ""]);
            command.env("A", "a").envs([("B", "b"), ("HOME", "h")]).env_remove("HOME").current_dir("/usr");
            let shown = format!("{command:?} {:?} {:?}", command.get_program(), command.get_current_dir());
            let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
            let envs: Vec<_> = command.get_envs().map(|(key, value)| (key.to_owned(), value.map(|value| value.to_owned()))).collect();
            let output = command.output();
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            outcomes.push(format!("{shown} {args:?} {envs:?} {output:?} {status:?}"));
        }
        let mut bare = Command::new("/usr/bin/env");
        bare.env_clear().env("ONLY", "this");
        outcomes.push(format!("{:?}", bare.output()));
        for program in ["/nowhere/to/be/found", "/etc/passwd", "/", "nul\0inside", ""] {
            let error = Command::new(program).spawn().unwrap_err();
            outcomes.push(format!("{program:?} {:?} {error:?}", error.kind()));
        }
        outcomes.push(format!("{:?}", Command::new("true").current_dir("/nowhere").spawn().map(drop)));
        outcomes
    }};
}

#[test]
fn statuses_signals_output_environment_folder_and_errors_are_those_of_std() {
    let expected = outcomes!(std::process);
    assert!(expected[4].contains("out\\n") && expected[4].contains("err\\n"));
    both_ways(|| {
        let expected = outcomes!(std::process);
        for outcomes in [
            in_task(|| outcomes!(multitask::process)),
            outcomes!(multitask::process),
        ] {
            for (outcome, expected) in outcomes.iter().zip(&expected) {
                assert_eq!(outcome, expected);
            }
        }
    });
}

#[test]
fn the_types_have_the_bounds_of_std_and_the_pipes_can_be_moved_out() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
    all::<Child>();
    all::<(ChildStdin, ChildStdout, ChildStderr)>();
    fn bounds<T: Send + Sync + std::fmt::Debug>() {}
    bounds::<Command>();
    let child = sh("echo moved").stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.unwrap();
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(text, "moved\n");
}

#[test]
fn the_methods_of_the_extension_for_unix_do_what_they_do_in_std() {
    ends(|| {
        in_task(|| {
            let output = sh("echo $0").arg0("renamed").output().unwrap();
            assert_eq!(output.stdout, b"renamed\n");

            let output = Command::new("cat")
                .arg("/proc/self/stat")
                .process_group(0)
                .output()
                .unwrap();
            let stat = String::from_utf8(output.stdout).unwrap();
            let fields: Vec<_> = stat.split(' ').collect();
            assert_eq!(fields[0], fields[4], "{stat}");

            // SAFETY: these make no call that is not safe there.
            let pre = |f: fn() -> std::io::Result<()>| unsafe {
                sh("exit 4").pre_exec(f).status().map(|s| s.code())
            };
            assert_eq!(pre(|| Ok(())).unwrap(), Some(4));
            let refused = || Err(std::io::Error::from_raw_os_error(libc::EXDEV));
            assert_eq!(pre(refused).unwrap_err().raw_os_error(), Some(libc::EXDEV));

            // SAFETY: they always succeed.
            let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
            let output = sh("id -u; id -g").uid(uid).gid(gid).output().unwrap();
            assert_eq!(output.stdout, format!("{uid}\n{gid}\n").as_bytes());

            let error = Command::new("/nowhere/to/be/found").exec();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
fn a_child_of_std_can_be_taken_in() {
    both_ways(|| {
        in_task(|| {
            let mut command = std::process::Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = Child::from(command.spawn().unwrap());
            child.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(
                (output.stdout, output.status.code()),
                (b"hello".to_vec(), Some(0))
            );
        });
    });
}

#[test]
fn what_output_assumes_of_the_streams_does_not_last() {
    ends(|| {
        let mut command = sh("exit 0");
        assert!(command.output().unwrap().status.success());
        let mut child = command.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        child.wait().unwrap();
        // And what was given stays given.
        let mut command = sh("cat; echo err >&2");
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"given").unwrap();
        drop(writer);
        command.stdin(reader).stderr(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"given"[..], &b""[..])
        );
    });
}

// ---- waiting ----

#[test]
fn other_tasks_run_while_a_child_is_awaited() {
    both_ways(|| {
        let scheduler = scheduler();
        let (mut child, gate) = gated(7);
        let waits = scheduler.spawn(move || child.wait());
        scheduler.spawn(move || drop(gate));
        scheduler.run().unwrap();
        assert_eq!(waits.join().unwrap().unwrap().code(), Some(7));
    });
}

#[test]
fn a_wait_that_timed_out_is_repeated_and_succeeds() {
    both_ways(|| {
        let test = || {
            let (mut child, gate) = gated(7);
            let pid = child.id();
            for _ in 0..3 {
                let start = Instant::now();
                let error = child.wait_timeout(SHORT).unwrap_err();
                assert!(start.elapsed() >= SHORT);
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(error.get_ref().unwrap().is::<Timeout>());
                let error = child.wait_deadline(Instant::now()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert_eq!(timeout(SHORT, || child.wait().unwrap()), Err(Timeout));
            }
            assert_eq!(child.try_wait().unwrap(), None);
            drop(gate);
            for _ in 0..2 {
                assert_eq!(child.wait_timeout(LONG).unwrap().code(), Some(7));
                assert_eq!(child.wait().unwrap().code(), Some(7));
                assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
            }
            assert_eq!(child.id(), pid);
            child.kill().unwrap();
        };
        in_task(test);
        test();
    });
}

#[test]
fn a_cancelled_wait_leaves_the_child_to_be_waited_for_again() {
    both_ways(|| {
        let scheduler = scheduler();
        let (child, gate) = gated(7);
        let child = Arc::new(Mutex::new(child));
        for _ in 0..3 {
            let child = child.clone();
            let wait = move || {
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                child.wait()
            };
            let waits = scheduler.spawn(wait);
            settle(&scheduler);
            waits.cancel();
            settle(&scheduler);
            assert!(waits.join().unwrap_err().is_cancelled());
        }
        drop(gate);
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(scheduler.block_on(|| child.wait()).unwrap().code(), Some(7));
    });
}

#[test]
fn each_of_several_tasks_gets_the_end_of_its_own_child() {
    both_ways(|| {
        in_task(|| {
            let (children, gates): (Vec<_>, Vec<_>) = (0..20).map(gated).unzip();
            let waits: Vec<JoinHandle<_>> = children
                .into_iter()
                .map(|mut child| spawn(move || child.wait()))
                .collect();
            for (gate, wait) in gates.into_iter().zip(&waits).rev() {
                assert!(!wait.is_finished());
                drop(gate);
                while !wait.is_finished() {
                    multitask::sleep(Duration::from_millis(1));
                }
            }
            for (status, wait) in waits.into_iter().enumerate() {
                let ended = wait.join().unwrap().unwrap();
                assert_eq!(ended.code(), Some(status as i32));
            }
        });
    });
}

#[test]
fn a_killed_child_is_seen_to_be_killed() {
    both_ways(|| {
        in_task(|| {
            let child = Arc::new(Mutex::new(sleeper().spawn().unwrap()));
            let mut child = child.lock().unwrap();
            assert!(child.wait_timeout(SHORT).is_err());
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            child.kill().unwrap();
        });
    });
}

#[test]
fn a_wait_closes_the_childs_input_and_a_look_does_not() {
    both_ways(|| {
        in_task(|| {
            let mut child = sh("cat; exit 5").stdin(Stdio::piped()).spawn().unwrap();
            assert_eq!(child.try_wait().unwrap(), None);
            child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(5));
            assert!(child.stdin.is_none());
        });
    });
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_does_not_hang_a_wait() {
    both_ways(|| {
        in_task(|| {
            let orphans = || {
                let mut command = sh("sleep 1000 & exit 3");
                let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
                pipes.process_group(0).spawn().unwrap()
            };
            let mut child = orphans();
            let group = child.id() as i32;
            assert_eq!(child.wait().unwrap().code(), Some(3));
            let stdout = child.stdout.as_ref().unwrap();
            stdout.set_read_timeout(Some(SHORT)).unwrap();
            let error = (&*stdout).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            kill(-group);
            let child = orphans();
            let group = child.id() as i32;
            let output = timeout(SHORT, || child.wait_with_output().unwrap());
            assert_eq!(output, Err(Timeout));
            kill(-group);
        });
    });
}

#[test]
fn a_plain_thread_waits_and_its_tasks_run_meanwhile() {
    both_ways(|| {
        let (mut child, gate) = gated(7);
        let opens = spawn(move || {
            yield_now();
            drop(gate);
        });
        assert_eq!(child.wait().unwrap().code(), Some(7));
        opens.join().unwrap();
        // And without any.
        let (mut child, gate) = gated(8);
        assert_eq!(timeout(SHORT, || child.wait().unwrap()), Err(Timeout));
        assert!(child.wait_timeout(SHORT).is_err());
        let opens = thread::spawn(move || drop(gate));
        assert_eq!(child.wait().unwrap().code(), Some(8));
        opens.join().unwrap();
    });
}

#[test]
fn a_child_that_somebody_else_has_reaped_is_an_error_and_no_hang() {
    both_ways(|| {
        in_task(|| {
            let (mut child, gate) = gated(7);
            assert!(child.wait_timeout(SHORT).is_err());
            drop(gate);
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(child.id() as i32, std::ptr::null_mut(), 0) };
            let error = child.wait().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        });
    });
}

#[test]
fn whoever_starts_many_children_lets_the_others_have_their_turn_before_each() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let counts = scheduler.spawn(move || loop {
            counted.fetch_add(1, SeqCst);
            yield_now();
        });
        let starts = scheduler.spawn(move || {
            let seen = [(); 5].map(|()| {
                let mut child = Command::new("true").spawn().unwrap();
                let seen = turns.load(SeqCst);
                thread::spawn(move || child.wait()).join().unwrap().unwrap();
                seen
            });
            counts.cancel();
            seen
        });
        scheduler.run().unwrap();
        let seen = starts.join().unwrap();
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    });
}

// ---- pipes ----

#[test]
fn a_megabyte_on_both_pipes_at_once_comes_whole_whichever_is_filled_first() {
    both_ways(|| {
        let out = "head -c 1000000 /dev/zero | tr '\\0' o";
        let err = "head -c 1000001 /dev/zero | tr '\\0' e >&2";
        let scripts = [
            format!("{out}; {err}"),
            format!("{err}; {out}"),
            format!("({out}) & {err}; wait"),
        ];
        let check = |script: &str| {
            let output = sh(script).output().unwrap();
            assert!(output.status.success());
            assert!(output.stdout == [b'o'; 1_000_000]);
            assert!(output.stderr == [b'e'; 1_000_001]);
        };
        in_task({
            let scripts = scripts.clone();
            move || scripts.iter().for_each(|script| check(script))
        });
        scripts.iter().for_each(|script| check(script));
        // Within a scope, so that the thread cannot but wait as a task does.
        timeout(LONG, || check(&scripts[2])).unwrap();
    });
}

#[test]
fn an_endless_stream_does_not_keep_the_other_from_being_read() {
    ends(|| {
        in_task(|| {
            let script = "yes & p=$!; head -c 1000000 /dev/zero >&2; kill $p";
            let output = sh(script).output().unwrap();
            assert!(output.status.success());
            assert_eq!(output.stderr.len(), 1_000_000);
        });
    });
}

#[test]
fn one_pipe_alone_is_gathered_and_none_as_well() {
    both_ways(|| {
        in_task(|| {
            let script = "echo out; echo err >&2";
            let (nothing, piped) = (Stdio::null, Stdio::piped);
            for (out, err, expected) in [
                (
                    piped as fn() -> Stdio,
                    nothing as fn() -> Stdio,
                    ("out\n", ""),
                ),
                (nothing, piped, ("", "err\n")),
                (nothing, nothing, ("", "")),
            ] {
                let child = sh(script).stdout(out()).stderr(err()).spawn().unwrap();
                let output = child.wait_with_output().unwrap();
                let texts =
                    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
                assert_eq!((&texts[0][..], &texts[1][..]), expected);
            }
        });
    });
}

#[test]
fn a_megabyte_goes_through_a_child_while_it_is_written_and_read_by_two_tasks() {
    ends(|| {
        in_task(|| {
            let bytes: Vec<u8> = (0..1_u32 << 20).map(|i| (i >> 7) as u8).collect();
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let sent = bytes.clone();
            let writer = spawn(move || stdin.write_all(&sent));
            assert!(child.wait_with_output().unwrap().stdout == bytes);
            writer.join().unwrap().unwrap();
        });
    });
}

#[test]
fn lines_read_with_a_timeout_lose_nothing() {
    ends(|| {
        let test = || {
            let script = "printf one; read go; printf ' and\\ntwo'; read go; printf ' and\\n'";
            let mut child = sh(script)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            let limit = |stdout: &BufReader<ChildStdout>, limit| {
                stdout.get_ref().set_read_timeout(limit).unwrap();
                assert_eq!(stdout.get_ref().read_timeout(), limit);
            };
            let mut line = String::new();
            for begun in ["one", "two"] {
                // Who is unwound while he waits for the beginning of a line keeps none of it: that is std's way.
                limit(&stdout, Some(LONG));
                assert_eq!(stdout.fill_buf().unwrap(), begun.as_bytes());
                limit(&stdout, Some(SHORT));
                for _ in 0..3 {
                    let error = stdout.read_line(&mut line).unwrap_err();
                    assert!(error.get_ref().unwrap().is::<Timeout>());
                    let scoped = timeout(SHORT, || stdout.read_line(&mut line).map(drop));
                    assert!(matches!(scoped, Err(Timeout) | Ok(Err(_))));
                }
                stdin.write_all(b"\n").unwrap();
                limit(&stdout, Some(LONG));
                stdout.read_line(&mut line).unwrap();
                assert_eq!(line, format!("{begun} and\n"));
                line.clear();
            }
            assert_eq!(stdout.read_line(&mut line).unwrap(), 0);
            assert!(child.wait().unwrap().success());
        };
        in_task(test);
        test();
    });
}

#[test]
fn a_write_to_a_child_that_does_not_read_times_out_and_a_zero_limit_is_refused() {
    ends(|| {
        in_task(|| {
            let mut command = sleeper();
            let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = piped.kill_on_drop(true).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.set_write_timeout(Some(SHORT)).unwrap();
            assert_eq!(stdin.write_timeout(), Some(SHORT));
            let error = stdin.write_all(&[0; 1 << 20]).unwrap_err();
            assert!(error.get_ref().unwrap().is::<Timeout>());
            let zero = Some(Duration::ZERO);
            let refusals = [
                stdin.set_write_timeout(zero),
                child.stdout.unwrap().set_read_timeout(zero),
            ];
            for refusal in refusals {
                assert_eq!(refusal.unwrap_err().kind(), ErrorKind::InvalidInput);
            }
        });
    });
}

#[test]
fn the_childs_ends_are_as_std_leaves_them_and_ours_are_blocking_when_handed_out() {
    ends(|| {
        let script = "for fd in 0 1 2; do grep flags /proc/self/fdinfo/$fd; done";
        let mut theirs = std::process::Command::new("sh");
        theirs.args(["-c", script]).stdin(Stdio::piped());
        theirs.stdout(Stdio::piped()).stderr(Stdio::piped());
        let theirs = theirs.spawn().unwrap().wait_with_output().unwrap();
        let mut ours = sh(script);
        ours.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ours = ours.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(ours, theirs);
        assert_eq!(ours.stdout.iter().filter(|&&byte| byte == b'\n').count(), 3);

        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        assert!(is_nonblocking(&stdin) && is_nonblocking(&stdout) && is_nonblocking(&stderr));
        let stdin = std::process::ChildStdin::from(stdin);
        let stdout = OwnedFd::from(stdout);
        assert!(!is_nonblocking(&stdin) && !is_nonblocking(&stdout));
        assert!(is_nonblocking(ChildStdout::from(stdout)));
        let number = stderr.as_raw_fd();
        assert_eq!(stderr.into_raw_fd(), number);
        drop(stdin);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn children_are_joined_by_pipes_and_sockets_of_ours() {
    ends(|| {
        in_task(|| {
            let mut echo = sh("echo hello").stdout(Stdio::piped()).spawn().unwrap();
            let (socket, mut peer) = os::unix::net::UnixStream::pair().unwrap();
            let mut shout = sh("tr a-z A-Z")
                .stdin(echo.stdout.take().unwrap())
                .stdout(socket)
                .spawn()
                .unwrap();
            let mut text = String::new();
            peer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "HELLO\n");

            let (mut reader, writer) = io::pipe().unwrap();
            let mut into_pipe = sh("echo hello >&2").stderr(writer).spawn().unwrap();
            text.clear();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello\n");

            let file = io::Fd::new(std::fs::File::open("/dev/null").unwrap());
            let output = Command::new("cat")
                .stdin(file)
                .stderr(io::stdout())
                .output();
            assert_eq!(output.unwrap().stdout, b"");
            for child in [&mut echo, &mut shout, &mut into_pipe] {
                assert!(child.wait().unwrap().success());
            }
        });
    });
}

// ---- dropping ----

#[test]
fn a_child_killed_on_drop_leaves_neither_process_nor_zombie() {
    both_ways(|| {
        let scheduler = scheduler();
        // Never waited for; waited for in vain; and on a thread without tasks.
        let dropped = scheduler.block_on(|| {
            let child = sleeper().kill_on_drop(true).spawn().unwrap();
            let mut waited = sleeper().kill_on_drop(true).spawn().unwrap();
            assert!(waited.wait_timeout(SHORT).is_err());
            [child.id(), waited.id()]
        });
        let child = sleeper().kill_on_drop(true).spawn().unwrap();
        let last = child.id();
        drop(child);
        dropped.into_iter().chain([last]).for_each(is_gone);
    });
}

#[test]
fn a_cancelled_task_leaves_neither_process_nor_zombie_of_a_child_killed_on_drop() {
    both_ways(|| {
        let scheduler = scheduler();
        let (tell, told) = std::sync::mpsc::channel();
        type Wait = fn(Child);
        let waits: [Wait; 3] = [
            |mut child| drop(child.wait()),
            |child| drop(child.wait_with_output()),
            |mut child| drop(child.stdout.as_mut().unwrap().read(&mut [0])),
        ];
        for wait in waits {
            let tell = tell.clone();
            let task = scheduler.spawn(move || {
                let mut command = sleeper();
                command.stdout(Stdio::piped()).kill_on_drop(true);
                let child = command.spawn().unwrap();
                tell.send(child.id()).unwrap();
                wait(child);
            });
            settle(&scheduler);
            task.cancel();
            settle(&scheduler);
            assert!(task.join().unwrap_err().is_cancelled());
            is_gone(told.recv().unwrap());
        }
    });
}

#[test]
fn a_child_that_ended_before_it_is_dropped_is_reaped_there() {
    ends(|| {
        let (reader, writer) = io::pipe().unwrap();
        let mut child = sh("read line")
            .stdin(reader)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = child.id();
        assert_eq!(child.try_wait().unwrap(), None);
        drop(writer);
        // SAFETY: all zero is valid.
        let mut info = unsafe { std::mem::zeroed() };
        // SAFETY: `info` outlives the call.
        let ended =
            unsafe { libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT) };
        assert_eq!(ended, 0);
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    });
}

#[test]
fn a_child_that_is_just_dropped_goes_on() {
    ends(|| {
        in_task(|| {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut stdin, mut stdout) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            assert!(child.wait_timeout(SHORT).is_err());
            drop(child);
            stdin.write_all(b"still there").unwrap();
            drop(stdin);
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            assert_eq!(text, "still there");
        });
    });
}

#[test]
fn what_std_says_of_this_process_is_said_here_too() {
    assert_eq!(process::id(), std::process::id());
    assert_eq!(
        os::unix::process::parent_id(),
        std::os::unix::process::parent_id()
    );
    let code: std::process::ExitCode = process::ExitCode::SUCCESS;
    assert_eq!(code, std::process::ExitCode::SUCCESS);
}
