//! `claviger init` over the real binary: what it finds, what it asks, what it writes, and what it never shows.

mod consent;
mod find;
mod project;
mod scrub;
mod terminal;
mod write;
