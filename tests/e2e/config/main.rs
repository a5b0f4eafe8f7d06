//! The configuration over the real binary: what loads, what does not and what is said then, and the commands that
//! read it.

mod design;
mod example;
mod keys;
mod prepared;
mod wrong;
