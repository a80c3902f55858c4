//! Futures of tokio in tasks: the background runtime, and who sees it.

mod common;

use common::futures::Gate;
use common::{ends, everywhere, scheduler, settle, OnDrop, LONG};
use multitask::future::{self, block_on_timeout};
use multitask::sync::Event;
use multitask::{timeout, Scheduler, Timeout};
use std::future::{ready, IntoFuture, Ready};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

fn has_context() -> bool {
    Handle::try_current().is_ok()
}

#[test]
fn a_timer_of_tokio_goes_off_in_a_task() {
    everywhere(|| {
        let slept = future::tokio::block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            has_context()
        });
        assert!(slept && !has_context());
    });
}

#[test]
fn streams_of_tokio_carry_bytes_between_tasks() {
    ends(|| {
        let scheduler = scheduler();
        let listener = future::tokio::block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let server = scheduler.spawn(move || {
            for _ in 0..8 {
                let (stream, _) = future::tokio::block_on(listener.accept()).unwrap();
                multitask::spawn(move || {
                    future::tokio::block_on(async move {
                        let (mut from, mut to) = stream.into_split();
                        tokio::io::copy(&mut from, &mut to).await.unwrap();
                    })
                });
            }
        });
        let clients: Vec<_> = (0..8u8)
            .map(|n| {
                scheduler.spawn(move || {
                    future::tokio::block_on(async move {
                        let mut stream = TcpStream::connect(addr).await.unwrap();
                        let sent = vec![n; 100_000];
                        let (mut from, mut to) = stream.split();
                        let mut back = Vec::new();
                        let sends = async {
                            to.write_all(&sent).await.unwrap();
                            to.shutdown().await.unwrap();
                        };
                        let (_, read) = tokio::join!(sends, from.read_to_end(&mut back));
                        read.unwrap();
                        assert_eq!(back, sent);
                    })
                })
            })
            .collect();
        scheduler.run().unwrap();
        server.join().unwrap();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
}

#[test]
fn a_task_that_waits_for_a_future_of_tokio_can_be_cancelled_and_limited() {
    ends(|| {
        let scheduler = Scheduler::new().unwrap();
        let in_drop = Arc::new(AtomicUsize::new(0));
        let endless = |in_drop: &Arc<AtomicUsize>| {
            let in_drop = in_drop.clone();
            async move {
                let _sees = OnDrop(move || {
                    in_drop.fetch_add(usize::from(has_context()), SeqCst);
                });
                tokio::time::sleep(LONG).await;
            }
        };
        let future = endless(&in_drop);
        let waits = scheduler.spawn(move || future::tokio::block_on(future));
        settle(&scheduler);
        waits.cancel();
        scheduler.run().unwrap();
        assert!(waits.join().unwrap_err().is_cancelled());
        let future = endless(&in_drop);
        let late = timeout(Duration::from_millis(2), || future::tokio::block_on(future));
        assert_eq!(late, Err(Timeout));
        let future = future::tokio::in_context(endless(&in_drop));
        assert_eq!(
            block_on_timeout(future, Duration::from_millis(2)),
            Err(Timeout)
        );
        assert_eq!(
            in_drop.load(SeqCst),
            3,
            "futures are dropped in the context"
        );
        assert!(!has_context());
    });
}

#[test]
fn what_becomes_a_future_does_so_in_the_context() {
    struct Wants;
    impl IntoFuture for Wants {
        type Output = bool;
        type IntoFuture = Ready<bool>;
        fn into_future(self) -> Ready<bool> {
            ready(has_context())
        }
    }
    everywhere(|| {
        assert!(future::tokio::block_on(Wants));
        assert!(!has_context());
    });
}

#[test]
fn other_tasks_do_not_see_the_context_while_one_waits() {
    let scheduler = Scheduler::new().unwrap();
    let gate = Gate::default();
    scheduler.spawn({
        let gate = gate.clone();
        move || {
            future::tokio::block_on(async {
                assert!(has_context());
                gate.await;
                assert!(has_context());
            });
            assert!(!has_context());
        }
    });
    settle(&scheduler);
    scheduler.block_on(|| assert!(!has_context()));
    gate.open();
    scheduler.run().unwrap();
}

#[test]
fn tasks_that_suspend_inside_their_polls_leave_in_any_order() {
    let scheduler = Scheduler::new().unwrap();
    let events: Vec<Arc<Event>> = (0..3).map(|_| Arc::default()).collect();
    let tasks: Vec<_> = events
        .iter()
        .map(|event| {
            let event = event.clone();
            scheduler.spawn(move || {
                future::tokio::block_on(async {
                    event.wait(); // in the middle of a poll
                    assert!(has_context());
                });
            })
        })
        .collect();
    for first in [0, 2, 1] {
        settle(&scheduler);
        events[first].set();
        settle(&scheduler);
        assert!(tasks[first].is_finished());
    }
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert!(!has_context());
}

#[test]
fn a_runtime_of_the_user_s_is_not_disturbed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let guard = runtime.enter();
    let own = Handle::current().id();
    let background = future::tokio::block_on(async { Handle::current().id() });
    assert_ne!(background, own);
    assert_eq!(Handle::current().id(), own);
    drop(guard);
    assert!(!has_context());
    let entered = future::tokio::enter(|| Handle::current().id());
    assert_eq!(entered, future::tokio::handle().unwrap().id());
}

#[test]
fn what_is_spawned_on_the_background_runtime_runs_and_is_awaited() {
    everywhere(|| {
        let sum = future::tokio::block_on(async {
            let tasks: Vec<_> = (0..10).map(|n| tokio::spawn(async move { n })).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 45);
    });
}
