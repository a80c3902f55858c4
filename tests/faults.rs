//! Everything is interrupted everywhere: a scenario is played again and again, and each time one thing goes wrong, at the first
//! place where it can, at the second, and so on until there is none left.
//!
//! What goes wrong is ordered at a suspension (`multitask::faults`: a task is cancelled, its time is up, it panics) or at a call
//! of the system (`calls`: no descriptor, no memory, no thread, a signal, a short read or write, a connection that breaks).
//! Afterwards nothing may be stuck, lost or kept: the scenario keeps books, and the process has to have what it had before, in
//! descriptors, children, headers, waiting-rooms, stacks, mappings and memory. And what went wrong concerns one part of the scenario
//! at most; none, if it was something that a program need not notice.
//!
//! It goes to every place with one worker, to some of each kind with four, and to those of want in a new process each, where it is the
//! first time. `MULTITASK_FAULTS=all` goes to every place with four workers as well, and in a larger scenario.
//! `MULTITASK_FAULT=cancel:17` goes to that one alone. It needs `--cfg multitask_faults`, and is empty without.

#[cfg(multitask_faults)]
#[path = "faults/calls.rs"]
mod calls;
#[cfg(multitask_faults)]
mod common;
#[cfg(multitask_faults)]
#[path = "faults/footprint.rs"]
mod footprint;
#[cfg(multitask_faults)]
#[path = "faults/harness.rs"]
mod harness;
#[cfg(multitask_faults)]
#[path = "faults/meetings.rs"]
mod meetings;
#[cfg(multitask_faults)]
#[path = "faults/scenario.rs"]
mod scenario;
#[cfg(multitask_faults)]
#[path = "faults/sockets.rs"]
mod sockets;

fn main() {
    #[cfg(multitask_faults)]
    harness::main();
}
