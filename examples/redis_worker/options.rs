//! Owns what it can be told.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process;
use std::time::Duration;

const USAGE: &str = "\
usage: redis_worker [OPTION]... HOST:PORT COMMAND [ARG]...
       redis_worker [OPTION]... --produce HOST:PORT
    --stream NAME      of jobs: jobs. Results go to NAME:results, what is given up to NAME:dead
    --group NAME       of workers: workers
    --name NAME        of this worker, unlike any other's: worker-PID
    --tasks N          jobs at a time: 8
    --lease SECONDS    until others take over what is not acknowledged: 60. A job has half of that
    --attempts N       after which a job is given up: 3
    --grace SECONDS    for jobs to end when it is told to stop: 30
    --keep N           as many results; as many jobs until a producer waits: 100000
The password, if there is one, is in REDISCLI_AUTH.
";

/// Of a job, and of a result, in bytes: less than a pipe holds.
pub const MOST: usize = 32 << 10;

pub enum Mode {
    Work,
    Produce,
}

pub struct Options {
    pub addr: String,
    pub mode: Mode,
    /// Not empty for those who work.
    pub command: Vec<OsString>,
    pub stream: String,
    pub group: String,
    pub name: String,
    pub tasks: usize,
    pub lease: Duration,
    pub attempts: usize,
    pub grace: Duration,
    pub keep: usize,
}

impl Options {
    /// # Errors
    /// The command line says something else.
    pub fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            addr: String::new(),
            mode: Mode::Work,
            command: Vec::new(),
            stream: "jobs".to_owned(),
            group: "workers".to_owned(),
            name: format!("worker-{}", process::id()),
            tasks: 8,
            lease: Duration::from_secs(60),
            attempts: 3,
            grace: Duration::from_secs(30),
            keep: 100_000,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("produce") => options.mode = Mode::Produce,
                Long("stream") => options.stream = parser.value()?.string()?,
                Long("group") => options.group = parser.value()?.string()?,
                Long("name") => options.name = parser.value()?.string()?,
                Long("tasks") => options.tasks = number(&mut parser)?,
                Long("lease") => options.lease = seconds(&mut parser)?,
                Long("attempts") => options.attempts = number(&mut parser)?,
                Long("grace") => options.grace = seconds(&mut parser)?,
                Long("keep") => options.keep = number(&mut parser)?,
                Short('h') | Long("help") => {
                    print!("{USAGE}");
                    process::exit(0);
                }
                Value(addr) => {
                    options.addr = addr.string()?;
                    options.command.extend(parser.raw_args()?);
                }
                _ => return Err(arg.unexpected()),
            }
        }
        let works = matches!(options.mode, Mode::Work);
        if options.addr.is_empty() || works == options.command.is_empty() {
            eprint!("{USAGE}");
            process::exit(2);
        }
        Ok(options)
    }
}

fn number(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    use lexopt::prelude::*;
    let number: NonZeroUsize = parser.value()?.parse()?;
    Ok(number.get())
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    use lexopt::prelude::*;
    parser.value()?.parse_with(|seconds| {
        let seconds = seconds.parse().map_err(|error| format!("{error}"))?;
        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
    })
}
