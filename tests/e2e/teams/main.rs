//! Delegation: what the files of a team may say and nothing beyond, and what happens when they are wrong.

mod bad_files;
mod beyond;
mod check;
mod freeze;
mod include;
mod meaning;
mod stage;
