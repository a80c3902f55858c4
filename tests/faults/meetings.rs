//! Parts of the scenario: tasks that wait for each other, and for what the system tells.

use crate::common::{OnDrop, LONG};
use crate::scenario::{all, begin, end, Failure, Stage};
use multitask::process::Command;
use multitask::signal::{Signals, SIGUSR1};
use multitask::sync::{Barrier, Event, Notify, Once, OnceLock, Queue};
use multitask::time::{interval, Timer};
use multitask::{future, io, task, yield_now};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const MEMBERS: usize = 3;

pub fn meeting(_: &Stage) -> Result<(), Failure> {
    let (barrier, once, cell) = (Barrier::new(MEMBERS), Once::new(), OnceLock::new());
    let (begun, met) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (event, bell) = (Event::new(), Notify::new());
    let outcome = task::scope(|s| {
        let members: Vec<_> = (0..MEMBERS)
            .map(|n| {
                let (barrier, once, cell, begun, met, event, bell) =
                    (&barrier, &once, &cell, &begun, &met, &event, &bell);
                let ends = UnlessThrough(false, || s.cancel());
                begin(s, move || {
                    // Begun again by the next one if it is cut short.
                    once.call_once_force(|_| {
                        yield_now();
                        begun.fetch_add(1, SeqCst);
                    });
                    assert_eq!(*cell.get_or_init(|| (yield_now(), 7).1), 7);
                    barrier.wait();
                    met.fetch_add(1, SeqCst);
                    if n == 0 {
                        yield_now();
                        event.set();
                    }
                    event.wait_timeout(LONG)?;
                    // Each is woken by the one before.
                    if n > 0 {
                        bell.wait_timeout(LONG)?;
                    }
                    bell.notify_one();
                    ends.come_through();
                    Ok(())
                })
            })
            .collect();
        if members.iter().any(Result::is_err) {
            s.cancel();
        }
        all(members.into_iter().map(end))
    });
    assert!(begun.load(SeqCst) <= 1, "once");
    if outcome.is_ok() {
        assert_eq!((begun.load(SeqCst), met.load(SeqCst)), (1, MEMBERS));
        assert!(once.is_completed());
    }
    outcome
}

/// Lets those go who would wait for it for ever, unless it has come through.
struct UnlessThrough<F: Fn()>(bool, F);

impl<F: Fn()> UnlessThrough<F> {
    fn come_through(mut self) {
        self.0 = true;
    }
}

impl<F: Fn()> Drop for UnlessThrough<F> {
    fn drop(&mut self) {
        if !self.0 {
            self.1();
        }
    }
}

pub fn clocks(_: &Stage) -> Result<(), Failure> {
    let timer = Timer::new(LONG);
    task::scope(|s| {
        let waits = begin(s, || Ok(timer.wait()?));
        let _moves = OnDrop(|| {
            timer.reset(Duration::ZERO);
        });
        let mut ticks = interval(Duration::from_micros(20));
        for _ in 0..3 {
            ticks.tick_timeout(LONG)?;
        }
        timer.reset(Duration::from_micros(20));
        end(waits)
    })
}

pub fn futures(stage: &Stage) -> Result<(), Failure> {
    let queue = Queue::bounded(1);
    task::scope(|s| {
        let shuts = OnDrop(|| queue.close());
        let puts = begin(s, || {
            let _shuts = shuts;
            for n in 0..stage.size {
                future::block_on(queue.put_async(n)).map_err(|_| "nobody gets it")?;
                yield_now();
            }
            Ok(())
        });
        let _shuts = OnDrop(|| queue.close());
        if puts.is_err() {
            queue.close();
        }
        let mut got = Vec::new();
        while let Ok(n) = future::block_on_timeout(queue.get_async(), LONG)? {
            got.push(n);
        }
        assert!(got.iter().copied().eq(0..got.len()));
        end(puts)?;
        assert_eq!(got.len(), stage.size);
        Ok(())
    })
}

pub fn told_by_the_system(_: &Stage) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGUSR1])?;
    SIGUSR1.raise()?;
    assert_eq!(signals.wait_timeout(LONG)?, SIGUSR1);
    drop(signals);
    let mut echo = Command::new("echo");
    // Else a child whose pipes cannot be read is left to whom it concerns.
    let output = echo.arg("told").kill_on_drop(true).output()?;
    assert_eq!(
        (output.stdout, output.status.success()),
        (b"told\n".to_vec(), true)
    );
    // Descriptors whose mode is left as it is.
    let (reader, writer) = std::io::pipe()?;
    let (mut reader, mut writer) = (io::Fd::new(reader), io::Fd::new(writer));
    task::scope(|s| {
        let reads = begin(s, move || {
            io::wait_readable(reader.as_fd(), Some(LONG))?;
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            if text != "here and there" {
                assert!("here and there".starts_with(&text));
                return Err("it was not written to its end".into());
            }
            Ok(())
        });
        yield_now();
        let written = writer.write_all(b"here ").and_then(|()| {
            yield_now();
            writer.write_all(b"and there")
        });
        drop(writer);
        let told = written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => "nobody reads".into(),
            _ => Failure::from(error),
        });
        all([told, end(reads)])
    })
}
