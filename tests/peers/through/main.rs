//! Unmodified clients that hold no secret, through Claviger, against servers that nobody here wrote and that check the
//! key themselves. Each client in gateway and in forward mode; each refused when policy says no, with an error that the
//! client shows and a server that saw nothing.

mod curl;
mod git;
mod oauth2;
mod sdk;
mod stage;
