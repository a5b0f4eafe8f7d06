//! `auth`, and the keys that belong to it.

use claviger_policy::document::{Diagnostics, Located, Table};

use super::{ClientAuth, check_binding};
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::source::SourceEnv;
use crate::source::oauth2::endpoint::Endpoint;
use crate::source::static_value::{unreadable, warn};
use crate::store::SecretHandle;

#[derive(Clone, Copy)]
enum Method {
    None,
    Basic,
    Post,
}

/// Takes `auth` and `client_secret`. `optional`: the grant may do without a client.
pub(in crate::source::oauth2) fn take(
    table: &mut Table,
    optional: bool,
    digester: Digester,
    endpoint: Option<&Endpoint>,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<(ClientAuth, Digester)> {
    let methods =
        [("client_secret_basic", Method::Basic), ("client_secret_post", Method::Post), ("none", Method::None)];
    let is_written = table.has("auth");
    let method = match table.choice("auth", &methods, out) {
        Some(method) => method.value,
        None if is_written => return None,
        None if optional && !table.has("client_secret") => Method::None,
        None => Method::Basic,
    };
    let make = match method {
        Method::None => return Some((ClientAuth::None, digester.field("auth", "none"))),
        Method::Basic => ClientAuth::Basic,
        Method::Post => ClientAuth::Post,
    };
    let text = table.required_string("client_secret", out)?;
    let key = table.key_of("client_secret");
    let handle = env.stores.find(&text, &key, out)?;
    check_secret(&handle, &text, &key, endpoint?, env, out)?;
    let digester = digester.field("client_secret", env.stores.digest_of(&handle));
    let auth = make(handle);
    let digester = digester.field("auth", auth.name());
    Some((auth, digester))
}

/// At load: the secret is there, and may go to the endpoint. The same is checked before each mint.
pub(in crate::source::oauth2) fn check_secret(
    handle: &SecretHandle,
    text: &Located<String>,
    key: &str,
    endpoint: &Endpoint,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<()> {
    let Some(read) = handle.read_now() else { return Some(()) };
    let host = BoundHost::of_target(&endpoint.target);
    match read {
        Ok(stored) => {
            warn(&stored, text, key, out);
            let checked = check_binding(handle, &stored, &endpoint.target);
            let name = handle.reference.name();
            checked
                .map_err(|error| {
                    let help = format!(
                        "bind it there: `claviger secret set {name} --host {host}`, or `bindings` of a store that has them"
                    );
                    out.error(&text.location, key, error.to_string()).help(help);
                })
                .ok()
        }
        Err(error) => unreadable(&error, handle, text, key, &format!("--host {host}"), env, out).then_some(()),
    }
}
