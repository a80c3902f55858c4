//! The threads of a scheduler's workers beyond the first.
//!
//! 1. A mate makes its worker, runs it and ends it, all on its own thread.
//! 2. It waits for its crew, which is there when all workers are made; then for the captain to begin; and ends when the
//!    captain says so and it has no task left.

use super::crew::Crew;
use super::header::Header;
use super::home::Home;
use super::orders::Orders;
use super::worker::Worker;
use std::io;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;

/// See the head of this file.
pub(super) struct Mates(Vec<Mate>);

struct Mate {
    thread: thread::JoinHandle<()>,
    enlist: Sender<Arc<Crew>>,
}

impl Mates {
    /// Starts `count` threads; returns the homes of their workers as well.
    ///
    /// # Errors
    /// There is no thread, or there are no descriptors, for one. Those that were started end.
    pub(super) fn muster(
        count: usize,
        orders: &Orders,
    ) -> io::Result<(Self, Vec<&'static Home<Header>>)> {
        let (mut mates, mut homes) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let (enlist, crew) = channel();
            let (tell, made) = channel();
            let prefix = orders.name.as_deref().unwrap_or("multitask");
            let orders = orders.clone();
            let thread = thread::Builder::new()
                .name(format!("{prefix}-{number}"))
                .spawn(move || serve(number, &orders, &tell, &crew))?;
            homes.push(made.recv().expect("it tells before it ends")?);
            mates.push(Mate { thread, enlist });
        }
        Ok((Mates(mates), homes))
    }

    /// Makes them the workers of `crew`.
    pub(super) fn join(&self, crew: &Arc<Crew>) {
        for mate in &self.0 {
            // It waits for it.
            let _received = mate.enlist.send(crew.clone());
        }
    }

    /// Waits for their threads, which are about to end.
    pub(super) fn part(self) {
        for mate in self.0 {
            if mate.thread.join().is_err() {
                unreachable!("a mate that panics aborts");
            }
        }
    }
}

fn serve(
    number: usize,
    orders: &Orders,
    tell: &Sender<io::Result<&'static Home<Header>>>,
    crew: &Receiver<Arc<Crew>>,
) {
    let made = orders
        .pin(number)
        .and_then(|()| Worker::new(orders, number));
    let worker = match made {
        Ok(worker) => worker,
        // Who has started us waits for it.
        Err(error) => return drop(tell.send(Err(error))),
    };
    let home = worker.home;
    let _waits = tell.send(Ok(home));
    let Ok(crew) = crew.recv() else {
        // Another could not be made. Nobody knows this home.
        drop(worker);
        return home.recycle();
    };
    let held = AbortOnDrop;
    worker.join(crew.clone(), number);
    worker.serve();
    drop(worker);
    crew.leave();
    std::mem::forget(held);
}

/// Tasks would wait for ever for a mate that is gone.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        eprintln!("multitask: a worker has panicked outside of its tasks");
        std::process::abort();
    }
}
