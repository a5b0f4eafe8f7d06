//! `claviger doctor` and `claviger trust`.

mod clients;
mod faults;
mod healthy;
mod page;
mod stage;
mod trust;
