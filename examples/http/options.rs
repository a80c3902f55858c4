//! Owns what the servers can be told.

use super::limits::Limits;
use lexopt::{Arg, Parser};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub const FLAGS: &str = "\
    ADDR                   where to listen: 127.0.0.1:8080 unless told otherwise
    --root DIR             gives out the files in it under /files/
    --workers N            threads that serve: 1
    --grace SECONDS        for what is being answered when it is told to stop: 10
    --max-connections N    at a time; others wait: 10000
    --max-head BYTES       of a request line and its headers: 16384
    --max-body BYTES       of a body: 8388608
    --max-bodies BYTES     of all bodies at a time: 268435456
    --head-time SECONDS    for a whole head: 10
    --body-time SECONDS    for a whole body: 60
    --idle-time SECONDS    between an answer and the next request: 60
    --write-time SECONDS   for each 64 KiB of an answer: 20
";

pub struct Options {
    pub addr: String,
    pub root: Option<PathBuf>,
    pub workers: usize,
    pub grace: Duration,
    pub limits: Limits,
}

impl Options {
    /// What the command line says; `other` is asked about what is not of all servers, and says whether it knows it.
    ///
    /// # Errors
    /// It says something else.
    pub fn parse(
        name: &str,
        more_flags: &str,
        mut other: impl FnMut(&str, &mut Parser) -> Result<bool, lexopt::Error>,
    ) -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options = Options {
            addr: "127.0.0.1:8080".to_owned(),
            root: None,
            workers: 1,
            grace: Duration::from_secs(10),
            limits: Limits::default(),
        };
        let mut parser = Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => {
                    println!("usage: {name} [OPTION]... [ADDR]\n{FLAGS}{more_flags}");
                    std::process::exit(0);
                }
                Value(addr) => options.addr = addr.string()?,
                Long(flag) => {
                    let flag = flag.to_owned();
                    if !options.take(&flag, &mut parser)? && !other(&flag, &mut parser)? {
                        return Err(Arg::Long(&flag).unexpected());
                    }
                }
                Short(_) => return Err(arg.unexpected()),
            }
        }
        Ok(options)
    }

    fn take(&mut self, flag: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        use lexopt::prelude::*;
        let limits = &mut self.limits;
        match flag {
            "root" => self.root = Some(parser.value()?.into()),
            "workers" => self.workers = number(parser)?,
            "grace" => self.grace = time(parser)?,
            "max-connections" => limits.connections = number(parser)?,
            "max-head" => limits.head = number(parser)?,
            "max-body" => limits.body = parser.value()?.parse()?,
            "max-bodies" => limits.all_bodies = number(parser)?,
            "head-time" => limits.head_time = time(parser)?,
            "body-time" => limits.body_time = time(parser)?,
            "idle-time" => limits.idle_time = time(parser)?,
            "write-time" => limits.write_time = time(parser)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number(parser: &mut Parser) -> Result<usize, lexopt::Error> {
    use lexopt::prelude::*;
    let number: NonZeroUsize = parser.value()?.parse()?;
    Ok(number.get())
}

fn time(parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    use lexopt::prelude::*;
    parser.value()?.parse_with(|seconds| {
        let seconds = seconds.parse().map_err(|error| format!("{error}"))?;
        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
    })
}
