//! `claviger doctor` and `claviger trust`.

mod clients;
mod command;
mod faults;
mod healthy;
mod page;
mod stage;
mod trust;
