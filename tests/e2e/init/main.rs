//! `claviger init`
