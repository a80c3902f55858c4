//! Who is measured when, and what became of it.

use crate::model::{Bench, Case, Figure, Job, Peer, Scale, Work};
use crate::report::{Measured, Report, Rounds, Section};
use crate::{go, CHILD, SERVER};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, thread};

/// What a child says that has no figures, before the reason.
pub const ABSENT: &str = "absent\t";

pub fn run(benches: &[&'static Bench], scale: Scale) -> io::Result<Report> {
    let mut report = Report::new(scale);
    if benches.iter().any(|bench| bench.peers.contains(&Peer::Go)) {
        if let Err(reason) = go::build() {
            report.remarks.push(format!("go is left out: {reason}"));
        }
    }
    let go = report.remarks.is_empty();
    for remark in &report.remarks {
        eprintln!("{remark}");
    }
    for bench in benches {
        for case in bench.cases {
            let peers = bench.peers.iter().copied();
            let peers = peers.filter(|peer| go || *peer != Peer::Go);
            report.sections.extend(section(bench, case, peers, scale)?);
        }
    }
    Ok(report)
}

/// Measures one case, round by round; `None` if it is left out at this scale.
fn section(
    bench: &'static Bench,
    case: &'static Case,
    peers: impl Iterator<Item = Peer>,
    scale: Scale,
) -> io::Result<Option<Section>> {
    let Some(mut job) = case.job(scale) else {
        return Ok(None);
    };
    let mut peers: Vec<_> = peers.map(|peer| (peer, Ok(Rounds::default()))).collect();
    let rounds = scale.rounds();
    for round in 0..rounds {
        eprintln!(
            "{} {}: round {} of {rounds}",
            bench.name,
            job.param,
            round + 1
        );
        job.count_calls = round + 1 == rounds;
        for (peer, measured) in &mut peers {
            // Who cannot do it is not asked again.
            let Ok(so_far) = measured else { continue };
            match measure(bench, *peer, &job, scale)? {
                Ok(figures) if round > 0 => so_far.add(figures),
                Ok(_) => {}
                Err(reason) => *measured = Err(reason),
            }
        }
    }
    let peers = peers.into_iter();
    Ok(Some(Section {
        bench,
        param: case.param,
        peers: peers
            .map(|(peer, measured)| Measured { peer, measured })
            .collect(),
    }))
}

/// One measurement, in a process of its own.
fn measure(
    bench: &Bench,
    peer: Peer,
    job: &Job,
    scale: Scale,
) -> io::Result<Result<Vec<Figure>, String>> {
    let mut command = match (peer, &bench.work) {
        (Peer::Go, Work::Here(_)) => {
            let mut command = go::command();
            command.arg(bench.name);
            command
        }
        _ => {
            let mut command = Command::new(env::current_exe()?);
            command.args([CHILD, bench.name, peer.name()]);
            command
        }
    };
    command.args(job.arguments());
    finish(command, Duration::from_secs(scale.limit()))
}

/// The server that a child starts.
pub fn server(bench: &Bench, peer: Peer, job: &Job) -> io::Result<Command> {
    if peer == Peer::Go {
        let mut command = go::command();
        command.args([SERVER, bench.name]);
        return Ok(command);
    }
    let mut command = Command::new(env::current_exe()?);
    let connections = job.n.to_string();
    command.args([SERVER, bench.name, peer.name(), &connections]);
    Ok(command)
}

/// Runs a child to its end, or to that of its time.
fn finish(mut command: Command, limit: Duration) -> io::Result<Result<Vec<Figure>, String>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: one system call: a child does not outlive this program.
    let prepared = unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    let mut child = prepared.spawn()?;
    let errors = read_aside(child.stderr.take().expect("it is piped"));
    let output = read_aside(child.stdout.take().expect("it is piped"));
    // Its output ends when it does.
    let Ok(output) = output.recv_timeout(limit) else {
        child.kill()?;
        child.wait()?;
        return Ok(Err(format!("took more than {} s", limit.as_secs())));
    };
    let status = child.wait()?;
    if !status.success() {
        // Its servers may still hold the other end of `errors`.
        let errors = errors
            .recv_timeout(Duration::from_secs(1))
            .unwrap_or_default();
        let words = last_words(&errors).unwrap_or_else(|| status.to_string());
        return Ok(Err(format!("died: {words}")));
    }
    if let Some(reason) = output.lines().find_map(|line| line.strip_prefix(ABSENT)) {
        return Ok(Err(reason.into()));
    }
    let figures: Vec<_> = output.lines().filter_map(Figure::parse).collect();
    Ok(if figures.is_empty() {
        Err("said nothing".into())
    } else {
        Ok(figures)
    })
}

/// What the panic, or whatever it was, said first.
fn last_words(errors: &str) -> Option<String> {
    let mut lines = errors.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with("thread '"))?;
    Some(line.chars().take(80).collect())
}

/// All that comes, once it has ended.
fn read_aside(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is.
        let _read = from.read_to_end(&mut bytes);
        let _gone = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
