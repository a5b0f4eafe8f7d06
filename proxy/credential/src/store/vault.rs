//! `secret://STORE/MOUNT/data/NAME` and `secret://STORE/MOUNT/NAME`: secrets of Vault's and OpenBao's KV engines, of
//! version 2 and 1. A value is the object that was written, as JSON; `#field` selects a member of it.
//!
//! They are read by mints only. A secret does not say that it has changed, so it is read again after `refresh`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use claviger_contract::Secret;
use claviger_policy::document::{Diagnostics, Location, Table};
use serde_json::value::RawValue;

use super::bindings::Bindings;
use super::registry::{StoreEnv, Stores, Taken};
use super::{SecretStore, Stored, check_length};
use crate::binding::BoundHost;
use crate::digest::{Digester, random_hex};
use crate::error::{SourceError, StoreError};
use crate::vault::answer::{self, Envelope};
use crate::vault::{Around, Call, Vault, settings};

const REFRESH: Duration = Duration::from_secs(300);
/// The shortest time between two readings of one secret.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// What is below these is no secret of a KV engine, but the server's own, the token above all.
const OWN: &[&str] = &["auth", "sys", "identity", "cubbyhole"];

#[derive(Debug)]
struct VaultStore {
    vault: Arc<Vault>,
    bindings: Option<Bindings>,
    refresh_ms: u64,
    /// Makes versions of values that have none (KV version 1): equal for equal values, and nothing is told by them.
    versions: hmac::Key,
    /// Spreads the readings of different names, and of replicas.
    started_at_ms: i64,
}

/// KV version 2: what stands around the object that was written.
#[derive(serde::Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(serde::Deserialize)]
struct Metadata {
    version: u64,
    destroyed: bool,
    #[serde(rename = "created_time")]
    _created: String,
}

/// Takes the keys of the server, `bindings` and `refresh`.
pub(super) fn take(table: &mut Table, stores: &Stores, env: &StoreEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let bindings = Bindings::take(table, out);
    let refresh = take_refresh(table, out);
    let digester = Digester::new("store vault")
        .fields("binding", bindings.iter().flat_map(Bindings::texts))
        .field("refresh", refresh.as_millis().to_be_bytes());
    let (vault, digester) = settings::take(table, stores, Around::of(env.env), digester, out)?;
    let (vault, started_at_ms) = (Arc::new(vault), env.env.clock.now_ms());
    let store = VaultStore {
        vault: vault.clone(),
        bindings,
        refresh_ms: u64::try_from(refresh.as_millis()).unwrap_or(u64::MAX),
        versions: hmac::Key::new(hmac::HMAC_SHA256, random_hex().as_bytes()),
        started_at_ms,
    };
    Some(Taken::of_server(store, vault, digester.finish()))
}

fn take_refresh(table: &mut Table, out: &mut Diagnostics) -> Duration {
    let key = table.key_of("refresh");
    let Some(written) = table.duration("refresh", out) else { return REFRESH };
    if written.value < REFRESH_MIN {
        out.error(&written.location, key, "secrets are read again after a second at the earliest");
        return REFRESH;
    }
    written.value
}

#[async_trait::async_trait]
impl SecretStore for VaultStore {
    fn resolve(&self, name: &str, _: &Location) -> Result<String, StoreError> {
        let wrong = |why| Err(StoreError::Name { name: name.to_owned(), why });
        let mut segments = name.split('/');
        match segments.next() {
            Some(first) if OWN.contains(&first) => {
                wrong("what stands there is the server's own, and no secret of a KV engine")
            }
            _ if name.starts_with('/') => wrong("write the mount first, without a leading `/`, as `kv/data/app`"),
            Some(_) if segments.next().is_some() => Ok(name.to_owned()),
            Some(_) | None => wrong("write a mount and a path, as `kv/data/app` (version 2) or `kv/app` (version 1)"),
        }
    }

    /// Only a mint asks the server.
    fn read_now(&self, _: &str) -> Option<Result<Stored, StoreError>> {
        None
    }

    async fn read(&self, name: &str) -> Result<Stored, StoreError> {
        let remote = |cause| StoreError::Remote(Box::new(cause));
        let (response, _) = self.vault.call(&Call::get(name)).await.map_err(remote)?;
        let endpoint = self.vault.endpoint(name);
        if answer::is_nothing(&response) {
            let asked_as_v1 = answer::parse(&endpoint, &response).is_ok_and(|envelope| envelope.is_wrong_kv_path());
            if asked_as_v1 {
                let why = "the engine is of version 2: write `data/` behind its mount, as `kv/data/app`";
                return Err(StoreError::Name { name: name.to_owned(), why });
            }
            return Err(StoreError::NotFound(name.to_owned()));
        }
        let envelope = answer::read(&endpoint, &response).map_err(remote)?;
        self.take_lease_back(&envelope).await;
        let (object, version) = self.object(name, &endpoint, &envelope)?;
        let value = Secret::new(object.as_bytes().to_vec());
        check_length(name, value.len())?;
        Ok(Stored { value, hosts: self.hosts(name), version: Some(version), previous: None, warning: None })
    }

    /// Moves on with time, and not at one moment for all names.
    fn revision(&self, name: &str) -> u64 {
        let now = u64::try_from(self.vault.now_ms()).unwrap_or(0);
        (now + self.phase(name)) / self.refresh_ms
    }

    fn hosts(&self, name: &str) -> Option<Vec<BoundHost>> {
        self.bindings.as_ref().map(|bindings| bindings.hosts(name))
    }

    fn advice(&self, name: &str, _: &str) -> String {
        format!("write it at the server, and let the policy of the login read `{name}`")
    }
}

impl VaultStore {
    fn phase(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.started_at_ms.hash(&mut hasher);
        hasher.finish() % self.refresh_ms
    }

    /// The object that was written, and its version.
    fn object<'a>(
        &self,
        name: &str,
        endpoint: &str,
        envelope: &Envelope<'a>,
    ) -> Result<(&'a str, Arc<str>), StoreError> {
        let unusable = |why| StoreError::Remote(Box::new(SourceError::Answer { endpoint: endpoint.to_owned(), why }));
        if envelope.lease().is_some() {
            return Err(unusable("it is no stored secret but one that was made now; use a credential of kind `vault`"));
        }
        let data = envelope.data.map(RawValue::get).filter(|data| data.starts_with('{'));
        let data = data.ok_or_else(|| unusable("there is no object in it"))?;
        // A path without `/data/` is one of version 1, whatever was written there.
        let versioned = match name.contains("/data/") {
            true => serde_json::from_str::<Versioned<'_>>(data).ok(),
            false => None,
        };
        let Some(versioned) = versioned else {
            let tag = hmac::sign(&self.versions, data.as_bytes());
            let version: String = tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Ok((data, version.into()));
        };
        match versioned.data.map(RawValue::get) {
            Some(object) if !versioned.metadata.destroyed && object.starts_with('{') => {
                Ok((object, versioned.metadata.version.to_string().into()))
            }
            // Deleted or destroyed; servers say so by a 404.
            Some(_) | None => Err(StoreError::NotFound(name.to_owned())),
        }
    }

    /// A dynamic path was asked by mistake: nobody will use what it made.
    async fn take_lease_back(&self, envelope: &Envelope<'_>) {
        let Some(lease) = envelope.lease() else { return };
        let Ok(body) = answer::body(&[("lease_id", lease.as_bytes())]) else { return };
        // If that fails, the lease ends by itself.
        let _ = self.vault.call(&Call::post("sys/leases/revoke", body)).await;
    }
}
