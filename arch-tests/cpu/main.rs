//! What the switch between stacks owes to the processor, the unwinder and the kernel's signals, shown from outside.
//!
//! Each file is one subject. What differs between processors is in `x86_64.rs` and `aarch64.rs`, a pair with equal
//! signatures; on any other the tests that need it are left out, and the rest holds all the same.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

mod backtraces;
mod faults;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod registers;
mod signals;
mod stacks;
mod thread_locals;
mod unwinding;

use multitask::Scheduler;

/// Runs `body` as the first task of a fresh scheduler, until that task and all that it spawned are done.
fn in_task<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let scheduler = Scheduler::new().unwrap();
    let task = scheduler.spawn(body);
    scheduler.run().unwrap();
    task.join().unwrap()
}
