//! `kind = "static"`: a value that stands in a store, or several under names of their own.

use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::Secret;
use claviger_policy::document::{Diagnostics, Located, Table, Value};

use super::{Mint, Minted, Replaced, Source, SourceEnv, Taken};
use crate::TeamScope;
use crate::binding::{BoundHost, intersect};
use crate::digest::Digester;
use crate::error::{SourceError, StoreError};
use crate::lease::ONLY_FIELD;
use crate::reference::SecretReference;
use crate::store::{SecretHandle, Stored};

#[derive(Debug)]
struct StaticSource {
    fields: Vec<(Arc<str>, SecretHandle)>,
}

#[async_trait]
impl Source for StaticSource {
    async fn mint(&self, _: Mint<'_>) -> Result<Minted, SourceError> {
        let handles: Vec<&SecretHandle> = self.fields.iter().map(|(_, handle)| handle).collect();
        let read = SecretHandle::read_all(&handles).await?;
        Ok(join(self.fields.iter().map(|(name, _)| name.clone()).zip(read).collect()))
    }

    /// Reading once more yields the same; a value that was rotated is noticed by its revision.
    fn is_renewable(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        self.fields.iter().map(|(_, handle)| &handle.reference).collect()
    }

    fn revision(&self) -> u64 {
        join_revisions(self.fields.iter().map(|(_, handle)| handle.revision()))
    }
}

/// Rotated, so that two files that change places do not cancel each other out.
fn join_revisions(revisions: impl IntoIterator<Item = u64>) -> u64 {
    revisions.into_iter().fold(0, |all: u64, one| all.rotate_left(1) ^ one)
}

/// One value for the lease: it may go where all of its fields may.
fn join(read: Vec<(Arc<str>, Stored)>) -> Minted {
    let version = join_versions(read.iter().map(|(_, stored)| stored.version.as_deref()));
    let hosts = read.iter().filter_map(|(_, stored)| stored.hosts.clone()).reduce(|a, b| intersect(&a, &b));
    let previous = replaced(&read);
    let fields = read.into_iter().map(|(name, stored)| (name, stored.value)).collect();
    Minted { fields, expires_at_ms: None, hosts, version, previous, issued: None }
}

fn join_versions<'a>(versions: impl Iterator<Item = Option<&'a str>>) -> Option<Arc<str>> {
    versions.collect::<Option<Vec<_>>>().map(|versions| versions.join(".").into())
}

/// The fields as they were before the rotations that are open; those that are not rotated stay as they are.
fn replaced(read: &[(Arc<str>, Stored)]) -> Option<Replaced> {
    let open = || read.iter().filter_map(|(_, stored)| stored.previous.as_ref());
    let since = open().map(|previous| previous.since).max()?;
    let fields = read.iter().map(|(name, stored)| {
        let value = stored.previous.as_ref().map_or(&stored.value, |previous| &previous.value);
        #[allow(
            clippy::disallowed_methods,
            reason = "a second lease holds the value too, and is wiped as the first is"
        )]
        let value = Secret::new(value.expose().to_vec());
        (name.clone(), value)
    });
    let version = |stored: &'_ Stored| stored.previous.as_ref().map(|previous| previous.version.clone());
    let versions: Vec<_> = read.iter().map(|(_, stored)| version(stored).or_else(|| stored.version.clone())).collect();
    Some(Replaced {
        fields: fields.collect(),
        version: join_versions(versions.iter().map(Option::as_deref)),
        since,
        proven: open().all(|previous| previous.proven),
    })
}

/// Takes `value`: a reference, or a table of named ones.
pub(super) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let key = table.key_of("value");
    if !table.has("value") {
        table.missing("value", out);
    }
    let item = table.take("value")?;
    let written: Vec<(Arc<str>, Located<String>)> = match item.value {
        Value::String(value) => vec![(ONLY_FIELD.into(), Located { value, location: item.location })],
        Value::Table(fields) => {
            let place = fields.location().clone();
            let fields: Vec<_> = fields.into_entries();
            if fields.is_empty() {
                out.error(&place, key, "the table names no field").help("write `value = { NAME = \"secret://…\" }`");
                return None;
            }
            let one = |(name, item): (Located<String>, claviger_policy::document::Item)| {
                item.into_string(out).map(|text| (name.value.into(), text))
            };
            fields.into_iter().map(one).collect::<Option<_>>()?
        }
        _ => {
            out.error(&item.location, key, "expected a reference or a table of references")
                .help("write `value = \"secret://STORE/NAME\"`");
            return None;
        }
    };
    make(written, &key, "--for SERVICE", env, out)
}

/// `[service.NAME] secret = "secret://…"`.
pub(crate) fn take_shorthand(
    service: &str,
    reference: Located<String>,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<Taken> {
    make(
        vec![(ONLY_FIELD.into(), reference)],
        &format!("service.{service}.secret"),
        &format!("--for {service}"),
        env,
        out,
    )
}

fn make(
    written: Vec<(Arc<str>, Located<String>)>,
    key: &str,
    bind: &str,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<Taken> {
    let named = written.len() > 1 || written.iter().any(|(name, _)| &**name != ONLY_FIELD);
    let mut digester = Digester::new("source static");
    let (mut fields, mut read, mut revisions, mut bound) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut complete = true;
    for (name, text) in &written {
        let key = if named { format!("{key}.{name}") } else { key.to_owned() };
        let Some(handle) = env.stores.find(text, &key, out) else {
            complete = false;
            continue;
        };
        digester = digester.field(name, env.stores.digest_of(&handle));
        revisions.push(handle.revision());
        match handle.read_now() {
            Some(Ok(stored)) => {
                warn(&stored, text, &key, out);
                bound = narrow(bound, stored.hosts.as_deref(), text);
                read.push((name.clone(), stored));
            }
            Some(Err(error)) => complete &= unreadable(&error, &handle, text, &key, bind, env, out),
            None => bound = narrow(bound, handle.hosts().as_deref(), text),
        }
        fields.push((name.clone(), handle));
    }
    let seed = (read.len() == fields.len()).then(|| (join(read), join_revisions(revisions)));
    let names = fields.iter().map(|(name, _)| name.clone()).collect();
    let source = Arc::new(StaticSource { fields });
    complete.then(|| Taken { source, digest: digester.finish(), fields: names, bound, seed })
}

pub(super) type Bound = Option<(Vec<BoundHost>, Located<String>)>;

pub(super) fn narrow(bound: Bound, hosts: Option<&[BoundHost]>, text: &Located<String>) -> Bound {
    match (bound, hosts) {
        (Some((hosts, text)), Some(more)) => Some((intersect(&hosts, more), text)),
        (None, Some(hosts)) => Some((hosts.to_vec(), text.clone())),
        (bound, None) => bound,
    }
}

/// What a store has to say about a value that it yielded.
pub(crate) fn warn(stored: &Stored, text: &Located<String>, key: &str, out: &mut Diagnostics) {
    if let Some(warning) = &stored.warning {
        out.warning(&text.location, key, warning.clone()).help("run `chmod o-r` on it, or seal the value instead");
    }
}

/// A secret that cannot be read at load, with the command that mends it; `true`: it is no error.
pub(super) fn unreadable(
    error: &SourceError,
    handle: &SecretHandle,
    text: &Located<String>,
    key: &str,
    bind: &str,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> bool {
    let is_settled = TeamScope::is_settled(&text.location, &env.env.teams);
    let diagnostic = if is_settled {
        out.warning(&text.location, key, error.to_string())
    } else {
        out.error(&text.location, key, error.to_string())
    };
    if matches!(error, SourceError::Store { cause: StoreError::NotFound(_), .. }) {
        diagnostic.help(handle.advice(bind));
    }
    is_settled
}
