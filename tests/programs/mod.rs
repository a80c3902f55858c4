//! Running programs as a user does: examples, and their counterparts.
//!
//! Nothing sleeps: a server is ready when it says so, and a program that has not ended after [`PATIENCE`] is killed, which ends every
//! wait for it.
#![allow(dead_code)] // each test uses a part

pub mod browser;
// Beside `tests/common` where a test has that as well.
#[allow(clippy::duplicate_mod)]
#[path = "../common/files.rs"]
pub mod files;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Far beyond what any test takes, on a machine that has much else to do, too.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Where cargo puts the example beside this test.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = profile.join("examples").join(name);
    // Asked for this test alone, cargo builds no examples.
    assert!(
        path.exists(),
        "{path:?} is not there: `cargo build --examples` makes it"
    );
    path
}

/// Whether a program that nobody here wrote is there. If not, says which is missing, and that a test does without; but where all have to be there
/// (`MULTITASK_COUNTERPARTS=all`, as `.ci/run` says) that is a failure.
pub fn is_installed(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    if found.is_ok() {
        return true;
    }
    let missing = format!("{program} is not installed: apt-get install {package}\n");
    let all = std::env::var("MULTITASK_COUNTERPARTS").is_ok_and(|which| which == "all");
    assert!(!all, "{missing}");
    // Not by `eprintln!`, which is shown for tests that fail only.
    let skipped = format!("SKIPPED: {missing}");
    io::stderr().write_all(skipped.as_bytes()).unwrap();
    false
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A running `echo_server`, or another.
pub struct Server {
    pub program: Program,
    pub stdout: BufReader<ChildStdout>,
    pub addr: String,
    /// All of them, the first one included.
    pub addrs: Vec<String>,
}

impl Server {
    /// An `echo_server`. Returns when it listens.
    pub fn start() -> Server {
        Server::listening("echo_server", &["127.0.0.1:0"])
    }

    /// The same with options.
    pub fn echoing(options: &[&str]) -> Server {
        Server::started("echo_server", options, &["127.0.0.1:0"])
    }

    /// Any example that says where it listens, at each of these addresses. Returns when it listens.
    pub fn listening(name: &str, at: &[&str]) -> Server {
        Server::started(name, &[], at)
    }

    pub fn started(name: &str, options: &[&str], at: &[&str]) -> Server {
        let mut program = Program::start(name, &[options, at].concat());
        let mut stdout = BufReader::new(program.child.stdout.take().unwrap());
        let addr = |_: &&str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let addr = line.strip_prefix("listening on ");
            addr.unwrap_or_else(|| panic!("{line:?}"))
                .trim_end()
                .to_owned()
        };
        let addrs: Vec<_> = at.iter().map(addr).collect();
        Server {
            program,
            stdout,
            addr: addrs[0].clone(),
            addrs,
        }
    }

    /// The next line that it writes to standard error.
    pub fn complaint(&mut self) -> String {
        let mut line = Vec::new();
        let stderr = self.program.child.stderr.as_mut().unwrap();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap(); // one by one: the rest is for others
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    pub fn send(&self, signal: &str) {
        let pid = self.program.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends a signal, upon which it must succeed; returns its last words.
    pub fn stop(self, signal: &str) -> String {
        self.end(signal).0
    }

    /// As `stop`, with what it wrote to standard error all along.
    pub fn end(self, signal: &str) -> (String, String) {
        self.send(signal);
        self.ended()
    }

    /// As `end`, of one that ends by itself.
    pub fn ended(mut self) -> (String, String) {
        let last_words = io::read_to_string(self.stdout).unwrap();
        let output = self.program.finish();
        assert!(output.status.success(), "{output:?}");
        (last_words, text(&output.stderr).to_owned())
    }
}

/// A child process with pipes, which is killed when it is dropped or lasts too long.
pub struct Program {
    pub child: Child,
    /// Dropping it ends the watch.
    _watched: Sender<()>,
}

impl Program {
    pub fn start(name: &str, args: &[&str]) -> Program {
        Program::from(Command::new(example(name)).args(args))
    }

    pub fn from(command: &mut Command) -> Program {
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = pipes
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (_watched, watch) = mpsc::channel();
        let pid = child.id().to_string();
        thread::spawn(move || {
            if watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _gone = Command::new("kill").args(["-s", "KILL", &pid]).status();
            }
        });
        Program { child, _watched }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most bytes that it ever had; 0 where that is not told, as it is on Linux only.
    pub fn memory(&self) -> u64 {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.id())) else {
            return 0;
        };
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes: u64 = most.unwrap().trim_end_matches("kB").trim().parse().unwrap();
        kibibytes << 10
    }

    /// Waits for its end; the output is what has not been read of it. Its input ends, unless it was taken out.
    pub fn finish(&mut self) -> Output {
        drop(self.child.stdin.take());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let rest = |pipe: &mut dyn Read| {
            let mut rest = Vec::new();
            pipe.read_to_end(&mut rest).unwrap();
            rest
        };
        thread::scope(|scope| {
            let stderr = scope.spawn(|| stderr.map_or(Vec::new(), |mut pipe| rest(&mut pipe)));
            Output {
                stdout: stdout.map_or(Vec::new(), |mut pipe| rest(&mut pipe)),
                stderr: stderr.join().unwrap(),
                status: self.child.wait().unwrap(),
            }
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Servers of the tests give their clients this time at least.
const LEAST: Duration = Duration::from_millis(100);
/// So often nobody is kept for as long.
const TIMES: u64 = 100;

/// Does what a client does who behaves. He is let go only if the system has kept him for as long as a limit of the server may last, which it may at any
/// moment; then he comes again. What he was told, and how many times he came.
#[track_caller]
pub fn served<T>(client: impl Fn() -> io::Result<T>) -> (T, u64) {
    for times in 1..=TIMES {
        let came = Instant::now();
        match client() {
            Ok(told) => return (told, times),
            Err(error) => assert!(came.elapsed() >= LEAST, "let go at once: {error}"),
        }
    }
    panic!("let go {TIMES} times");
}

/// Somebody in the chat, by std's sockets.
pub struct Guest(pub BufReader<TcpStream>);

impl Guest {
    /// Returns when the guest has a name, and what it was told.
    pub fn named(server: &Server, name: &str) -> (Guest, String) {
        let comes = || {
            let stream = TcpStream::connect(&server.addr)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut guest = Guest(BufReader::new(stream));
            let asked = guest.line()?;
            assert_eq!(asked, "* your name?");
            guest
                .0
                .get_ref()
                .write_all(format!("{name}\n").as_bytes())?;
            let hello = guest.line()?;
            Ok((guest, hello))
        };
        served(comes).0
    }

    /// The next one; an error if there is none.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches('\n').to_owned()),
        }
    }

    pub fn says(&mut self, line: &str) {
        self.0
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    pub fn hears(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    pub fn hears_no_more(&mut self) {
        assert_eq!(self.0.read_line(&mut String::new()).unwrap(), 0);
    }
}
