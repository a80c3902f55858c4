//! The machine: tasks, their stacks, and the loop that runs them. Read from the bottom of this list upwards, or
//! from `worker` down.

pub(crate) mod deputy;

pub(crate) mod choice;

pub(crate) mod scheduler;

mod defiance;

pub(crate) mod park;

mod mates;
pub(crate) mod metrics;
mod orders;

pub(crate) mod worker;

pub(crate) mod crew;
mod share;

#[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
mod lookout;
pub(crate) mod reactor;
pub(crate) mod timer;

#[cfg_attr(not(feature = "futures-io"), allow(dead_code))]
mod post;

mod aside;
mod bias;
mod end;
pub(crate) mod group;
pub(crate) mod portrait;
pub(crate) mod waiter;
pub(crate) mod watchdog;

pub(crate) mod pledge;

pub(crate) mod header;
pub(crate) mod home;
pub(crate) mod job;
pub(crate) mod locals;
pub(crate) mod unwind;

pub(crate) mod fibers;
pub(crate) mod scope;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(multitask_portable)
))]
mod alarm;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(multitask_portable)
)))]
#[path = "alarm_off.rs"]
mod alarm;
pub(crate) mod clock;
#[cfg(multitask_faults)]
pub(crate) mod fault;
#[cfg(not(multitask_faults))]
#[path = "fault_off.rs"]
mod fault;
mod fiber;
mod overflow;
mod pace;
#[cfg_attr(not(feature = "testing"), path = "simulation_off.rs")]
pub(crate) mod simulation;
#[cfg_attr(not(feature = "tracing"), path = "span_off.rs")]
pub(crate) mod span;
pub(crate) mod stack;
mod tally;
pub(crate) mod trace;

#[cfg_attr(
    not(all(
        feature = "stall-backtrace",
        target_os = "linux",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(multitask_portable)
    )),
    path = "sample_off.rs"
)]
pub(crate) mod sample;
#[cfg(all(
    feature = "stall-backtrace",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(multitask_portable)
))]
mod walk;

#[cfg_attr(not(multitask_valgrind), path = "memcheck_off.rs")]
mod memcheck;
