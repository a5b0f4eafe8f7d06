//! What a child of `claviger exec` cannot reach, and what is said where it can.

#[cfg(target_os = "linux")]
mod bypass;
#[cfg(target_os = "linux")]
mod fallback;
#[cfg(target_os = "linux")]
mod ports;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(target_os = "linux")]
mod ways_out;
