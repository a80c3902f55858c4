//! Data structures that know no task and no operating system. Each file compiles alone, but for `shared`.

#[allow(unsafe_code)]
pub(crate) mod barrier;
#[cfg_attr(all(test, loom), allow(unsafe_code))]
pub(crate) mod claims;
pub(crate) mod inbox;
#[allow(unsafe_code)]
pub(crate) mod list;
#[cfg_attr(all(test, loom), path = "lock_loom.rs")]
#[allow(unsafe_code)]
pub(crate) mod lock;
#[allow(unsafe_code)]
pub(crate) mod ring;
#[cfg(feature = "testing")]
pub(crate) mod rng;
#[cfg_attr(all(test, loom), path = "shared_loom.rs", allow(unsafe_code))]
pub(crate) mod shared;
pub(crate) mod slab;
pub(crate) mod wheel;
