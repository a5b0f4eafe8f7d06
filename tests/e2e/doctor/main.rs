//! `claviger doctor` and `claviger trust`.
