//! Python: a `sitecustomize` that is found first (`python/sitecustomize.py` says what it does).
//!
//! Not covered: `python -S`, `-E` and `-I`, which ask for exactly that.

use std::io;

use super::{Endpoint, Environment, Inherited};

const BOOTSTRAP: &str = include_str!("python/sitecustomize.py");

/// Writes the module, and puts its folder before what the user has in `PYTHONPATH`.
pub(super) fn bootstrap(endpoint: &Endpoint, inherited: Inherited<'_>, made: &mut Environment) -> io::Result<()> {
    let file = endpoint.write("python/sitecustomize.py", BOOTSTRAP)?;
    let Some(folder) = file.parent() else { return Ok(()) };
    let mut path = folder.as_os_str().to_owned();
    if let Some(own) = inherited("PYTHONPATH").filter(|value| !value.is_empty()) {
        path.push(":");
        path.push(own);
    }
    made.set("PYTHONPATH", path);
    Ok(())
}
