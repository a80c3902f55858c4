//! Two hundred tasks and ten connections to PostgreSQL: transfers between accounts, each in a transaction.
//!
//! ```text
//! cargo run --release --features futures-io --example postgres_pool -- [OPTION]... 'host=localhost user=me dbname=bank'
//! ```
//!
//! The driver is `tokio-postgres`, on our sockets: no runtime of tokio is there. `pool` is the part to take along.
//!
//! A transfer that fails, because the server was restarted for instance, is tried again. As each has a number, which goes into the
//! same transaction, none is made twice, even if it is not known whether it was made; and a run that was ended in the middle goes on where it was
//! when it is started again.

mod pool;

use multitask::future::block_on;
use multitask::{sleep, task, Scheduler};
use pool::{Pool, Result};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{error, process};
use tokio_postgres::{Client, Config, Error};

const USAGE: &str = "\
usage: postgres_pool [OPTION]... CONFIG
    CONFIG             as for psql: 'host=localhost user=me dbname=bank'
    --connections N    at a time: 10
    --tasks N          that make transfers: 200
    --transfers N      of each: 10
";

/// As many as `TABLES` has.
const ACCOUNTS: i32 = 50;
/// Of a transfer.
const ATTEMPTS: u32 = 6;
/// After the first that failed; twice as long after each that follows.
const DELAY: Duration = Duration::from_millis(100);
/// What the server does not finish by then it gives up, in milliseconds.
const LIMITS: &str = "-c statement_timeout=20000 -c idle_in_transaction_session_timeout=20000";

const TABLES: &str = "
    create table if not exists accounts (id int primary key, balance bigint not null);
    create table if not exists transfers (task int, n int, source int, target int, primary key (task, n));
    insert into accounts select id, 1000 from generate_series(0, 49) as id on conflict do nothing;
";

fn main() -> Result<()> {
    let mut options = Options::parse()?;
    options.config.application_name("postgres_pool");
    if options.config.get_options().is_none() {
        options.config.options(LIMITS);
    }
    // When this returns, the tasks of the connections have said goodbye as well.
    let scheduler = Scheduler::new()?;
    let main = scheduler.spawn(move || bank(options));
    scheduler.run()?;
    main.join().map_err(|error| error.to_string())?
}

fn bank(options: Options) -> Result<()> {
    let pool = Pool::new(options.config, options.connections);
    pool.with(|client| block_on(client.batch_execute(TABLES)))?;
    let before = pool.with(sum)?;
    let again = AtomicU64::new(0);
    task::scope(|scope| {
        for task in 0..options.tasks {
            let (pool, again) = (&pool, &again);
            scope.spawn(move || {
                for n in 0..options.transfers {
                    if let Err(error) =
                        persist(again, || pool.with(|client| transfer(client, task, n)))
                    {
                        eprintln!("transfer {n} of task {task}: {}", told(&*error));
                    }
                }
            });
        }
    });
    let after = pool.with(sum)?;
    let made =
        pool.with(|client| block_on(client.query_one("select count(*) from transfers", &[])))?;
    let made: i64 = made.get(0);
    println!(
        "{made} transfers are made, {} attempts failed, and {before} has become {after}",
        again.load(Relaxed)
    );
    if made < i64::from(options.tasks) * i64::from(options.transfers) || before != after {
        return Err("that is not what was wanted".into());
    }
    Ok(())
}

/// One unit from an account to another: once, however often it is called.
fn transfer(client: &mut Client, task: i32, n: i32) -> std::result::Result<(), Error> {
    let source = (task * 7 + n) % ACCOUNTS;
    let target = (source + 1 + (task + n * 3) % (ACCOUNTS - 1)) % ACCOUNTS;
    // Dropped before it is committed, it is rolled back.
    let transaction = block_on(client.transaction())?;
    let noted = block_on(transaction.execute(
        "insert into transfers values ($1, $2, $3, $4) on conflict do nothing",
        &[&task, &n, &source, &target],
    ))?;
    if noted == 0 {
        return Ok(());
    }
    let mut changes = [(source, -1_i64), (target, 1)];
    changes.sort(); // all lock in the same order, so none waits for another in a circle
    for (account, change) in changes {
        block_on(transaction.execute(
            "update accounts set balance = balance + $2 where id = $1",
            &[&account, &change],
        ))?;
    }
    block_on(transaction.commit())
}

fn sum(client: &mut Client) -> std::result::Result<i64, Error> {
    let row = block_on(client.query_one("select sum(balance)::bigint from accounts", &[]))?;
    Ok(row.get(0))
}

/// Again and again, less and less often.
fn persist<T>(failed: &AtomicU64, mut op: impl FnMut() -> Result<T>) -> Result<T> {
    for attempt in 1..ATTEMPTS {
        match op() {
            Ok(done) => return Ok(done),
            Err(_) => failed.fetch_add(1, Relaxed),
        };
        sleep(DELAY * 2_u32.pow(attempt - 1));
    }
    op()
}

/// An error with what lies behind it.
fn told(error: &dyn error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

struct Options {
    config: Config,
    connections: usize,
    tasks: i32,
    transfers: i32,
}

impl Options {
    fn parse() -> Result<Options> {
        use lexopt::prelude::*;
        let (mut config, mut connections, mut tasks, mut transfers) = (None, 10, 200, 10);
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("connections") => {
                    connections = parser.value()?.parse::<std::num::NonZeroUsize>()?.get()
                }
                Long("tasks") => tasks = parser.value()?.parse::<u16>()?.into(),
                Long("transfers") => transfers = parser.value()?.parse::<u16>()?.into(),
                Value(told) => config = Some(told.string()?.parse()?),
                Short('h') | Long("help") => {
                    print!("{USAGE}");
                    process::exit(0);
                }
                _ => return Err(arg.unexpected().into()),
            }
        }
        let Some(config) = config else {
            eprint!("{USAGE}");
            process::exit(2);
        };
        Ok(Options {
            config,
            connections,
            tasks,
            transfers,
        })
    }
}
