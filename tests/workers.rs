//! Several workers: where tasks run, who takes what, and how it ends.

mod common;

use common::{ends, LONG};
use multitask::net::TcpListener;
use multitask::sync::Event;
use multitask::{sleep, spawn, task, yield_now, Handle, JoinHandle, Scheduler};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

fn scheduler(workers: usize) -> Scheduler {
    Scheduler::builder().workers(workers).build().unwrap()
}

/// A scheduler that runs on a thread of its own until it is stopped.
struct Running {
    handle: Handle,
    over: Arc<Event>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    fn start(workers: usize) -> Running {
        let (tell, told) = mpsc::channel();
        let over = Arc::new(Event::new());
        let end = over.clone();
        let thread = thread::spawn(move || {
            let scheduler = scheduler(workers);
            tell.send(scheduler.handle()).unwrap();
            while !end.is_set() {
                scheduler.turn(Some(Duration::from_millis(1))).unwrap();
            }
        });
        Running {
            handle: told.recv().unwrap(),
            over,
            thread,
        }
    }

    fn stop(self) {
        self.over.set();
        self.thread.join().unwrap();
    }
}

fn tree(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let branches: Vec<_> = (0..10).map(|_| spawn(move || tree(depth - 1))).collect();
    branches
        .into_iter()
        .map(|branch| branch.join().unwrap())
        .sum()
}

#[test]
fn a_tree_of_tasks_is_counted_right_by_any_number_of_workers() {
    for workers in [1, 2, 4, 8] {
        let leaves = ends(move || scheduler(workers).block_on(|| tree(4)));
        assert_eq!(leaves, 10_000);
    }
}

#[test]
fn tasks_that_have_not_begun_are_taken_by_workers_that_have_nothing_to_do() {
    ends(|| {
        let counts = scheduler(2).block_on(|| {
            let tasks: Vec<_> = (0..1_000)
                .map(|_| {
                    spawn(|| {
                        let id = thread::current().id();
                        for _ in 0..100 {
                            yield_now();
                        }
                        assert_eq!(thread::current().id(), id);
                        id
                    })
                })
                .collect();
            let mut counts = HashMap::new();
            for task in tasks {
                *counts.entry(task.join().unwrap()).or_insert(0) += 1;
            }
            counts
        });
        assert_eq!(counts.values().sum::<i32>(), 1_000);
    });
}

#[test]
fn what_is_cancelled_before_the_scheduler_runs_never_starts_on_any_worker() {
    ends(|| {
        for _ in 0..100 {
            let scheduler = scheduler(4);
            let handles: Vec<_> = (0..20)
                .map(|_| scheduler.spawn(|| panic!("it started")))
                .collect();
            handles.iter().for_each(JoinHandle::cancel);
            scheduler.run().unwrap();
            for handle in handles {
                assert!(handle.join().unwrap_err().is_cancelled());
            }
        }
    });
}

// ---- shutdown ----

/// A task that ends when it is told, whatever becomes of it.
fn stubborn(handle: &Handle, name: &str, worker: usize) -> (Arc<Event>, JoinHandle<()>) {
    let (begun, may_end) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (tell, told, name) = (begun.clone(), may_end.clone(), name.to_owned());
    let task = handle.spawn_on(worker, move || {
        let wait = move || {
            task::shield(|| {
                tell.set();
                told.wait();
            });
        };
        let inner = task::Builder::new().name(name).spawn_local(wait).unwrap();
        task::shield(|| inner.join().unwrap());
    });
    begun.wait();
    (may_end, task)
}

#[test]
fn shutdown_names_the_tasks_of_every_worker_that_have_not_ended_and_no_others() {
    ends(|| {
        for workers in [1, 2, 4] {
            let running = Running::start(workers);
            let handle = running.handle.clone();
            let last = workers - 1;
            let meek = handle.spawn_on(last, || sleep(LONG));
            let stays = [0, last].map(|worker| stubborn(&handle, &format!("on {worker}"), worker));
            // On a machine that has other things to do the time may be up before the meek one has ended, and all have answered.
            let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
            let left = limits.find_map(|limit| {
                let ended = meek.is_finished();
                let left = handle.shutdown(Instant::now() + limit).unwrap_err();
                (ended && left.silent_workers().is_empty()).then_some(left)
            });
            let left = left.expect("the limits go on for ever");
            let mut names: Vec<_> = left.tasks().iter().filter_map(|task| task.name()).collect();
            names.sort_unstable();
            assert_eq!(names, ["on 0", &format!("on {last}")]);
            assert_eq!(left.tasks().len(), 4, "{left}");
            assert!(left.to_string().contains("waiting for an event"), "{left}");
            assert!(meek.join().unwrap_err().is_cancelled());
            for (may_end, task) in stays {
                may_end.set();
                let _ended = task.join();
            }
            handle.shutdown(Instant::now() + LONG).unwrap();
            let late = handle.spawn(|| panic!("it began"));
            assert!(late.join().unwrap_err().is_cancelled());
            running.stop();
        }
    });
}

#[test]
fn a_task_that_shuts_its_scheduler_down_is_spared_and_goes_on() {
    ends(|| {
        for workers in [1, 3] {
            let scheduler = scheduler(workers);
            let others: Vec<_> = (0..20).map(|_| scheduler.spawn(|| sleep(LONG))).collect();
            let handle = scheduler.handle();
            scheduler.block_on(|| {
                yield_now();
                handle.shutdown(Instant::now() + LONG).unwrap();
                sleep(Duration::from_micros(10));
            });
            for other in others {
                assert!(other.join().unwrap_err().is_cancelled());
            }
        }
    });
}

#[test]
fn a_worker_on_which_a_task_computes_is_named_if_it_does_not_come_round() {
    ends(|| {
        let running = Running::start(2);
        let (begun, over) = (Arc::new(Event::new()), Arc::new(AtomicBool::new(false)));
        let (tell, told) = (begun.clone(), over.clone());
        let busy = running.handle.spawn_on(1, move || {
            tell.set();
            while !told.load(Relaxed) {
                std::hint::spin_loop();
            }
        });
        begun.wait();
        // On a machine that has other things to do the other may be late as well.
        let mut limits = std::iter::successors(Some(SHORT), |limit| Some(*limit * 2));
        let silent = limits.find_map(|limit| {
            let left = running.handle.shutdown(Instant::now() + limit).unwrap_err();
            let silent = left.silent_workers().to_vec();
            (!silent.contains(&0)).then_some(silent)
        });
        assert_eq!(silent.expect("they go on for ever"), [1]);
        over.store(true, Relaxed);
        busy.join().unwrap();
        running.handle.shutdown(Instant::now() + LONG).unwrap();
        running.stop();
    });
}

#[test]
fn the_thread_of_a_scheduler_that_shuts_it_down_runs_it_meanwhile() {
    ends(|| {
        for workers in [1, 2] {
            let scheduler = scheduler(workers);
            let task = scheduler.spawn(|| sleep(LONG));
            scheduler.turn(Some(Duration::ZERO)).unwrap();
            scheduler.handle().shutdown(Instant::now() + LONG).unwrap();
            assert!(task.join().unwrap_err().is_cancelled());
        }
    });
}

// ---- several schedulers ----

#[test]
fn what_blocks_may_run_a_scheduler_of_its_own_and_join_tasks_of_others() {
    ends(|| {
        scheduler(2).block_on(|| {
            let outer = Handle::current().unwrap();
            let sum = task::blocking(|| {
                let inner = scheduler(2);
                inner.block_on(|| tree(2)) + outer.spawn(|| tree(2)).join().unwrap()
            });
            assert_eq!(sum, 200);
        });
    });
}

#[test]
fn a_scheduler_inside_a_task_of_another_runs_to_its_end() {
    ends(|| {
        let leaves = scheduler(2).block_on(|| {
            let nested = spawn(|| scheduler(2).block_on(|| tree(2)));
            nested.join().unwrap() + tree(1)
        });
        assert_eq!(leaves, 110);
    });
}

// ---- the end ----

#[test]
fn run_returns_when_the_last_task_has_ended_on_whichever_worker_and_not_before() {
    ends(|| {
        let scheduler = scheduler(4);
        for round in 0..200 {
            let left = Arc::new(AtomicUsize::new(64));
            for n in 0..16 {
                let left = left.clone();
                let handle = scheduler.handle();
                scheduler.spawn(move || {
                    let worker = (n + round) % 4;
                    handle.spawn_on(worker, move || {
                        for _ in 0..4 {
                            let left = left.clone();
                            spawn(move || left.fetch_sub(1, SeqCst));
                            yield_now();
                        }
                    });
                });
            }
            scheduler.run().unwrap();
            assert_eq!(left.load(SeqCst), 0);
            assert_eq!(scheduler.stats().live, 0);
        }
    });
}

#[test]
fn dropping_a_scheduler_ends_the_tasks_of_every_worker_on_their_own_threads() {
    struct Here(thread::ThreadId, Arc<AtomicUsize>);
    impl Drop for Here {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0);
            self.1.fetch_add(1, SeqCst);
        }
    }
    ends(|| {
        let scheduler = scheduler(4);
        let dropped = Arc::new(AtomicUsize::new(0));
        let begun: Vec<_> = (0..40)
            .map(|n| {
                let (dropped, begun) = (dropped.clone(), Arc::new(Event::new()));
                let tell = begun.clone();
                scheduler.spawn_on(n % 4, move || {
                    let _here = Here(thread::current().id(), dropped);
                    tell.set();
                    task::park();
                });
                begun
            })
            .collect();
        scheduler.block_on(|| begun.iter().for_each(|begun| begun.wait()));
        drop(scheduler);
        assert_eq!(dropped.load(SeqCst), 40);
    });
}

#[test]
fn no_workers_or_far_too_many_are_refused() {
    for workers in [0, 1025] {
        let error = Scheduler::builder().workers(workers).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(all(target_os = "linux", not(multitask_portable)))]
#[test]
fn pinned_workers_stay_on_one_processor_each() {
    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list"));
        line.unwrap().to_owned()
    }
    ends(|| {
        let scheduler = Scheduler::builder()
            .workers(2)
            .pin_workers(true)
            .build()
            .unwrap();
        let lists = scheduler.block_on(|| {
            let handle = Handle::current().unwrap();
            [0, 1].map(|worker| handle.spawn_on(worker, allowed).join().unwrap())
        });
        assert!(
            lists.iter().all(|list| !list.contains(['-', ','])),
            "{lists:?}"
        );
    });
}

/// Where the handlers of so many connections are, one accepted after the other and none closed before all are: how many
/// on the accepting worker, and how many elsewhere.
fn handlers_of(connections: usize, workers: usize) -> (usize, usize) {
    // Both ends of each are ours.
    rlimit::increase_nofile_limit(2 * connections as u64 + 256).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let streams: Vec<_> = (0..connections).map(|_| connect(address)).collect();
        streams.iter().filter(|(_, here)| *here).count()
    });
    scheduler(workers).block_on(move || {
        let acceptor = thread::current().id();
        let handler = |(mut stream, _): (multitask::net::TcpStream, SocketAddr)| {
            spawn(move || {
                let here = thread::current().id() == acceptor;
                let mut byte = [0];
                while stream.read(&mut byte).unwrap() > 0 {
                    stream.write_all(&[u8::from(here)]).unwrap();
                }
            })
        };
        let handlers: Vec<_> = (0..connections)
            .map(|_| handler(listener.accept().unwrap()))
            .collect();
        for handler in handlers {
            handler.join().unwrap();
        }
    });
    let here = client.join().unwrap();
    (here, connections - here)
}

/// A connection whose handler has answered: whether that is on the accepting worker. It waits for more.
fn connect(address: SocketAddr) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = [0];
    stream.write_all(&[0]).unwrap();
    stream.read_exact(&mut answer).unwrap();
    (stream, answer[0] == 1)
}

#[test]
fn a_thousand_connections_accepted_one_by_one_are_no_worse_than_60_40_over_two_workers() {
    let (here, elsewhere) = ends(|| handlers_of(1_000, 2));
    assert!(
        here.abs_diff(elsewhere) <= 200,
        "{here} where they were accepted, {elsewhere} elsewhere"
    );
}

/// Where the workers of a scheduler may run that pins them.
#[cfg(all(target_os = "linux", not(multitask_portable)))]
fn processors_of_pinned(workers: usize) -> Vec<String> {
    let builder = Scheduler::builder().workers(workers).pin_workers(true);
    let scheduler = builder.build().unwrap();
    let allowed = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list:"));
        line.unwrap().to_owned()
    };
    let asked: Vec<_> = (0..workers)
        .map(|worker| scheduler.spawn_on(worker, allowed))
        .collect();
    scheduler.run().unwrap();
    asked.into_iter().map(|task| task.join().unwrap()).collect()
}

#[cfg(all(target_os = "linux", not(multitask_portable)))]
#[test]
fn a_thread_that_is_pinned_pins_the_workers_of_its_next_scheduler_as_those_of_the_first() {
    let (first, second) = ends(|| (processors_of_pinned(2), processors_of_pinned(2)));
    assert_eq!(first, second);
    let processors = thread::available_parallelism().unwrap().get();
    assert_eq!(first[0] == first[1], processors == 1);
}
