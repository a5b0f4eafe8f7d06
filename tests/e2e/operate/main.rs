//! What an operator does to a running process: suspend, resume, reload, look; through which door, and who may.

mod doors;
mod fleet;
mod lifetime;
mod live;
mod remote;
mod scene;
mod scheduling;
mod state;
mod suspend;
#[allow(dead_code, reason = "shared with the tests of hard conditions, which use all of it")]
#[path = "../hard/wire.rs"]
mod wire;
