//! Test programs without a harness, so without its threads: each case runs in a process of its own, that of the same
//! program started again, in which nothing but the case happens.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

const CASE: &str = "MULTITASK_TEST_CASE";

/// Whether a wait that nobody can end is known for what it is: the system has to say how many threads the process has.
#[allow(dead_code)]
pub const SEES_DEADLOCKS: bool = cfg!(all(target_os = "linux", not(multitask_portable)));

/// A case: its name, what the child does, and what the parent makes of it.
pub struct Case {
    pub name: &'static str,
    pub child: fn(),
    pub parent: fn(Running),
}

#[macro_export]
macro_rules! case {
    ($child:ident, $parent:expr) => {
        $crate::children::Case {
            name: stringify!($child),
            child: $child,
            parent: $parent,
        }
    };
}

/// A child at work.
pub struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

/// A child that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Running {
    /// The next line that the child writes.
    #[allow(dead_code)]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends it a signal: `INT`, for instance.
    #[allow(dead_code)]
    pub fn send(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Closes our end of its standard error, whatever it writes there.
    #[allow(dead_code)]
    pub fn deafen(&mut self) {
        self.child.stderr = None;
    }

    pub fn end(mut self) -> Ended {
        let stderr = self.child.stderr.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).unwrap();
                text
            })
        });
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > Duration::from_secs(60) {
                self.child.kill().unwrap();
                panic!("it hangs");
            }
            thread::sleep(Duration::from_millis(2));
        };
        Ended {
            status,
            stderr: stderr.map_or_else(String::new, |reader| reader.join().unwrap()),
        }
    }

    /// The child has to succeed, and to say nothing.
    #[allow(dead_code)]
    pub fn succeeds(self) {
        let ended = self.end();
        assert!(
            ended.status.success() && ended.stderr.is_empty(),
            "{:?}\n{}",
            ended.status,
            ended.stderr
        );
    }
}

/// Runs all cases whose name contains the argument, if there is one, but for those that are to be skipped. Of the test harness's
/// options these are known: `--list`, and `--skip` with a whole name.
pub fn main(cases: &[Case]) {
    if let Ok(name) = env::var(CASE) {
        let case = cases.iter().find(|case| case.name == name);
        return (case.expect("a case of this program").child)();
    }
    let (mut filter, mut skipped, mut lists) = (String::new(), Vec::new(), false);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => lists = true,
            "--skip" => skipped.extend(arguments.next()),
            option if option.starts_with('-') => {}
            _ => filter = argument,
        }
    }
    let mut failed = 0;
    for case in cases.iter().filter(|case| case.name.contains(&filter)) {
        if lists {
            println!("{}: test", case.name);
            continue;
        }
        if skipped.iter().any(|name| name == case.name) {
            println!("case {} ... skipped", case.name);
            continue;
        }
        let mut child = Command::new(env::current_exe().unwrap())
            .env(CASE, case.name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let parent = case.parent;
        let running = Running { child, stdout };
        let passed = thread::spawn(move || parent(running)).join().is_ok();
        println!(
            "case {} ... {}",
            case.name,
            if passed { "ok" } else { "FAILED" }
        );
        failed += usize::from(!passed);
    }
    assert_eq!(failed, 0, "cases failed");
}
