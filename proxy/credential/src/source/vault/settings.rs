//! `[credential.NAME] kind = "vault"`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use claviger_policy::document::{Diagnostics, Item, Located, Table, Value};
use http::Method;

use super::VaultSource;
use crate::digest::Digester;
use crate::lease::ONLY_FIELD;
use crate::source::caller::Needs;
use crate::source::{SourceEnv, Taken};
use crate::vault::Vault;
use crate::vault::settings::is_path;

/// For values of which the answer does not say how long they last.
const LIFETIME: Duration = Duration::from_secs(300);

/// Takes `store`, `path`, `method`, `parameters`, `fields`, `lifetime` and `per`.
pub(in crate::source) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let vault = take_store(table, env, out);
    let path = take_path(table, out);
    let bound = vault.as_ref().zip(path.as_ref()).and_then(|((name, ..), path)| env.stores.bound(name, &path.value));
    let parameters = take_parameters(table, out);
    let posts = table.choice("method", &[("GET", false), ("POST", true)], out);
    let fields = take_fields(table, out);
    let lifetime = table.duration("lifetime", out).map_or(LIFETIME, |at| at.value);
    let per = table.choice("per", &[("everyone", Needs::Nothing), ("caller", Needs::Principal)], out);
    let (Some((_, vault, digest)), Some(path), Some(parameters), Some(fields)) = (vault, path, parameters, fields)
    else {
        return None;
    };
    // What the store says of the path, whoever reads it: the configuration can narrow that only.
    let hosts = bound.clone();
    let bound = bound.map(|hosts| (hosts, path.clone()));
    let path = path.value;
    let needs = per.as_ref().map_or(Needs::Nothing, |per| per.value);
    if let Some(per) = &per
        && needs == Needs::Principal
        && !vault.knows_callers()
    {
        out.error(&per.location, table.key_of("per"), "the store's login shows nothing of the caller").help(
            "write `auth = { jwt = { token = \"issuer\", … } }` in the store: the token is then minted for each caller",
        );
        return None;
    }
    let posts = posts.map_or(!parameters.is_empty(), |posts| posts.value);
    let method = if posts { Method::POST } else { Method::GET };
    let (query, body) = match posts {
        false => (parameters.into_iter().map(|(name, value)| (name, plain(&value))).collect(), None),
        true => {
            let object: serde_json::Map<String, serde_json::Value> = parameters.into_iter().collect();
            (Vec::new(), Some(serde_json::Value::Object(object).to_string()))
        }
    };
    let digest = Digester::new("source vault")
        .field("store", digest)
        .field("path", &path)
        .field("method", method.as_str())
        .fields("query", query.iter().map(|(name, value)| format!("{name}\0{value}")))
        .field("body", body.as_deref().unwrap_or_default())
        .fields("field", fields.iter().map(|(name, member)| format!("{name}\0{member}")))
        .field("lifetime", lifetime.as_millis().to_be_bytes())
        .field("per", if needs == Needs::Principal { "caller" } else { "everyone" })
        .finish();
    let names = fields.iter().map(|(name, _)| name.clone()).collect();
    let source = Arc::new(VaultSource {
        vault,
        path,
        hosts,
        method,
        query,
        body,
        fields,
        lifetime,
        needs,
        is_stored: AtomicBool::default(),
    });
    Some(Taken { source, digest, fields: names, bound, seed: None })
}

fn take_store(
    table: &mut Table,
    env: &SourceEnv<'_>,
    out: &mut Diagnostics,
) -> Option<(String, Arc<Vault>, crate::digest::Digest)> {
    let key = table.key_of("store");
    let name = table.required_string("store", out)?;
    match env.stores.vault(&name.value) {
        Ok((vault, digest)) => Some((name.value, vault, digest)),
        Err(said) => {
            if let Some(message) = said {
                out.error(&name.location, key, message).help("name a `[store.NAME]` with `kind = \"vault\"`");
            }
            None
        }
    }
}

fn take_path(table: &mut Table, out: &mut Diagnostics) -> Option<Located<String>> {
    let key = table.key_of("path");
    let path = table.required_string("path", out)?;
    let problem = match path.value.split('/').next() {
        _ if !is_path(&path.value) => "is not a path below `/v1/`",
        // Where tokens are made, and the server is run.
        Some("auth" | "sys" | "cubbyhole") => "is the server's own",
        _ => return Some(path),
    };
    out.error(&path.location, key, format!("`{}` {problem}", path.value))
        .help("write the mount and what it makes, as `database/creds/app`");
    None
}

/// `fields`: the member that is the value, or a table of named fields and their members.
fn take_fields(table: &mut Table, out: &mut Diagnostics) -> Option<Vec<(Arc<str>, String)>> {
    if !table.has("fields") {
        table
            .missing("fields", out)
            .help("write `fields = { user = \"username\", password = \"password\" }`, or the one member");
    }
    let Item { value, location, key } = table.take("fields")?;
    let fields = match value {
        Value::String(member) => vec![(ONLY_FIELD.into(), Located { value: member, location: location.clone() })],
        Value::Table(fields) => {
            let named = fields.into_entries().into_iter();
            named.map(|(name, item)| Some((name.value.into(), item.into_string(out)?))).collect::<Option<Vec<_>>>()?
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => Vec::new(),
    };
    if fields.is_empty() {
        out.error(&location, key, "expected the name of a member, or a table of fields and members")
            .help("write `fields = { user = \"username\", password = \"password\" }`");
        return None;
    }
    if let Some((_, member)) = fields.iter().find(|(_, member)| member.value.is_empty()) {
        out.error(&member.location, key, "the name of a member is empty");
        return None;
    }
    Some(fields.into_iter().map(|(name, member)| (name, member.value)).collect())
}

/// What is asked of the engine: texts, numbers, booleans and lists of texts.
fn take_parameters(table: &mut Table, out: &mut Diagnostics) -> Option<Vec<(String, serde_json::Value)>> {
    let entries = table.table("parameters", out).map(Table::into_entries).unwrap_or_default();
    let one = |(name, item): (Located<String>, Item)| {
        let value = match item.value {
            Value::String(text) => text.into(),
            Value::Integer(number) => number.into(),
            Value::Boolean(flag) => flag.into(),
            Value::Array(_) => {
                let texts = item.into_strings(out)?;
                texts.into_iter().map(|text| text.value).collect::<Vec<_>>().into()
            }
            Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
                out.error(&item.location, item.key, "expected a text, an integer, a boolean or a list of texts");
                return None;
            }
        };
        Some((name.value, value))
    };
    // Collected in two steps, so that every wrong one is reported.
    let taken: Vec<_> = entries.into_iter().map(one).collect();
    taken.into_iter().collect()
}

/// As a query has it.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
