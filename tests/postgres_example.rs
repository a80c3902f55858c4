//! The example `postgres_pool` beside a PostgreSQL of its own, which counts the connections, looks after the money, and ends connections that
//! are in use.
//!
//! The rules of `programs` hold.

mod programs;

use programs::files::Folder;
use programs::{is_installed, text, Program};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Accounts that do not have what the transfers say.
const WRONG: &str = "select count(*) from accounts where balance <> 1000 \
    + (select count(*) from transfers where target = accounts.id) - (select count(*) from transfers where source = accounts.id)";

#[test]
fn two_hundred_tasks_share_ten_connections_and_every_transfer_is_made_once() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres
        .tells("create role app login connection limit 10; grant create on schema public to app");
    let (socket, port) = (postgres.folder.0.to_str().unwrap(), "127.0.0.1");
    assert_eq!(
        said(&postgres.example(socket, &["--transfers", "10"])),
        "2000 transfers are made, 0 attempts failed, and 50000 has become 50000\n"
    );
    assert_eq!(postgres.tells(WRONG), "0");
    // Those that were made are not made again.
    assert_eq!(
        said(&postgres.example(port, &["--transfers", "12"])),
        "2400 transfers are made, 0 attempts failed, and 50000 has become 50000\n"
    );
    assert_eq!(postgres.tells(WRONG), "0");
    assert_eq!(postgres.tells("select count(*) from transfers"), "2400");
    assert_eq!(postgres.tells("select sum(balance) from accounts"), "50000");

    // An eleventh connection would have been refused.
    let more = postgres.example(socket, &["--transfers", "13", "--connections", "11"]);
    assert!(
        !text(&more.stdout).contains(", 0 attempts failed"),
        "{more:?}"
    );
}

#[test]
fn connections_that_the_server_ends_in_the_middle_are_replaced_and_no_transfer_is_lost_or_made_twice(
) {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres.tells("create role app login; grant create on schema public to app");
    let socket = postgres.folder.0.to_str().unwrap();
    said(&postgres.example(socket, &["--transfers", "1"]));
    // Keeps all accounts until all connections wait for one in the middle of a transfer, and ends these.
    let mut ending = Program::from(postgres.psql().args(["-c", "
        do $$ begin
            perform from accounts for update;
            raise notice 'they are mine';
            loop
                perform pg_sleep(0.001), pg_stat_clear_snapshot();
                exit when (select count(*) from pg_stat_activity where usename = 'app' and wait_event_type = 'Lock') = 10;
            end loop;
            perform pg_terminate_backend(pid) from pg_stat_activity where usename = 'app';
        end $$"]));
    let mut notice = String::new();
    let mut stderr = BufReader::new(ending.child.stderr.take().unwrap());
    stderr.read_line(&mut notice).unwrap();
    assert!(notice.contains("they are mine"), "{notice}");

    let output = postgres.example(socket, &["--transfers", "10"]);
    let ended = ending.finish();
    assert!(ended.status.success(), "{ended:?}");
    let (made, failed) = said(&output).split_once(" transfers are made, ").unwrap();
    let failed: u32 = failed.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(made, "2000");
    assert!(failed >= 10, "{output:?}");
    assert_eq!(postgres.tells(WRONG), "0");
    assert_eq!(postgres.tells("select count(*) from transfers"), "2000");
}

/// The driver as it comes, on sockets and timers of tokio.
#[cfg(feature = "tokio")]
#[test]
fn the_driver_on_sockets_of_tokio_answers_tasks_that_share_a_connection() {
    use multitask::{future, Scheduler};
    use std::sync::Arc;
    use tokio_postgres::{connect, NoTls};

    let Some(postgres) = Postgres::start() else {
        return;
    };
    let config = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres",
        postgres.port
    );
    Scheduler::new().unwrap().block_on(|| {
        let (client, connection) = future::tokio::block_on(connect(&config, NoTls)).unwrap();
        let connection = multitask::spawn(|| future::tokio::block_on(connection));
        let client = Arc::new(client);
        let square = |n: i32| {
            let client = client.clone();
            multitask::spawn(move || {
                let asks = async { client.query_one("select $1::int * $1", &[&n]).await };
                future::tokio::block_on(asks).unwrap().get::<_, i32>(0)
            })
        };
        let tasks: Vec<_> = (0..100).map(square).collect();
        let squares = tasks.into_iter().map(|task| task.join().unwrap());
        assert!(squares.eq((0..100).map(|n| n * n)));
        drop(client);
        connection.join().unwrap().unwrap();
    });
}

#[test]
fn a_server_that_is_not_there_is_an_error_in_words() {
    let options = ["host=/nowhere user=app dbname=postgres"];
    let output = Program::start("postgres_pool", &options).finish();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("No such file"), "{output:?}");
}

#[track_caller]
fn said(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// A server at work, in a folder of its own, where it listens as well.
struct Postgres {
    server: Program,
    programs: PathBuf,
    port: String,
    folder: Folder,
}

impl Postgres {
    /// Returns when it listens; nothing, if it is not installed.
    fn start() -> Option<Postgres> {
        let programs = programs();
        if !is_installed(programs.join("postgres").to_str().unwrap(), "postgresql") {
            return None;
        }
        let folder = Folder::new();
        let data = folder.join("data");
        let is_root = fs::metadata(&folder.0).unwrap().uid() == 0;
        if is_root {
            let given = Command::new("chown")
                .arg("postgres")
                .arg(&folder.0)
                .status();
            assert!(given.unwrap().success());
        }
        let mut initdb = user(is_root, &programs.join("initdb"));
        initdb.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-sync",
            "-D",
        ]);
        let made = Program::from(initdb.arg(&data)).finish();
        assert!(made.status.success(), "{made:?}");
        loop {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let port = port.unwrap().port().to_string();
            let mut postgres = user(is_root, &programs.join("postgres"));
            postgres.arg("-D").arg(&data).arg("-k").arg(&folder.0);
            postgres.args([
                "-p",
                &port,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
            ]);
            let mut server = Program::from(&mut postgres);
            let mut lines = BufReader::new(server.child.stderr.take().unwrap()).lines();
            // Nothing, if somebody else was quicker to take the port.
            if lines.any(|line| line.unwrap().contains("ready to accept connections")) {
                std::thread::spawn(move || lines.for_each(drop)); // what else it says
                return Some(Postgres {
                    server,
                    programs,
                    port,
                    folder,
                });
            }
        }
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-p",
            &self.port,
            "-h",
        ]);
        psql.arg(&self.folder.0).arg("postgres");
        psql
    }

    fn tells(&self, sql: &str) -> String {
        let output = Program::from(self.psql().args(["-c", sql])).finish();
        said(&output).trim_end().to_owned()
    }

    fn example(&self, host: &str, options: &[&str]) -> Output {
        let config = format!("host={host} port={} user=app dbname=postgres", self.port);
        Program::start("postgres_pool", &[options, &[&config]].concat()).finish()
    }
}

/// It takes its own processes along, which it would not if it were killed.
impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = self.server.id().to_string();
        let _told = Command::new("kill").args(["-s", "QUIT", &pid]).status();
        let _ended = self.server.child.wait();
    }
}

/// Where Debian has them: the newest; else wherever they are found.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.unwrap().path())
        .max_by_key(version);
    newest.map_or_else(PathBuf::new, |path| path.join("bin"))
}

/// The server refuses to be run by root.
fn user(is_root: bool, program: &Path) -> Command {
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(program);
    command.current_dir("/"); // where it may be
    command
}
