//! A counter of the processor that runs while nothing else does, where the system trusts it with the time.

/// Steps of the counter, of which a second has more than [`LEAST`]. Of different threads it is the same. `None`: there is none, or
/// nobody has called [`prepare`].
#[inline]
pub(crate) fn counter() -> Option<u64> {
    imp::counter()
}

/// Steps in a second, at the least.
pub(crate) const LEAST: u64 = 500_000_000;

/// Finds out whether there is one.
pub(crate) fn prepare() {
    imp::prepare();
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(multitask_portable)))]
mod imp {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::Once;

    /// What the system makes its own clock of. If it is the processor's counter, then that neither stops nor differs from
    /// processor to processor: Linux has watched it.
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    static TRUSTED: AtomicBool = AtomicBool::new(false);

    #[inline]
    pub(super) fn counter() -> Option<u64> {
        // SAFETY: each of these processors has the instruction, and where it is forbidden (`PR_SET_TSC`) the clock of the
        // system, which is made of it, cannot be read either.
        TRUSTED
            .load(Relaxed)
            .then(|| unsafe { core::arch::x86_64::_rdtsc() })
    }

    pub(super) fn prepare() {
        static PREPARED: Once = Once::new();

        PREPARED.call_once(|| {
            let source = fs::read_to_string(SOURCE);
            TRUSTED.store(source.is_ok_and(|source| source.trim() == "tsc"), Relaxed);
        });
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(multitask_portable))))]
mod imp {
    #[inline]
    pub(super) fn counter() -> Option<u64> {
        None
    }

    pub(super) fn prepare() {}
}
