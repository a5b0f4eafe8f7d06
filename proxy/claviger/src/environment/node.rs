//! Node: a module that is loaded before the program (`node/bootstrap.cjs` says what it does).

use std::ffi::OsString;
use std::io;

use super::{Endpoint, Environment, Inherited};

const BOOTSTRAP: &str = include_str!("node/bootstrap.cjs");

/// Writes the module, and names it in `NODE_OPTIONS` after what the user has there.
pub(super) fn bootstrap(endpoint: &Endpoint, inherited: Inherited<'_>, made: &mut Environment) -> io::Result<()> {
    let file = endpoint.write("node/bootstrap.cjs", BOOTSTRAP)?;
    let mut options = inherited("NODE_OPTIONS").filter(|value| !value.is_empty()).unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    options.push(quoted(&file.display().to_string()));
    made.set("NODE_OPTIONS", options);
    Ok(())
}

/// `--require` rather than `--import`: it is there in every version that is in use, runs at once, and in workers too.
fn quoted(path: &str) -> OsString {
    format!("--require \"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")).into()
}
