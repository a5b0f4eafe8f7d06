//! A key is rotated, and configurations are replaced, while requests run at a rate that does not wait for the answers.

mod cli;
mod keyring;
mod load;
mod reload;
mod rotation;
