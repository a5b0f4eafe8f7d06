//! What stands in `deploy/`: each piece by the tool that its users would judge it with, and over the real binary.
//!
//! `tests/run --install-only` installs the tools; `tests/run` makes the static binary that is used here.

mod chart;
mod ci;
mod container;
mod health;
mod inject;
mod kubernetes;
mod monitoring;
mod pod;
mod release;
mod systemd;
mod tools;
