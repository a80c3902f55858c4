//! Data structures that know no task and no operating system. Each file compiles alone.

pub(crate) mod inbox;
#[allow(unsafe_code)]
pub(crate) mod list;
#[allow(unsafe_code)]
pub(crate) mod lock;
pub(crate) mod ring;
pub(crate) mod slab;
pub(crate) mod wheel;
