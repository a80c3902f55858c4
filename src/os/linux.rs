//! What Linux has, as [`std::os::linux`].

/// [`std::os::linux::fs`], which has nothing that waits.
pub use std::os::linux::fs;
