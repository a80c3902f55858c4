//! This library beside its peers, in one run.
//!
//! ```text
//! cargo run --release -p peers -- [BENCH...] [--quick] [--json FILE] [--svg DIR] [--markdown FILE]
//! ```
//!
//! 1. Each measurement is a process of its own, started anew: this program again, or for Go the one in `go/`.
//! 2. Peers take turns, round after round, for machines are shared and their speed drifts. The first round does not count.
//! 3. A workload is one text for all peers (`peer::Stackful`, `peer::Stackless`), and checks what it computes.
//! 4. What fails, dies, takes too long or cannot be done is shown as such, and ends nothing.

mod bench;
mod go;
mod measure;
mod model;
mod net;
mod peer;
mod process;
mod report;
mod runner;

use model::{Figure, Job, Outcome, Peer, Scale, Work};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo run --release -p peers -- [BENCH...] [--quick] [--json FILE] [--svg DIR] [--markdown FILE]

  BENCH            one of those below; all if none is named
  --quick          less of everything; ends within 5 minutes
  --tiny           next to nothing, to see that everything works; its figures mean nothing
  --json FILE      writes all figures there
  --svg DIR        draws a chart for each bench there, and one of all
  --markdown FILE  writes tables there, between the lines of the page that are for them
";

/// The first argument of a child.
pub const CHILD: &str = "--child";
/// The first argument of a child's server.
pub const SERVER: &str = "--server";

struct Options {
    benches: Vec<&'static model::Bench>,
    scale: Scale,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(CHILD) => child(&arguments[1..]),
        Some(SERVER) => server(&arguments[1..]),
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn Error>> {
    let Some(options) = options()? else {
        print!("{USAGE}\nbenches:");
        bench::ALL
            .iter()
            .for_each(|bench| print!(" {}", bench.name));
        println!();
        return Ok(());
    };
    process::allow_files();
    let report = runner::run(&options.benches, options.scale)?;
    report::table::print(&report);
    if let Some(file) = &options.json {
        report::json::write(&report, file)?;
    }
    if let Some(folder) = &options.svg {
        report::chart::draw(&report, folder)?;
        report::overview::draw(&report, &folder.join("overview.svg"))?;
    }
    if let Some(page) = &options.markdown {
        report::markdown::write(&report, page)?;
    }
    Ok(())
}

/// `None`: help was asked for.
fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        benches: Vec::new(),
        scale: Scale::Full,
        json: None,
        svg: None,
        markdown: None,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("quick") => options.scale = Scale::Quick,
            Long("tiny") => options.scale = Scale::Tiny,
            Long("json") => options.json = Some(arguments.value()?.into()),
            Long("svg") => options.svg = Some(arguments.value()?.into()),
            Long("markdown") => options.markdown = Some(arguments.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            Value(name) => {
                let name = name.string()?;
                let bench = bench::named(&name);
                options
                    .benches
                    .push(bench.ok_or(format!("no such bench: {name}"))?);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if options.benches.is_empty() {
        options.benches = bench::ALL.iter().collect();
    }
    Ok(Some(options))
}

/// `BENCH PEER` and a job.
fn child(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (bench, peer, arguments) = bench_and_peer(arguments)?;
    let job = Job::parse(arguments).ok_or("not a job")?;
    let outcome: Outcome = match &bench.work {
        Work::Here(run) => run(peer, &job),
        Work::Served(service) => net::measure(runner::server(bench, peer, &job)?, service, &job),
    };
    match outcome {
        Ok(figures) => figures
            .iter()
            .for_each(|figure: &Figure| println!("{figure}")),
        Err(reason) => println!("{}{reason}", runner::ABSENT),
    }
    process::leave()
}

/// `BENCH PEER CONNECTIONS`.
fn server(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (bench, peer, arguments) = bench_and_peer(arguments)?;
    let connections = arguments.first().ok_or("how many connections?")?;
    let Work::Served(service) = &bench.work else {
        return Err("it has no server".into());
    };
    if let Err(reason) = net::serve(peer, service, connections.parse()?) {
        println!("{}{reason}", runner::ABSENT);
    }
    Ok(())
}

fn bench_and_peer(
    arguments: &[String],
) -> Result<(&'static model::Bench, Peer, &[String]), Box<dyn Error>> {
    let [bench, peer, rest @ ..] = arguments else {
        return Err("a bench and a peer are needed".into());
    };
    let bench = bench::named(bench).ok_or("no such bench")?;
    Ok((bench, Peer::named(peer).ok_or("no such peer")?, rest))
}
