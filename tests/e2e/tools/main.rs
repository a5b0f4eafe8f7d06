//! What helps with a configuration: trust of a project's file, `config show`, `schema`, `fmt`.

mod fmt;
#[path = "../config/keys.rs"]
mod keys;
#[path = "../config/prepared.rs"]
mod prepared;
mod project;
mod schema;
mod show;
mod trust;
