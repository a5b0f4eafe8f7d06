//! `claviger exec`: a command without secrets, behind a proxy of its own.

mod basics;
mod clients;
mod denials;
mod detached;
mod ends;
mod identity;
mod shell;
mod signals;
mod speed;
mod stage;
