//! What is measured: benches, their cases, the peers, and the figures that come out.

use crate::net::Service;
use std::fmt;

/// One bench: a workload that every peer carries out.
pub struct Bench {
    pub name: &'static str,
    /// The workload, for the heading of the table and of the chart.
    pub about: &'static str,
    pub cases: &'static [Case],
    pub peers: &'static [Peer],
    /// Which figure the chart shows, if not the first.
    pub shown: Option<&'static str>,
    pub work: Work,
}

/// How the figures are had.
pub enum Work {
    /// The child process does the work, and measures it.
    Here(fn(Peer, &Job) -> Outcome),
    /// The child process is the client, the same for all peers, of a server in a process of its own.
    Served(Service),
}

/// One row of figures, of which each peer has his.
pub struct Case {
    pub param: &'static str,
    /// How many tasks, connections or levels; what the bench makes of it.
    pub n: usize,
    pub workers: usize,
    /// How much work: with everything, with `--quick`, and with `--tiny`. 0: the case is left out.
    pub size: [u64; 3],
}

/// What a child is asked to do.
#[derive(Clone, Debug)]
pub struct Job {
    pub param: String,
    pub n: usize,
    pub size: u64,
    pub workers: usize,
    /// The server's system calls are wanted as well, which are counted once.
    pub count_calls: bool,
}

impl Job {
    /// As arguments, for children of either language.
    pub fn arguments(&self) -> [String; 5] {
        [
            self.param.clone(),
            self.n.to_string(),
            self.size.to_string(),
            self.workers.to_string(),
            self.count_calls.to_string(),
        ]
    }

    /// Reads `arguments`.
    pub fn parse(arguments: &[String]) -> Option<Job> {
        let [param, n, size, workers, count_calls] = arguments else {
            return None;
        };
        Some(Job {
            param: param.clone(),
            n: n.parse().ok()?,
            size: size.parse().ok()?,
            workers: workers.parse().ok()?,
            count_calls: count_calls.parse().ok()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Full,
    Quick,
    /// To see that everything works.
    Tiny,
}

impl Scale {
    /// The first of them does not count.
    pub fn rounds(self) -> usize {
        match self {
            Scale::Full => 7,
            Scale::Quick => 3,
            Scale::Tiny => 2,
        }
    }

    /// A child that takes longer than this many seconds is ended.
    pub fn limit(self) -> u64 {
        match self {
            Scale::Full => 180,
            Scale::Quick => 10,
            Scale::Tiny => 30,
        }
    }
}

impl Case {
    pub fn job(&self, scale: Scale) -> Option<Job> {
        let size = self.size[scale as usize];
        let n = match scale {
            Scale::Tiny => self.n.min(100),
            _ => self.n,
        };
        (size > 0).then(|| Job {
            param: self.param.into(),
            n,
            size,
            workers: self.workers,
            count_calls: false,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Multitask,
    Tokio,
    TokioMulti,
    May,
    Smol,
    Go,
    Threads,
    /// `hyper` on tokio's `current_thread`: a real HTTP server beside the hand-written ones.
    Hyper,
    /// What no scheduler can undercut: the bare switch, the bare loop over descriptors.
    Floor,
}

impl Peer {
    pub const ALL: &[Peer] = &[
        Peer::Multitask,
        Peer::Tokio,
        Peer::TokioMulti,
        Peer::May,
        Peer::Smol,
        Peer::Go,
        Peer::Threads,
        Peer::Hyper,
        Peer::Floor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Multitask => "multitask",
            Peer::Tokio => "tokio current_thread",
            Peer::TokioMulti => "tokio multi_thread",
            Peer::May => "may",
            Peer::Smol => "smol",
            Peer::Go => "go",
            Peer::Threads => "threads",
            Peer::Hyper => "hyper",
            Peer::Floor => "floor",
        }
    }

    pub fn named(name: &str) -> Option<Peer> {
        Peer::ALL.iter().copied().find(|peer| peer.name() == name)
    }
}

/// The figures, or why this peer has none in this case.
pub type Outcome = Result<Vec<Figure>, String>;

/// One thing measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What, where a case has several; else empty.
    pub what: String,
    pub unit: String,
    pub value: f64,
}

impl Figure {
    pub fn new(what: &str, unit: &str, value: f64) -> Figure {
        Figure {
            what: what.into(),
            unit: unit.into(),
            value,
        }
    }

    /// The one thing that a case measures.
    pub fn only(unit: &str, value: f64) -> Outcome {
        Ok(vec![Figure::new("", unit, value)])
    }

    /// Rates are the better the larger, all else the smaller.
    pub fn larger_is_better(unit: &str) -> bool {
        unit.ends_with("/s")
    }

    /// Reads what `Display` writes, which is also what the Go programs write; `None` if it is something else.
    pub fn parse(line: &str) -> Option<Figure> {
        let mut fields = line.strip_prefix("figure\t")?.split('\t');
        let (what, unit, value) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Figure::new(what, unit, value.parse().ok()?))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "figure\t{}\t{}\t{}", self.what, self.unit, self.value)
    }
}
