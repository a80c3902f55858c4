//! The operating system: the only place that names `libc` and `socket2`.
//!
//! 1. One function is one call, or the few calls that make one (get the flags, set the flags). None retries: `EINTR`
//!    comes out as [`io::ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted), and the caller, who knows its
//!    deadline, asks again.
//! 2. A failed call is an [`io::Error`](std::io::Error) with the number the system gave.
//! 3. What the types can keep is safe (`BorrowedFd`, `OwnedFd`); the rest is `unsafe fn` and says what the caller
//!    must keep.
//! 4. Nothing here knows a task, a stack or a deadline, and nothing keeps state but constants of the system.
//! 5. What Linux alone has is a pair of whole files with equal signatures, the module `beyond`: `linux.rs`, and `portable.rs`
//!    for all other systems. `--cfg multitask_portable` takes the second on Linux as well, so that tests can run it.

#[cfg(not(unix))]
compile_error!(
    "multitask needs a Unix system: descriptors that can be polled, `mmap`, `sigaction`"
);

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(multitask_portable)
))]
#[path = "linux.rs"]
pub(crate) mod beyond;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(multitask_portable)
)))]
#[path = "portable.rs"]
pub(crate) mod beyond;
pub(crate) mod clock;
#[cfg(all(
    feature = "stall-backtrace",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(multitask_portable)
))]
pub(crate) mod context;
pub(crate) mod fd;
pub(crate) mod file;
pub(crate) mod mem;
#[cfg(all(
    feature = "stall-backtrace",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(multitask_portable)
))]
pub(crate) mod objects;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod thread;
mod transfer;
