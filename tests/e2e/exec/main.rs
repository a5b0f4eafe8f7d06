//! `claviger exec`
