//! A crate that is made for tokio, used in tasks: an HTTP client, which asks the example `http_server`. (A driver of a database is in
//! `postgres_example.rs`.)
//!
//! `cargo test` builds the example beside this test. The rules of `programs` hold.

mod programs;

use multitask::{future, spawn, timeout, yield_now, Scheduler, Timeout};
use programs::Server;
use reqwest::Client;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Longer than any of these tests takes.
const LONG: Duration = Duration::from_secs(3600);

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

#[test]
fn tasks_share_a_client_made_for_tokio_and_each_hears_its_own_answers() {
    const TASKS: usize = 40;
    const QUESTIONS: usize = 10;
    let server = Server::started("http_server", &[], &["127.0.0.1:0"]);
    let scheduler = Scheduler::builder().workers(2).build().unwrap();
    let (client, url) = (client(), server.addr.clone() + "/echo");
    let tasks: Vec<_> = (0..TASKS)
        .map(|n| {
            let (client, url) = (client.clone(), url.clone());
            scheduler.spawn(move || {
                for question in 0..QUESTIONS {
                    let body = format!("{question} of {n}, ").repeat(1000 * question);
                    let asks = async {
                        let answer = client.post(&url).body(body.clone()).send().await?;
                        answer.error_for_status()?.text().await
                    };
                    assert_eq!(future::tokio::block_on(asks).unwrap(), body);
                }
            })
        })
        .collect();
    scheduler.run().unwrap();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    drop(client);
    let farewell = server.stop("TERM");
    let asked = format!("served {} requests on ", TASKS * QUESTIONS);
    assert!(farewell.starts_with(&asked), "{farewell}");
}

#[test]
fn a_client_made_for_tokio_ends_by_its_own_limit_by_ours_and_when_its_task_is_cancelled() {
    // It lets the client in, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let scheduler = Scheduler::new().unwrap();
    scheduler.block_on(|| {
        let client = client();
        // In a block: its timer wants the runtime when it is made.
        let asks = |limit| {
            let request = client.get(&url).timeout(limit);
            async { request.send().await }
        };
        let late = future::tokio::block_on(asks(Duration::from_millis(2)));
        assert!(late.unwrap_err().is_timeout());
        let late = timeout(Duration::from_millis(2), || {
            future::tokio::block_on(asks(LONG)).map(drop).is_ok()
        });
        assert_eq!(late, Err(Timeout));

        // The task waits while others run: so it is cancelled in the middle of its question.
        static ASKS: AtomicBool = AtomicBool::new(false);
        let question = asks(LONG);
        let waits = spawn(move || {
            ASKS.store(true, SeqCst);
            future::tokio::block_on(question).map(drop).is_ok()
        });
        while !ASKS.load(SeqCst) {
            yield_now();
        }
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
    });
}
