//! What the switch between stacks owes to the processor, the unwinder and the kernel's signals, shown from outside.
//!
//! Each file is one subject:
//!
//! 1. `registers`: integer and vector registers that a call preserves; the floating-point control word, which is the thread's.
//! 2. `stacks`: the stack pointer is aligned where a task begins and in all that it calls.
//! 3. `backtraces`: frames and their unwind information lead from the task to whoever runs it, and end.
//! 4. `unwinding`: panics and destructors, also across a switch.
//! 5. `faults`: the guard of a stack, and that other faults are nobody's business here.
//! 6. `signals`: handlers run on the alternate stack.
//! 7. `thread_locals`: their addresses are stable for a task's life.
//!
//! What differs between processors is in files named after them, with equal signatures; a processor without one is shown the
//! door here. `arch-tests/run` runs all this on processors that the machine is not.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(target_arch = "riscv64")]
#[path = "riscv64.rs"]
mod arch;
#[cfg(target_arch = "x86")]
#[path = "x86.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

mod backtraces;
mod faults;
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
