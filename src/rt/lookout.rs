//! The lookout: a thread that polls for futures which no worker polls for.
//!
//! A future may be polled by anybody, on any thread, and its waker lead anywhere. Only if that is a task of the worker which polls
//! it does the worker's reactor do. For all others there is one more reactor, and a thread, made when first needed, that does nothing but poll
//! it and wake.

use super::post::Post;
use super::reactor::{Interest, Patience, Port, Reactor, Registrar};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::{io, thread};

/// [`Port::call`], by the lookout.
///
/// # Errors
/// Those of `Port::call`; the lookout cannot be made.
pub(super) fn call(
    port: &Port,
    fd: BorrowedFd<'_>,
    awaited: (Interest, u32),
    waker: Waker,
) -> io::Result<bool> {
    let registrar = registrar()?;
    port.call(fd, awaited, waker, (registrar, Some(Post::new())))
}

fn registrar() -> io::Result<&'static Arc<Registrar>> {
    static REGISTRAR: OnceLock<Arc<Registrar>> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());

    if let Some(registrar) = REGISTRAR.get() {
        return Ok(registrar);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match REGISTRAR.get() {
        Some(registrar) => Ok(registrar),
        None => start().map(|registrar| REGISTRAR.get_or_init(|| registrar)),
    }
}

fn start() -> io::Result<Arc<Registrar>> {
    let reactor = Reactor::new()?;
    let registrar = reactor.registrar().clone();
    let thread = thread::Builder::new().name("multitask-lookout".into());
    let looks_out = move || {
        Post::look_out();
        loop {
            reactor.poll(Patience::Forever);
        }
    };
    thread.spawn(looks_out).map(|_detached| registrar)
}

impl Port {
    /// Has `waker` woken by the next event of that direction, in place of the one before; false if there was one after `tick` was
    /// read. `by` is the reactor of the worker that polls until then; without one the lookout does.
    ///
    /// # Errors
    /// Those of `register`; the lookout cannot be made.
    pub(crate) fn wake_by(
        &self,
        fd: BorrowedFd<'_>,
        awaited: (Interest, u32),
        waker: Waker,
        by: Option<&Reactor>,
    ) -> io::Result<bool> {
        match by {
            Some(reactor) => self.call(fd, awaited, waker, (reactor.registrar(), None)),
            None => call(self, fd, awaited, waker),
        }
    }
}
