//! The configuration over the real binary: what loads, what does not and what is said then, and the commands that
//! read it.

mod codes;
mod commands;
mod design;
mod example;
mod keys;
mod ledger_command;
mod mutations;
mod prepared;
mod reload;
mod secrets;
mod wrong;
