//! Intervals and timers on the system's clock, in tasks and on plain threads. How fast the machine is matters to none of these: they
//! check what comes too early, and how often. When exactly, and in what order, is in `time_exact.rs`.

mod common;

use common::{ends, everywhere, scheduler, settle, OnDrop, Remote, LONG};
use multitask::time::{interval, interval_at, MissedTick, Timer, TimerError};
use multitask::{spawn, timeout, yield_now, JoinHandle, Scheduler, Timeout};
use std::cell::Cell;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(5);

/// Keeps the thread until so much of it has passed that nothing of before is to come within `time`.
fn pass(time: Duration) {
    let start = Instant::now();
    while start.elapsed() <= time {
        thread::sleep(time);
    }
}

fn is_on_the_grid(tick: Instant, start: Instant, period: Duration) -> bool {
    let since = (tick - start).as_nanos();
    since.is_multiple_of(period.as_nanos())
}

// ---- intervals ----

#[test]
fn the_first_tick_is_due_when_the_interval_is_made_or_at_its_start() {
    everywhere(|| {
        let before = Instant::now();
        let mut ticks = interval(LONG);
        let after = Instant::now();
        let first = ticks.tick();
        assert!(before <= first && first <= after);
        assert_eq!(ticks.deadline(), Some(first + LONG));

        let start = before + SHORT;
        let mut ticks = interval_at(start, LONG);
        assert_eq!(ticks.tick(), start);
        assert!(Instant::now() >= start);
    });
}

#[test]
fn no_tick_comes_before_its_time_and_none_drifts() {
    everywhere(|| {
        for missed in [MissedTick::Burst, MissedTick::Skip] {
            let start = Instant::now() + SHORT;
            let period = Duration::from_micros(700);
            let mut last = None;
            for tick in interval_at(start, period).with_missed_tick(missed).take(30) {
                assert!(Instant::now() >= tick);
                assert!(is_on_the_grid(tick, start, period));
                assert!(last < Some(tick));
                last = Some(tick);
            }
        }
    });
}

#[test]
fn after_a_delay_a_burst_makes_up_for_all_that_was_missed() {
    everywhere(|| {
        let start = Instant::now();
        let mut ticks = interval_at(start, SHORT);
        pass(5 * SHORT);
        for n in 0..8 {
            let due = start + n * SHORT;
            assert_eq!(ticks.deadline(), Some(due));
            assert_eq!(ticks.tick(), due);
        }
    });
}

#[test]
fn after_a_delay_a_skipping_interval_goes_on_with_what_is_still_to_come() {
    everywhere(|| {
        let start = Instant::now();
        let mut ticks = interval_at(start, SHORT).with_missed_tick(MissedTick::Skip);
        pass(5 * SHORT);
        let asked = Instant::now();
        assert_eq!(ticks.tick(), start);
        let answered = Instant::now();
        let next = ticks.deadline().unwrap();
        assert!(asked < next && next <= answered + SHORT);
        assert!(is_on_the_grid(next, start, SHORT));
        assert_eq!(ticks.tick(), next);
    });
}

#[test]
fn after_a_delay_a_delaying_interval_starts_again_from_there() {
    everywhere(|| {
        let start = Instant::now();
        let mut ticks = interval_at(start, SHORT).with_missed_tick(MissedTick::Delay);
        pass(5 * SHORT);
        let asked = Instant::now();
        assert_eq!(ticks.tick(), start);
        let answered = Instant::now();
        let next = ticks.deadline().unwrap();
        assert!(asked + SHORT <= next && next <= answered + SHORT);
        let mut last = ticks.tick();
        assert_eq!(last, next);
        for tick in ticks.take(3) {
            assert!(tick >= last + SHORT);
            last = tick;
        }
    });
}

#[test]
fn what_happens_with_missed_ticks_can_be_changed_on_the_way() {
    let mut ticks = interval(SHORT);
    assert_eq!(ticks.missed_tick(), MissedTick::Burst);
    assert_eq!(ticks.period(), SHORT);
    ticks.set_missed_tick(MissedTick::Skip);
    assert_eq!(ticks.missed_tick(), MissedTick::Skip);
    let start = ticks.tick();
    pass(3 * SHORT);
    assert_eq!(ticks.tick(), start + SHORT);
    assert!(ticks.deadline() > Some(start + 3 * SHORT));
}

#[test]
fn a_tick_that_is_not_waited_for_to_the_end_is_still_to_come() {
    everywhere(|| {
        let start = Instant::now();
        let mut ticks = interval_at(start + LONG, SHORT);
        assert_eq!(ticks.tick_timeout(SHORT), Err(Timeout));
        assert!(start.elapsed() >= SHORT);
        assert_eq!(ticks.tick_deadline(start), Err(Timeout));
        assert_eq!(timeout(SHORT, || ticks.tick()), Err(Timeout));
        assert_eq!(ticks.deadline(), Some(start + LONG));

        // And it comes.
        ticks.reset_at(start + SHORT);
        assert_eq!(ticks.tick_timeout(LONG), Ok(start + SHORT));
        pass(2 * SHORT);
        assert_eq!(ticks.tick_timeout(Duration::ZERO), Ok(start + 2 * SHORT));
        assert_eq!(ticks.tick_deadline(start), Ok(start + 3 * SHORT));
    });
}

#[test]
fn a_cancelled_task_leaves_its_interval_where_it_was() {
    struct Told(multitask::time::Interval, mpsc::Sender<Option<Instant>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.1.send(self.0.deadline()).unwrap();
        }
    }
    let scheduler = Scheduler::new().unwrap();
    let start = Instant::now() + LONG;
    let (tell, told) = mpsc::channel();
    let mut interval = Told(interval_at(start, SHORT), tell);
    let task = scheduler.spawn(move || interval.0.tick());
    settle(&scheduler);
    task.cancel();
    settle(&scheduler);
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!(told.recv(), Ok(Some(start)));
}

#[test]
fn a_cancelled_task_waits_for_a_tick_in_its_destructors() {
    let scheduler = Scheduler::new().unwrap();
    let (tell, told) = mpsc::channel();
    let task = scheduler.spawn(move || {
        let _last = OnDrop(|| {
            let due = Instant::now() + SHORT;
            assert_eq!(interval_at(due, LONG).tick(), due);
            tell.send(Instant::now() >= due).unwrap();
        });
        interval_at(Instant::now() + LONG, LONG).tick();
    });
    settle(&scheduler);
    task.cancel();
    scheduler.run().unwrap();
    assert_eq!(told.recv(), Ok(true));
}

#[test]
fn an_interval_that_is_reset_counts_from_there() {
    everywhere(|| {
        let mut ticks = interval(SHORT);
        ticks.tick();
        let before = Instant::now();
        ticks.reset();
        let next = ticks.deadline().unwrap();
        assert!(before + SHORT <= next && next <= Instant::now() + SHORT);
        assert_eq!(ticks.tick(), next);
        assert_eq!(ticks.tick(), next + SHORT);
        ticks.reset_at(before);
        assert_eq!(ticks.tick(), before);
    });
}

#[test]
fn an_interval_that_is_always_late_lets_others_run() {
    ends(|| {
        let scheduler = scheduler();
        let stop = Rc::new(Cell::new(false));
        let other = stop.clone();
        scheduler.spawn_local(move || {
            let mut ticks = interval(Duration::from_nanos(1));
            while !stop.get() {
                ticks.tick();
            }
        });
        scheduler.spawn_local(move || other.set(true));
        scheduler.run().unwrap();
    });
}

#[test]
fn an_interval_without_a_period_is_refused() {
    for make in [
        || _ = interval(Duration::ZERO),
        || _ = interval_at(Instant::now(), Duration::ZERO),
    ] {
        assert!(catch_unwind(make).is_err());
    }
}

#[test]
fn who_waits_for_ticks_and_timers_is_counted_as_waiting_for_time() {
    let scheduler = Scheduler::new().unwrap();
    scheduler.spawn(|| interval_at(Instant::now() + LONG, LONG).tick());
    scheduler.spawn(|| Timer::new(LONG).wait());
    settle(&scheduler);
    let stats = scheduler.stats();
    assert_eq!((stats.timers, stats.tasks), (2, 0));
}

// ---- timers ----

/// A task of `scheduler` that waits for `timer`, and has begun to.
fn waiter(scheduler: &Scheduler, timer: &Arc<Timer>) -> JoinHandle<Result<(), TimerError>> {
    let timer = timer.clone();
    let task = scheduler.spawn(move || timer.wait());
    settle(scheduler);
    task
}

#[test]
fn nobody_goes_on_before_the_timer_has_expired() {
    everywhere(|| {
        let deadline = Instant::now() + SHORT;
        let timer = Arc::new(Timer::at(deadline));
        assert_eq!(timer.deadline(), Some(deadline));
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let timer = timer.clone();
                spawn(move || {
                    timer.wait().unwrap();
                    assert!(Instant::now() >= deadline);
                })
            })
            .collect();
        assert_eq!(timer.wait(), Ok(()));
        assert!(Instant::now() >= deadline && timer.is_expired());
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn no_timer_is_early_however_near_its_deadline_is() {
    everywhere(|| {
        for micros in (0..200).map(|n| n * n / 8) {
            let deadline = Instant::now() + Duration::from_micros(micros);
            let timer = Timer::at(deadline);
            assert!(!timer.is_expired() || Instant::now() >= deadline);
            assert_eq!(timer.wait(), Ok(()));
            assert!(Instant::now() >= deadline && timer.is_expired());
        }
    });
}

#[test]
fn a_timer_that_has_expired_is_not_waited_for() {
    everywhere(|| {
        for timer in [
            Timer::new(Duration::ZERO),
            Timer::at(Instant::now() - SHORT),
        ] {
            assert!(timer.is_expired());
            for _ in 0..2 {
                assert_eq!(timer.wait(), Ok(()));
                assert_eq!(timer.wait_timeout(Duration::ZERO), Ok(()));
                assert_eq!(timer.wait_deadline(Instant::now() - SHORT), Ok(()));
                assert_eq!(timeout(Duration::ZERO, || timer.wait()), Ok(Ok(())));
            }
        }
    });
}

#[test]
fn who_waits_for_a_timer_that_is_put_off_waits_for_the_new_deadline() {
    everywhere(|| {
        let timer = Arc::new(Timer::new(SHORT));
        let mut deadline = Instant::now() + 3 * SHORT;
        timer.reset_at(deadline);
        let later = timer.clone();
        let putter = spawn(move || {
            let later_still = Instant::now() + 4 * SHORT;
            later.reset_at(later_still).then_some(later_still)
        });
        timer.wait().unwrap();
        let end = Instant::now();
        deadline = putter.join().unwrap().unwrap_or(deadline);
        assert!(end >= deadline);
    });
}

#[test]
fn to_put_a_timer_off_wakes_nobody_and_to_bring_it_nearer_does() {
    let scheduler = Scheduler::new().unwrap();
    let timer = Arc::new(Timer::new(LONG));
    let task = waiter(&scheduler, &timer);
    assert!(timer.reset(2 * LONG));
    assert!(timer.reset(Duration::MAX));
    assert_eq!(timer.deadline(), None);
    assert_eq!(scheduler.turn(Some(Duration::ZERO)), Ok(0));
    let near = Instant::now() + LONG / 2;
    assert!(timer.reset_at(near));
    assert_eq!(timer.deadline(), Some(near));
    assert_eq!(scheduler.turn(Some(Duration::ZERO)), Ok(1));
    assert!(!task.is_finished());
    assert!(timer.reset_at(Instant::now()));
    settle(&scheduler);
    assert_eq!(task.join().unwrap(), Ok(()));
}

#[test]
fn who_waits_is_woken_by_a_deadline_that_came_nearer_from_another_thread() {
    everywhere(|| {
        for first in [LONG, Duration::MAX] {
            let timer = Arc::new(Timer::new(first));
            let other = timer.clone();
            let thread = thread::spawn(move || {
                pass(SHORT);
                let deadline = Instant::now() + SHORT;
                assert!(other.reset_at(deadline));
                deadline
            });
            assert_eq!(timer.wait(), Ok(()));
            let end = Instant::now();
            assert!(end >= thread.join().unwrap());
        }
    });
}

#[test]
fn a_cancelled_timer_tells_all_who_wait_for_it_wherever_they_are() {
    everywhere(|| {
        let timer = Arc::new(Timer::new(LONG));
        let remotes = [Remote::start(), Remote::start()];
        let begun = Arc::new(AtomicUsize::new(0));
        let wait = || {
            let (timer, begun) = (timer.clone(), begun.clone());
            move || {
                begun.fetch_add(1, SeqCst);
                timer.wait()
            }
        };
        let mut tasks: Vec<_> = (0..4).map(|_| spawn(wait())).collect();
        for remote in &remotes {
            tasks.extend((0..4).map(|_| remote.handle.spawn(wait())));
        }
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(wait())).collect();
        while begun.load(SeqCst) < 16 {
            yield_now();
        }
        assert!(timer.cancel());
        assert_eq!(timer.deadline(), None);
        assert!(!timer.is_expired());
        assert_eq!(timer.wait(), Err(TimerError::Disarmed));
        for task in tasks {
            assert_eq!(task.join().unwrap(), Err(TimerError::Disarmed));
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Err(TimerError::Disarmed));
        }
        remotes.into_iter().for_each(Remote::stop);
    });
}

#[test]
fn what_a_waiter_was_told_stays_true_if_the_timer_is_set_again_before_it_runs() {
    let scheduler = Scheduler::new().unwrap();
    let timer = Arc::new(Timer::new(LONG));
    let cancelled = waiter(&scheduler, &timer);
    assert!(timer.cancel());
    assert!(!timer.reset(Duration::ZERO));
    assert!(!timer.reset(SHORT));
    let expired = waiter(&scheduler, &timer);
    pass(SHORT);
    assert!(!timer.reset(LONG), "it had expired");
    let third = waiter(&scheduler, &timer);
    assert_eq!(cancelled.join().unwrap(), Err(TimerError::Disarmed));
    assert_eq!(expired.join().unwrap(), Ok(()));
    assert!(!third.is_finished());
    // Also if it was moved before.
    assert!(timer.reset(SHORT));
    pass(SHORT);
    assert!(!timer.cancel(), "it had expired");
    assert_eq!(third.join().unwrap(), Ok(()));
    assert_eq!(timer.wait(), Err(TimerError::Disarmed));
}

#[test]
fn resetting_and_cancelling_say_whether_the_timer_was_still_to_expire() {
    let timer = Timer::new(LONG);
    assert!(timer.reset(LONG));
    assert!(timer.cancel());
    assert!(!timer.cancel());
    assert!(!timer.reset(LONG));
    assert!(timer.reset(Duration::ZERO));
    assert!(!timer.reset_at(Instant::now()));
    assert!(timer.is_expired());
    assert!(!timer.cancel());
    assert!(!timer.is_expired());
}

#[test]
fn a_wait_has_a_limit_of_its_own_that_leaves_the_timer_alone() {
    everywhere(|| {
        for after in [LONG, Duration::MAX] {
            let timer = Timer::new(after);
            let deadline = timer.deadline();
            let start = Instant::now();
            assert_eq!(timer.wait_timeout(SHORT), Err(TimerError::Timeout));
            assert!(start.elapsed() >= SHORT);
            assert_eq!(timer.wait_deadline(start), Err(TimerError::Timeout));
            assert_eq!(timer.deadline(), deadline);
            assert!(timer.cancel());
            assert_eq!(timer.wait_timeout(LONG), Err(TimerError::Disarmed));
        }
        let timer = Timer::new(SHORT);
        assert_eq!(timer.wait_timeout(LONG), Ok(()));
    });
}

#[test]
fn a_limit_holds_over_any_number_of_resets() {
    let scheduler = scheduler();
    let timer = Arc::new(Timer::new(LONG));
    let (start, waits) = (Instant::now(), timer.clone());
    let task = scheduler.spawn(move || waits.wait_deadline(start + SHORT));
    scheduler.spawn(move || {
        // Nearer and nearer, but never near.
        for n in (1..).take_while(|_| start.elapsed() < 2 * SHORT) {
            assert!(timer.reset(LONG / n + LONG));
            yield_now();
        }
    });
    scheduler.run().unwrap();
    assert_eq!(task.join().unwrap(), Err(TimerError::Timeout));
}

#[test]
fn a_waiter_is_interrupted_at_its_first_wait_and_at_those_after_a_reset_and_the_others_stay() {
    for resets in 0..3 {
        for cancels in [true, false] {
            let scheduler = Scheduler::new().unwrap();
            let timer = Arc::new(Timer::new(2 * LONG));
            let first = waiter(&scheduler, &timer);
            let over = Instant::now() + SHORT;
            let limit = if cancels { over + LONG } else { over };
            let waits = timer.clone();
            let victim = scheduler.spawn(move || multitask::timeout_at(limit, || waits.wait()));
            let last = waiter(&scheduler, &timer);
            for n in 1..=resets {
                assert!(timer.reset(LONG / n));
                settle(&scheduler);
            }
            if cancels {
                victim.cancel();
            } else {
                pass(SHORT);
            }
            settle(&scheduler);
            match victim.join() {
                Err(error) => assert!(cancels && error.is_cancelled()),
                Ok(result) => assert!(!cancels && result == Err(Timeout)),
            }
            assert!(!first.is_finished() && !last.is_finished());
            timer.reset(Duration::ZERO);
            settle(&scheduler);
            assert_eq!(first.join().unwrap(), Ok(()));
            assert_eq!(last.join().unwrap(), Ok(()));
        }
    }
}

#[test]
fn a_plain_thread_is_interrupted_by_a_scope_and_the_timer_is_as_before() {
    ends(|| {
        let timer = Arc::new(Timer::new(LONG));
        assert_eq!(timeout(SHORT, || timer.wait()), Err(Timeout));
        let other = timer.clone();
        let thread = thread::spawn(move || other.wait());
        assert!(timer.reset(SHORT));
        assert_eq!(timer.wait(), Ok(()));
        assert_eq!(thread.join().unwrap(), Ok(()));
    });
}

#[test]
fn where_nothing_can_be_unwound_the_wait_answers_instead() {
    let scheduler = Scheduler::new().unwrap();
    let (tell, told) = mpsc::channel();
    let in_drop = |tell: mpsc::Sender<_>| {
        move || {
            let _last = OnDrop(|| {
                let expired = Timer::new(Duration::ZERO).wait();
                tell.send((Timer::new(LONG).wait(), expired)).unwrap();
            });
            task_parks();
        }
    };
    let cancelled = scheduler.spawn(in_drop(tell.clone()));
    settle(&scheduler);
    cancelled.cancel();
    settle(&scheduler);
    assert_eq!(told.recv(), Ok((Err(TimerError::Cancelled), Ok(()))));
    let late = in_drop(tell);
    assert_eq!(timeout(SHORT, late), Err(Timeout));
    assert_eq!(told.recv(), Ok((Err(TimerError::Timeout), Ok(()))));
}

fn task_parks() {
    loop {
        multitask::task::park();
    }
}

#[test]
fn a_shielded_wait_is_not_interrupted() {
    let scheduler = Scheduler::new().unwrap();
    let timer = Arc::new(Timer::new(LONG));
    let saw = Arc::new(AtomicBool::new(false));
    let (waits, sees) = (timer.clone(), saw.clone());
    let task = scheduler.spawn(move || {
        multitask::task::shield(|| {
            waits.wait().unwrap();
            sees.store(true, SeqCst);
        });
        yield_now();
    });
    settle(&scheduler);
    task.cancel();
    settle(&scheduler);
    assert!(!task.is_finished());
    timer.reset(Duration::ZERO);
    settle(&scheduler);
    assert!(task.join().unwrap_err().is_cancelled());
    assert!(saw.load(SeqCst));
}

#[test]
fn the_error_of_a_timer_says_whose_end_it_was() {
    use std::io::{Error, ErrorKind};
    let kinds = [
        (TimerError::Disarmed, ErrorKind::Other),
        (TimerError::Timeout, ErrorKind::TimedOut),
        (TimerError::Cancelled, ErrorKind::Other),
    ];
    for (error, kind) in kinds {
        assert_eq!(Error::from(error).kind(), kind);
        assert_eq!(Error::from(error).to_string(), error.to_string());
    }
    let disarmed = Error::from(TimerError::Disarmed);
    assert!(disarmed.get_ref().unwrap().is::<TimerError>());
}
