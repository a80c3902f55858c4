//! Sleeping, intervals, timers and time limits to the nanosecond, in many orders: on the clock of a scheduler for tests. What they do on the
//! system's clock is in `clock.rs` and `timeout.rs`.

use multitask::net::UdpSocket;
use multitask::task;
use multitask::testing::{draw, explore, settle};
use multitask::time::{interval_at, now, Instant, MissedTick, Timer, TimerError};
use multitask::{sleep, sleep_until, spawn, spawn_local, timeout, timeout_at, Timeout};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How many orders are tried.
const ORDERS: usize = 50;

const NANO: Duration = Duration::from_nanos(1);
/// About: and no whole number of the ticks of a wheel.
const HOUR: Duration = Duration::new(3600, 1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn ticks_of_several_tasks_come_in_the_order_of_their_times() {
    explore(ORDERS, || {
        let (start, came) = (now() + NANO, Rc::new(RefCell::new(Vec::new())));
        let tickers = [3, 1, 4, 0, 2].map(|n| {
            let came = came.clone();
            spawn_local(move || {
                let due = interval_at(start + n * NANO, HOUR).tick();
                assert_eq!(now(), due);
                came.borrow_mut().push(n);
            })
        });
        for ticker in tickers {
            ticker.join().unwrap();
        }
        assert_eq!(*came.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn timers_go_off_in_the_order_of_their_deadlines_however_they_were_set() {
    explore(ORDERS, || {
        let (start, came) = (now() + NANO, Rc::new(RefCell::new(Vec::new())));
        let timers = [(); 6].map(|()| Arc::new(Timer::new(HOUR)));
        for (n, timer) in timers.iter().cloned().enumerate() {
            let came = came.clone();
            spawn_local(move || {
                timer.wait().unwrap();
                assert_eq!(Some(now()), timer.deadline());
                came.borrow_mut().push(n);
            });
        }
        settle();
        for (place, n) in [5, 2, 0, 4, 1, 3].into_iter().enumerate() {
            assert!(timers[n].reset_at(start + place as u32 * NANO));
        }
        sleep_until(start + 6 * NANO);
        assert_eq!(*came.borrow(), [5, 2, 0, 4, 1, 3]);
    });
}

#[test]
fn ticks_that_were_missed_come_as_the_table_of_their_kinds_says() {
    let table = [
        (MissedTick::Burst, [0, 10, 20, 30, 40], [25, 25, 25, 30, 40]),
        (MissedTick::Delay, [0, 35, 45, 55, 65], [25, 35, 45, 55, 65]),
        (MissedTick::Skip, [0, 30, 40, 50, 60], [25, 30, 40, 50, 60]),
    ];
    for (missed, due, answered) in table {
        explore(1, || {
            let start = now();
            let mut ticks = interval_at(start, millis(10)).with_missed_tick(missed);
            sleep(millis(25));
            for (due, answered) in due.into_iter().zip(answered) {
                assert_eq!(ticks.tick() - start, millis(due), "{missed:?}");
                assert_eq!(now() - start, millis(answered), "{missed:?}");
            }
        });
    }
}

#[test]
fn a_tick_that_is_not_waited_for_to_the_end_comes_at_its_time() {
    explore(ORDERS, || {
        let start = now();
        let mut ticks = interval_at(start + HOUR, HOUR);
        assert_eq!(ticks.tick_timeout(HOUR - NANO), Err(Timeout));
        assert_eq!(now() - start, HOUR - NANO);
        assert_eq!(ticks.tick_timeout(NANO), Ok(start + HOUR));
        assert_eq!(timeout(HOUR / 2, || ticks.tick()), Err(Timeout));
        assert_eq!(ticks.tick(), start + 2 * HOUR);
        assert_eq!(now() - start, 2 * HOUR);
    });
}

#[test]
fn who_waits_for_a_timer_that_is_put_off_goes_on_at_the_last_of_its_deadlines() {
    explore(ORDERS, || {
        let start = now();
        let timer = Arc::new(Timer::new(HOUR));
        let waits: Vec<_> = (0..5)
            .map(|_| {
                let timer = timer.clone();
                spawn(move || (timer.wait(), now()))
            })
            .collect();
        for n in 1..=10 {
            sleep(HOUR - NANO);
            assert!(timer.reset(HOUR));
            assert_eq!(timer.deadline(), Some(start + n * (HOUR - NANO) + HOUR));
        }
        let end = start + 10 * (HOUR - NANO) + HOUR;
        for wait in waits {
            assert_eq!(wait.join().unwrap(), (Ok(()), end));
        }
        assert!(!timer.cancel(), "it has expired");
        assert_eq!(timer.wait_timeout(HOUR), Err(TimerError::Disarmed));
        assert_eq!(now(), end);
    });
}

#[test]
fn each_of_many_nested_scopes_ends_at_its_deadline_or_that_of_one_round_it() {
    /// Waits in so many scopes as there are spans, and notes when each has ended by itself.
    fn nest(start: Instant, spans: &[Duration], ended: &RefCell<Vec<(usize, Duration)>>) {
        let [first, rest @ ..] = spans else {
            return task::park();
        };
        if timeout_at(start + *first, || nest(start, rest, ended)).is_err() {
            ended.borrow_mut().push((rest.len(), now() - start));
            task::park();
        }
    }
    explore(4 * ORDERS, || {
        let start = now();
        let mut spans: Vec<_> = (0..8).map(|_| (1 + draw(20)) as u32 * NANO).collect();
        spans.insert(0, 100 * NANO);
        let ended = RefCell::new(Vec::new());
        let whole = timeout_at(start + spans[0], || nest(start, &spans[1..], &ended));
        assert_eq!((whole, now() - start), (Err(Timeout), spans[0]));
        // From the innermost outwards: those before whose deadline none round them ends.
        let mut expected = Vec::new();
        for (n, span) in spans.iter().enumerate().skip(1).rev() {
            let outer = spans[..n].iter().min();
            if outer.is_none_or(|outer| span <= outer) {
                expected.push((spans.len() - 1 - n, *span));
            }
        }
        assert_eq!(ended.into_inner(), expected);
    });
}

#[test]
fn a_shield_puts_a_deadline_off_to_its_end_and_not_a_nanosecond_further() {
    explore(ORDERS, || {
        let start = now();
        let outcome = timeout(NANO, || {
            task::shield(|| {
                sleep(HOUR);
                assert_eq!(timeout(NANO, task::park), Err(Timeout));
            });
            unreachable!("its time is up");
        });
        assert_eq!(outcome, Err(Timeout));
        assert_eq!(now() - start, HOUR + NANO);
    });
}

#[test]
fn sleepers_wake_at_their_deadlines_and_none_before_another_whose_is_nearer() {
    explore(5, || {
        let start = now();
        let last = Rc::new(Cell::new(start));
        let sleepers: Vec<_> = (0..2_000)
            .map(|_| {
                let deadline = start + draw(20_000) as u32 * Duration::from_micros(1);
                let last = last.clone();
                spawn_local(move || {
                    sleep_until(deadline);
                    assert_eq!(now(), deadline);
                    assert!(last.replace(deadline) <= deadline);
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

#[test]
fn a_request_that_is_repeated_goes_out_at_each_of_its_times_until_it_is_answered() {
    explore(ORDERS, || {
        let start = now();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let serves = spawn(move || {
            let mut came = Vec::new();
            for n in 0..4 {
                let (_length, from) = server.recv_from(&mut [0; 8]).unwrap();
                came.push(now() - start);
                if n == 3 {
                    sleep(millis(120));
                    server.send_to(b"answer", from).unwrap();
                }
            }
            came
        });
        let mut pause = millis(500);
        loop {
            client.send(b"request").unwrap();
            client.set_read_timeout(Some(pause)).unwrap();
            match client.recv(&mut [0; 8]) {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
            pause *= 2;
        }
        assert_eq!(serves.join().unwrap(), [0, 500, 1500, 3500].map(millis));
        assert_eq!(now() - start, millis(3620));
    });
}
