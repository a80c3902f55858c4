//! Owns who listens for which signal, and what happens on it meanwhile.
//!
//! 1. `signal_hook` has the handler, and tells everybody who listens. It never takes the handler back, so a signal that nobody
//!    listens for any more would do nothing. Here the first who listens notes what happened on the signal before, and the last
//!    one restores it; unless somebody else has put another handler over ours, which then stays.
//! 2. The handler runs on the thread's alternate stack: the one that is interrupted may be a task's, and nearly used up.
//! 3. A handler sets the flag of each who listens before it rings its bell: who hears the bell finds the flag.

use super::number::Signal;
use crate::sys::signal::{c_int, Action};
use signal_hook::low_level::{pipe, unregister};
use signal_hook::{flag, SigId};
use std::collections::btree_map::{BTreeMap, Entry};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The handler tells somebody of a signal, until this is dropped.
pub(super) struct Listening {
    signal: Signal,
    told: Arc<AtomicBool>,
    registered: Option<Registered>,
}

impl Listening {
    /// From here on the signal makes `bell` readable at its other end.
    ///
    /// # Errors
    /// `InvalidInput` if no program can have a handler of it, or if there is no such signal; the process is out of descriptors.
    pub(super) fn start(signal: Signal, bell: &UnixStream) -> io::Result<Self> {
        if signal.is_forbidden() {
            let why = format!("nobody can listen for {signal}");
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        let told = Arc::default();
        let registered = Some(Registered::new(signal, &told, bell.try_clone()?)?);
        Ok(Listening {
            signal,
            told,
            registered,
        })
    }

    /// Nothing more is told; what was is still there.
    pub(super) fn stop(&mut self) {
        self.registered = None;
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// As the handler does.
    pub(super) fn tell(&self) {
        self.told.store(true, Ordering::SeqCst);
    }

    /// Whether the signal came since this was asked for the last time.
    pub(super) fn heard(&self) -> Option<Signal> {
        self.told
            .swap(false, Ordering::SeqCst)
            .then_some(self.signal)
    }
}

/// What the handler does for one who listens. The fields go in this order: what would come in between then is not swallowed.
struct Registered {
    _listener: Listener,
    _flag: Step,
    _bell: Step,
}

impl Registered {
    fn new(signal: Signal, told: &Arc<AtomicBool>, bell: UnixStream) -> io::Result<Self> {
        let number = signal.as_raw();
        let (listener, flag) =
            Listener::first_step(number, || flag::register(number, told.clone()))?;
        Ok(Registered {
            _listener: listener,
            _flag: flag,
            _bell: Step(pipe::register(number, bell)?),
        })
    }
}

/// Something that the handler does, until this is dropped.
struct Step(SigId);

impl Drop for Step {
    fn drop(&mut self) {
        unregister(self.0);
    }
}

// ---- what happens on a signal ----

/// Somebody who counts in [`TABLE`].
struct Listener(c_int);

struct Handled {
    listeners: usize,
    /// What happened on the signal before somebody listened.
    before: Action,
    /// What happens while somebody does.
    ours: Action,
}

/// Each signal that was ever listened for.
static TABLE: Mutex<BTreeMap<c_int, Handled>> = Mutex::new(BTreeMap::new());

fn table() -> MutexGuard<'static, BTreeMap<c_int, Handled>> {
    // A panic leaves it whole: nothing in between two changes of an entry panics.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// One more, whose first step `register` makes; the first step of all installs the handler.
    fn first_step(
        signal: c_int,
        register: impl FnOnce() -> io::Result<SigId>,
    ) -> io::Result<(Listener, Step)> {
        let mut table = table();
        let before = Action::of(signal)?;
        let step = Step(register()?);
        match table.entry(signal) {
            Entry::Vacant(vacant) => {
                let ours = Action::of(signal)?.on_alternate_stack();
                vacant.insert(Handled::start(signal, before, ours)?);
            }
            Entry::Occupied(mut handled) if handled.get().listeners == 0 => {
                let ours = handled.get().ours;
                handled.insert(Handled::start(signal, before, ours)?);
            }
            Entry::Occupied(mut handled) => handled.get_mut().listeners += 1,
        }
        Ok((Listener(signal), step))
    }
}

impl Handled {
    fn start(signal: c_int, before: Action, ours: Action) -> io::Result<Self> {
        // SAFETY: it is the handler that signal_hook has installed, and will not give up.
        unsafe { ours.install(signal) }?;
        Ok(Handled {
            listeners: 1,
            before,
            ours,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut table = table();
        let Some(handled) = table.get_mut(&self.0) else {
            return;
        };
        handled.listeners -= 1;
        let ours_is_in_force = |now: Action| now.has_handler_of(&handled.ours);
        if handled.listeners == 0 && Action::of(self.0).is_ok_and(ours_is_in_force) {
            // SAFETY: it was in force before, so whoever has put it there answers for it.
            let restored = unsafe { handled.before.install(self.0) };
            debug_assert!(restored.is_ok());
        }
    }
}
