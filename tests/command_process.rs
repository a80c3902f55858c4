//! `process`, as far as it shows in the process as a whole: its children, its descriptors, its threads.

mod children;
#[path = "common/children.rs"]
mod common_children;

use children::{Running, SEES_DEADLOCKS};
use common_children::{exists, without_pidfd};
use multitask::net::TcpListener;
use multitask::process::{Command, Stdio};
use multitask::{io, spawn, task, yield_now, Scheduler};
use std::fs::{read_dir, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

fn main() {
    children::main(&[
        case!(
            a_thousand_children_fifty_at_a_time_leave_no_zombie_and_no_descriptor,
            Running::succeeds
        ),
        case!(without_pidfd_they_leave_nothing_either, Running::succeeds),
        case!(
            a_hundred_cancelled_tasks_leave_no_process_and_no_descriptor,
            Running::succeeds
        ),
        case!(
            a_child_that_has_ended_holds_no_descriptor,
            Running::succeeds
        ),
        case!(a_child_inherits_no_descriptor_of_ours, Running::succeeds),
        case!(
            without_descriptors_a_spawn_fails_and_leaves_nothing_and_a_wait_succeeds,
            Running::succeeds
        ),
        case!(
            a_child_that_is_waited_for_again_and_again_takes_one_thread,
            Running::succeeds
        ),
        case!(
            who_waits_for_a_child_is_not_taken_for_deadlocked,
            Running::succeeds
        ),
    ]);
}

fn descriptors() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

/// Whether this process has a child, be it a zombie.
fn has_children() -> bool {
    // SAFETY: all zero is valid.
    let mut info = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` outlives the call.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 }
}

fn a_thousand_children_fifty_at_a_time_leave_no_zombie_and_no_descriptor() {
    let scheduler = Scheduler::new().unwrap();
    let round = |each: usize| {
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                scheduler.spawn(move || {
                    for k in 0..each {
                        // By turns: just awaited, read line by line, gathered.
                        let mut echo = Command::new("echo");
                        echo.arg(format!("{n} {k}")).stdout(Stdio::piped());
                        let mut child = echo.spawn().unwrap();
                        let expected = format!("{n} {k}\n");
                        match k % 3 {
                            0 => drop(child.stdout.take()),
                            1 => {
                                let mut line = String::new();
                                let stdout = child.stdout.take().unwrap();
                                BufReader::new(stdout).read_line(&mut line).unwrap();
                                assert_eq!(line, expected);
                            }
                            _ => {
                                let output = child.wait_with_output().unwrap();
                                assert_eq!(output.stdout, expected.as_bytes());
                                continue;
                            }
                        }
                        child.wait().unwrap();
                    }
                })
            })
            .collect();
        scheduler.run().unwrap();
        for task in tasks {
            task.join().unwrap();
        }
    };
    round(1);
    let before = descriptors();
    round(20);
    assert!(!has_children());
    assert_eq!(descriptors(), before);
}

fn without_pidfd_they_leave_nothing_either() {
    without_pidfd();
    a_thousand_children_fifty_at_a_time_leave_no_zombie_and_no_descriptor();
}

fn a_hundred_cancelled_tasks_leave_no_process_and_no_descriptor() {
    let scheduler = Scheduler::new().unwrap();
    let round = |count: usize| {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                scheduler.spawn(|| {
                    let mut sleep = Command::new("sleep");
                    sleep.arg("1000").kill_on_drop(true);
                    sleep.output()
                })
            })
            .collect();
        // Each has had its turn before the next one has its second.
        while scheduler.stats().io < count {
            scheduler.turn(Some(Duration::ZERO)).unwrap();
        }
        tasks.iter().for_each(|task| task.cancel());
        scheduler.run().unwrap();
        while has_children() {
            thread::yield_now();
        }
    };
    round(1);
    let before = descriptors();
    round(100);
    assert_eq!(descriptors(), before);
}

fn a_child_that_has_ended_holds_no_descriptor() {
    Scheduler::new().unwrap().block_on(|| {
        let before = descriptors();
        let (reader, gate) = io::pipe().unwrap();
        let mut child = Command::new("cat").stdin(reader).spawn().unwrap();
        assert!(child.wait_timeout(Duration::from_millis(1)).is_err());
        drop(gate);
        assert!(child.wait().unwrap().success());
        assert_eq!(descriptors(), before);
        drop(child);
    });
}

fn a_child_inherits_no_descriptor_of_ours() {
    let list = "ls /proc/self/fd";
    let mut bare = std::process::Command::new("sh");
    let expected = bare.args(["-c", list]).stdin(Stdio::null()).output();
    let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _pipe = io::pipe().unwrap();
    // A child that is being waited for, and one whose pipes are ours.
    let mut waited = Command::new("sleep");
    let waited = waited
        .arg("1000")
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let waiting = waited.kill_on_drop(true).spawn();
    let waiting = spawn(move || waiting.unwrap().wait());
    let mut piped = Command::new("cat");
    piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut piped = piped.kill_on_drop(true).spawn().unwrap();
    yield_now();
    assert!(piped.wait_timeout(Duration::from_millis(1)).is_err() || piped.stdin.is_none());

    let listed = spawn(move || Command::new("sh").args(["-c", list]).output());
    let listed = listed.join().unwrap().unwrap();
    assert_eq!(listed.stdout, expected.unwrap().stdout);
    // SAFETY: no call that is not safe there.
    let forked = unsafe {
        Command::new("sh")
            .args(["-c", list])
            .pre_exec(|| Ok(()))
            .output()
    };
    assert_eq!(listed.stdout, forked.unwrap().stdout);
    waiting.cancel();
    assert!(waiting.join().unwrap_err().is_cancelled());
}

fn without_descriptors_a_spawn_fails_and_leaves_nothing_and_a_wait_succeeds() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.block_on(|| {
        let (reader, gate) = io::pipe().unwrap();
        let mut script = Command::new("sh");
        script.args(["-c", "read line; exit 7"]).stdin(reader);
        let mut child = script.spawn().unwrap();
        drop(script);
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());

        // All that a spawn can need, and ever less.
        let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        let lowest_free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
        let mut refused = 0;
        for spare in (0..12).rev() {
            let before = descriptors();
            rlimit::setrlimit(rlimit::Resource::NOFILE, lowest_free + spare, limit.1).unwrap();
            match cat.spawn() {
                Ok(child) => assert!(child.wait_with_output().unwrap().status.success()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                    refused += 1;
                }
            }
            rlimit::setrlimit(rlimit::Resource::NOFILE, limit.0, limit.1).unwrap();
            assert_eq!(descriptors(), before);
        }
        assert!((2..12).contains(&refused), "{refused} of 12");

        // Nor is there one that would tell of the child.
        rlimit::setrlimit(rlimit::Resource::NOFILE, lowest_free, limit.1).unwrap();
        let waits = spawn(move || child.wait());
        yield_now();
        assert!(!waits.is_finished());
        drop(gate);
        assert_eq!(waits.join().unwrap().unwrap().code(), Some(7));
    });
    assert!(!has_children());
}

/// How many threads have this name.
fn threads(name: &str) -> usize {
    let names = read_dir("/proc/self/task").unwrap().map(|thread| {
        std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default()
    });
    names.filter(|comm| comm.trim_end() == name).count()
}

fn a_child_that_is_waited_for_again_and_again_takes_one_thread() {
    without_pidfd();
    Scheduler::new().unwrap().block_on(|| {
        let mut sleep = Command::new("sleep");
        let mut child = sleep.arg("1000").kill_on_drop(true).spawn().unwrap();
        for _ in 0..20 {
            let error = child.wait_timeout(Duration::from_millis(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        assert_eq!(threads("multitask-child"), 1);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!exists(child.id()));
    });
}

fn who_waits_for_a_child_is_not_taken_for_deadlocked() {
    // Longer than the loop's patience with a lull, with nothing else to wait for.
    let wait = || {
        let scheduler = Scheduler::new().unwrap();
        let status = scheduler.spawn(|| Command::new("sleep").arg("0.2").status());
        scheduler.run().unwrap();
        assert!(status.join().unwrap().unwrap().success());
    };
    wait();
    without_pidfd();
    wait();
    if !SEES_DEADLOCKS {
        return;
    }
    // A thread that has nobody left to look at does not hide a real one.
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(task::park);
    assert!(scheduler.run().is_err());
}
