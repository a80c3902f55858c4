//! Where several stacks on one thread reach the end of what safe Rust lets its code believe: each is a duty of the user's by
//! `docs/soundness.md`, and here is shown to be one. None of these uses what is gone.

mod common;

use common::ends;
use multitask::sync::Event;
use multitask::{spawn, spawn_local, task, yield_now};
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::thread;

/// A value that tells when it goes.
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Of two who initialize at once the later one drops what the other has made, and hands out, by then.
#[test]
fn a_thread_local_whose_initializer_waits_loses_a_value_that_a_task_still_borrows() {
    thread_local! {
        static WAITS: Told = {
            yield_now();
            Told(Arc::default())
        };
    }
    ends(|| {
        let borrows = || {
            WAITS.with(|value| {
                let gone = value.0.clone();
                for _ in 0..5 {
                    yield_now();
                }
                gone.load(SeqCst)
            })
        };
        let tasks = [spawn_local(borrows), spawn_local(borrows)];
        let gone = tasks.map(|task| task.join().unwrap());
        assert_eq!(gone, [true, false]);
    });
}

/// The stack of the task stays for ever, and all that lies on it; what belongs to its thread does not.
#[test]
fn a_thread_local_that_a_task_has_lent_to_a_thread_goes_with_its_own_thread() {
    thread_local! {
        static LENT: Told = Told(Arc::default());
    }
    ends(|| {
        let (tell, told) = mpsc::channel();
        let (over, ends) = mpsc::channel::<()>();
        let owner = thread::spawn(move || {
            let _abandoned = spawn(move || {
                LENT.with(|value| {
                    tell.send(value.0.clone()).unwrap();
                    thread::scope(|s| {
                        // It keeps a reference, and does not look at what it leads to.
                        s.spawn(move || (value, ends.recv().is_err()).1);
                        task::park();
                    });
                });
            });
            yield_now();
        });
        owner.join().unwrap();
        assert!(told.recv().unwrap().load(SeqCst), "it is lent, and gone");
        drop(over);
    });
}

/// Sets a value of the thread for the length of a call, as `scoped_tls` and entered spans do.
struct Restores(u32);

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

impl Restores {
    fn set(value: u32) -> Self {
        Restores(CURRENT.replace(value))
    }
}

impl Drop for Restores {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[test]
fn what_sets_a_thread_local_and_puts_back_what_it_found_leaves_that_of_another_task() {
    ends(|| {
        let event = Rc::new(Event::new());
        let waits = event.clone();
        let first = spawn_local(move || {
            let _restores = Restores::set(1);
            waits.wait();
        });
        yield_now();
        let second = spawn_local(|| {
            let _restores = Restores::set(2);
            yield_now();
            yield_now();
        });
        yield_now();
        event.set();
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(CURRENT.get(), 1, "the first has ended");
    });
}

#[test]
fn a_cell_that_is_borrowed_over_a_wait_refuses_the_next_task_and_nothing_worse() {
    ends(|| {
        let cell = Rc::new(RefCell::new(vec![1]));
        let held = cell.clone();
        let holds = spawn_local(move || {
            let mut held = held.borrow_mut();
            task::park();
            held.push(2);
        });
        yield_now();
        let borrows = cell.clone();
        let other = spawn_local(move || borrows.borrow().len());
        let refused: Result<usize, _> = other.join();
        assert!(refused.unwrap_err().is_panic());
        assert!(catch_unwind(AssertUnwindSafe(|| cell.borrow().len())).is_err());
        holds.task().unpark();
        holds.join().unwrap();
        assert_eq!(*cell.borrow(), [1, 2]);
    });
}
