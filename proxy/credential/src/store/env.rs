//! `secret://env/NAME`: variables of the proxy's own environment, read at load.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use claviger_contract::Secret;
use claviger_policy::document::{Diagnostics, Location, Table};

use super::bindings::Bindings;
use super::registry::{StoreEnv, Taken};
use super::{SecretStore, Stored, check_length};
use crate::digest::Digester;
use crate::error::StoreError;

#[derive(Debug)]
struct EnvStore {
    bindings: Option<Bindings>,
}

/// Takes `bindings`.
pub(super) fn take(table: Option<&mut Table>, _: &StoreEnv<'_>, out: &mut Diagnostics) -> Taken {
    let bindings = table.and_then(|table| Bindings::take(table, out));
    let digest = Digester::new("store env").fields("binding", bindings.iter().flat_map(Bindings::texts)).finish();
    Taken::new(EnvStore { bindings }, digest)
}

#[async_trait::async_trait]
impl SecretStore for EnvStore {
    fn resolve(&self, name: &str, _: &Location) -> Result<String, StoreError> {
        let shaped = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !shaped || name.starts_with(|c: char| c.is_ascii_digit()) {
            let why = "a variable has letters, digits and `_`, and begins with none of the digits";
            return Err(StoreError::Name { name: name.to_owned(), why });
        }
        Ok(name.to_owned())
    }

    fn read_now(&self, name: &str) -> Option<Result<Stored, StoreError>> {
        Some(read(name, std::env::var_os(name), self.bindings.as_ref()))
    }

    /// The environment of a running process does not change.
    fn revision(&self, _: &str) -> u64 {
        1
    }

    fn advice(&self, name: &str, _: &str) -> String {
        format!("set the environment variable `{name}` where the proxy is started")
    }
}

fn read(name: &str, found: Option<OsString>, bindings: Option<&Bindings>) -> Result<Stored, StoreError> {
    let value = Secret::new(found.ok_or_else(|| StoreError::NotFound(name.to_owned()))?.into_vec());
    check_length(name, value.len())?;
    let hosts = bindings.map(|bindings| bindings.hosts(name));
    Ok(Stored { value, hosts, version: None, previous: None, warning: None })
}
