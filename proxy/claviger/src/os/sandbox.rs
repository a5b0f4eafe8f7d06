//! What the kernel offers to keep a process away from files, networks and other processes.
//!
//! These are the single steps; `command/exec/sandbox/` says in which order a session takes them, and why. All of it is
//! asked for by one process of one thread about itself, shortly before it becomes another program.

mod calls;
mod channel;
mod cover;
mod inherited;
mod namespace;
mod network;
mod restrict;

pub(crate) use calls::{Call, next_call, watch_calls};
pub(crate) use channel::Channel;
pub(crate) use cover::{Cover, Covers};
pub(crate) use inherited::{adopt, leave_the_outside};
pub(crate) use namespace::{drop_powers, enter, ids, join, map_as_parent, map_self};
pub(crate) use network::bring_up;
pub(crate) use restrict::{FileRules, landlock_abi, leave_keyring, refuse_calls, restrict};
