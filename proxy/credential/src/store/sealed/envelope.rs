//! What is inside of a sealed file.
//!
//! ```text
//! claviger-sealed/1\n
//! {"name":…,"hosts":[…],"owner":…,"version":…,"created":…,"proven":…,"length":…,
//!  "previous":{"version":…,"created":…,"length":…},"grant":{…}}\n
//! <the value><the previous value>
//! ```
//!
//! Values stand outside of the JSON, so that no parser makes copies of them. age authenticates the
//! whole: a change of any byte is noticed.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use age::x25519::Identity;
use claviger_contract::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FormerVersion, GrantNote, SealedEntry};
use crate::binding::BoundHost;
use crate::error::StoreError;

const MAGIC: &[u8] = b"claviger-sealed/1\n";

/// What is sealed with a value.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) hosts: Vec<BoundHost>,
    pub(super) owner: Option<String>,
    pub(super) version: Arc<str>,
    pub(super) created: i64,
    /// A probe showed that upstream takes the value.
    pub(super) proven: bool,
    /// The value is what a login was granted.
    pub(super) grant: Option<GrantNote>,
}

/// The value before the rotation that is open.
#[derive(Debug)]
pub(super) struct Previous {
    pub(super) version: Arc<str>,
    /// Not known of files that an older Claviger wrote.
    pub(super) created: Option<i64>,
    pub(super) value: Secret,
}

/// A sealed file, open.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) metadata: Metadata,
    pub(super) value: Secret,
    pub(super) previous: Option<Previous>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    version: String,
    created: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    proven: bool,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<WrittenPrevious>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<GrantNote>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrevious {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    length: usize,
}

impl Envelope {
    pub(super) fn entry(&self) -> SealedEntry {
        let Metadata { name, hosts, owner, version, created, proven, grant } = &self.metadata;
        SealedEntry {
            name: name.clone(),
            hosts: hosts.clone(),
            owner: owner.clone(),
            version: version.clone(),
            created: *created,
            proven: *proven,
            previous: self
                .previous
                .as_ref()
                .map(|previous| FormerVersion { version: previous.version.clone(), created: previous.created }),
            grant: grant.clone(),
        }
    }

    /// Encrypts to the identity's recipient.
    pub(super) fn seal(&self, identity: &Identity) -> io::Result<Vec<u8>> {
        let recipient = identity.to_public();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .map_err(io::Error::other)?;
        let mut sealed = Vec::new();
        let mut writer = encryptor.wrap_output(&mut sealed)?;
        writer.write_all(MAGIC)?;
        writer.write_all(&serde_json::to_vec(&self.written())?)?;
        writer.write_all(b"\n")?;
        let values = std::iter::once(&self.value).chain(self.previous.iter().map(|previous| &previous.value));
        for value in values {
            #[allow(clippy::disallowed_methods, reason = "encrypts the value")]
            writer.write_all(value.expose())?;
        }
        writer.finish()?;
        Ok(sealed)
    }

    fn written(&self) -> Written {
        let Metadata { name, hosts, owner, version, created, proven, grant } = &self.metadata;
        let previous = self.previous.as_ref().map(|previous| WrittenPrevious {
            version: previous.version.to_string(),
            created: previous.created,
            length: previous.value.len(),
        });
        Written {
            name: name.clone(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            owner: owner.clone(),
            version: version.to_string(),
            created: *created,
            proven: *proven,
            length: self.value.len(),
            previous,
            grant: grant.clone(),
        }
    }

    /// Decrypts; `path` is named in errors.
    pub(super) fn unseal(sealed: &[u8], identity: &Identity, path: &Path) -> Result<Self, StoreError> {
        let tampered = || StoreError::Tampered(path.to_owned());
        let decryptor = age::Decryptor::new(sealed).map_err(|_| tampered())?;
        let mut reader = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(|error| {
            match error {
                age::DecryptError::NoMatchingKeys => StoreError::OtherKey(path.to_owned()),
                // A changed header or body; which of them is of no use to an operator.
                _ => tampered(),
            }
        })?;
        // The plaintext is shorter than the ciphertext: the buffer never grows and leaves no copy behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|_| tampered())?;
        Self::parse(&plain).ok_or_else(tampered)
    }

    pub(super) fn parse(plain: &[u8]) -> Option<Self> {
        let rest = plain.strip_prefix(MAGIC)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (json, values) = rest.split_at_checked(end + 1)?;
        let written: Written = serde_json::from_slice(json).ok()?;
        let hosts = written.hosts.iter().map(|host| BoundHost::parse(host).ok()).collect::<Option<_>>()?;
        let (value, rest) = values.split_at_checked(written.length)?;
        let previous = match written.previous {
            Some(previous) if previous.length == rest.len() => Some(Previous {
                version: previous.version.into(),
                created: previous.created,
                value: Secret::new(rest.to_vec()),
            }),
            None if rest.is_empty() => None,
            Some(_) | None => return None,
        };
        let metadata = Metadata {
            name: written.name,
            hosts,
            owner: written.owner,
            version: written.version.into(),
            created: written.created,
            proven: written.proven,
            grant: written.grant,
        };
        Some(Self { metadata, value: Secret::new(value.to_vec()), previous })
    }
}
