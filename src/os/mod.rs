//! What only some systems have, as [`std::os`].

#[cfg(target_os = "linux")]
pub mod linux;
pub mod unix;
