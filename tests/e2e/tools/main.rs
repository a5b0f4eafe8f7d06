//! What helps with a configuration: trust of a project's file, `config show`, `schema`, `fmt`.

mod fmt;
#[allow(dead_code, reason = "the other target uses the rest")]
#[path = "../config/keys.rs"]
mod keys;
#[allow(dead_code, reason = "the other target uses the rest")]
#[path = "../config/prepared.rs"]
mod prepared;
mod presets;
mod project;
mod schema;
mod show;
mod trust;
