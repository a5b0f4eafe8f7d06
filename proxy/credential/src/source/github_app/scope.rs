//! What a token may reach: repositories and permissions.

use std::collections::{BTreeMap, BTreeSet};

use claviger_policy::document::{Diagnostics, Table, Value};

/// So many repositories can be named in one call.
const REPOSITORIES_MAX: usize = 500;

/// How much of a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Read,
    Write,
    Admin,
}

impl Level {
    const WORDS: [(&str, Self); 3] = [("read", Self::Read), ("write", Self::Write), ("admin", Self::Admin)];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, level)| *level)
    }
}

/// What is asked for. `None`: all that the installation has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// Names without their owner, in lower case: GitHub knows no other.
    pub(super) repositories: Option<BTreeSet<String>>,
    pub(super) repository_ids: Option<BTreeSet<i64>>,
    pub(super) permissions: Option<BTreeMap<String, Level>>,
}

impl Scope {
    /// Takes `repositories`, `repository_ids` and `permissions`.
    pub(super) fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let written = |key: &str| table.has(key);
        let is_written = [written("repositories"), written("repository_ids"), written("permissions")];
        let place = table.place_of("repository_ids").unwrap_or(table.location()).clone();
        let repositories = take_repositories(table, out);
        let repository_ids = take_ids(table, out);
        let permissions = take_permissions(table, out);
        if let (Some(_), Some(_)) = (&repositories, &repository_ids) {
            let message = "`repositories` and `repository_ids` name the same thing twice";
            out.error(&place, table.key_of("repository_ids"), message).help("write one of them");
            return None;
        }
        let taken = [repositories.is_some(), repository_ids.is_some(), permissions.is_some()];
        // What is written and wrong must not be taken for what is not narrowed.
        (is_written == taken).then_some(Self { repositories, repository_ids, permissions })
    }

    /// This, where it is within `whole`, which fills what is left open. The table is as it was before this was taken.
    pub(super) fn within(self, whole: &Self, table: &Table, out: &mut Diagnostics) -> Option<Self> {
        let mut fits = true;
        let mut wrong = |key: &str, message: String, help: &str| {
            out.error(table.place_of(key).unwrap_or(table.location()), table.key_of(key), message).help(help);
            fits = false;
        };
        // A name and a number cannot be compared here.
        if self.repositories.is_some() && whole.repository_ids.is_some() {
            let message = "the credential names its repositories by numbers, which names cannot be compared with";
            wrong(
                "repositories",
                message.to_owned(),
                "write `repository_ids = [1296269]` with numbers of the credential",
            );
        }
        if self.repository_ids.is_some() && whole.repositories.is_some() {
            let message = "the credential names its repositories by names, which numbers cannot be compared with";
            wrong(
                "repository_ids",
                message.to_owned(),
                "write `repositories = [\"NAME\"]` with names of the credential",
            );
        }
        let mut beyond = |key: &str, what: String| {
            let message = format!("{what} is more than the credential itself may");
            wrong(key, message, "a rule can narrow a credential, never widen it");
        };
        for name in more(self.repositories.as_ref(), whole.repositories.as_ref()) {
            beyond("repositories", format!("repository `{name}`"));
        }
        for id in more(self.repository_ids.as_ref(), whole.repository_ids.as_ref()) {
            beyond("repository_ids", format!("repository {id}"));
        }
        if let (Some(asked), Some(had)) = (&self.permissions, &whole.permissions) {
            for (name, level) in asked.iter().filter(|(name, level)| had.get(*name).is_none_or(|had| had < level)) {
                beyond("permissions", format!("permission `{name} = \"{}\"`", level.as_str()));
            }
        }
        let names_any = self.repositories.is_some() || self.repository_ids.is_some();
        let of_whole = |open: bool| if open { whole.clone() } else { Self::default() };
        let rest = of_whole(!names_any);
        fits.then(|| Self {
            repositories: self.repositories.or(rest.repositories),
            repository_ids: self.repository_ids.or(rest.repository_ids),
            permissions: self.permissions.or_else(|| whole.permissions.clone()),
        })
    }

    /// The body of the call.
    pub(super) fn body(&self) -> serde_json::Value {
        let mut body = serde_json::Map::new();
        if let Some(names) = &self.repositories {
            body.insert("repositories".to_owned(), names.iter().map(String::as_str).collect());
        }
        if let Some(ids) = &self.repository_ids {
            body.insert("repository_ids".to_owned(), ids.iter().copied().collect());
        }
        if let Some(permissions) = &self.permissions {
            let each = permissions.iter().map(|(name, level)| (name.clone(), level.as_str().into()));
            body.insert("permissions".to_owned(), serde_json::Value::Object(each.collect()));
        }
        serde_json::Value::Object(body)
    }

    /// Over all that it says.
    pub(super) fn text(&self) -> String {
        self.body().to_string()
    }
}

/// What is asked for and not had.
fn more<'a, T: Ord>(asked: Option<&'a BTreeSet<T>>, had: Option<&'a BTreeSet<T>>) -> Vec<&'a T> {
    match (asked, had) {
        (Some(asked), Some(had)) => asked.difference(had).collect(),
        _ => Vec::new(),
    }
}

fn take_repositories(table: &mut Table, out: &mut Diagnostics) -> Option<BTreeSet<String>> {
    let key = table.key_of("repositories");
    let place = table.place_of("repositories").unwrap_or(table.location()).clone();
    let names = table.strings("repositories", out)?;
    let mut all = BTreeSet::new();
    if names.is_empty() || names.len() > REPOSITORIES_MAX {
        out.error(&place, key, "a token is for 1 to 500 repositories").help("leave it out for all of them");
        return None;
    }
    for name in names {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.value.is_empty() || name.value.len() > 100 || !name.value.bytes().all(is_plain) {
            out.error(&name.location, key.clone(), format!("`{}` is not the name of a repository", name.value))
                .help("write it without its owner, as `docs`: the installation has one owner only");
            return None;
        }
        all.insert(name.value.to_ascii_lowercase());
    }
    Some(all)
}

fn take_ids(table: &mut Table, out: &mut Diagnostics) -> Option<BTreeSet<i64>> {
    let item = table.take("repository_ids")?;
    let wrong = |out: &mut Diagnostics, location, key: String| {
        out.error(location, key, "repositories are named here by their numbers, 1 to 500 of them")
            .help("write `repository_ids = [1296269]`");
        None
    };
    let Value::Array(items) = item.value else { return wrong(out, &item.location, item.key) };
    if items.is_empty() || items.len() > REPOSITORIES_MAX {
        return wrong(out, &item.location, item.key);
    }
    let mut all = BTreeSet::new();
    for one in items {
        match one.value {
            Value::Integer(id) if id > 0 => _ = all.insert(id),
            _ => return wrong(out, &one.location, one.key),
        }
    }
    Some(all)
}

fn take_permissions(table: &mut Table, out: &mut Diagnostics) -> Option<BTreeMap<String, Level>> {
    let key = table.key_of("permissions");
    let permissions = table.table("permissions", out)?;
    let place = permissions.location().clone();
    let mut all = BTreeMap::new();
    for (name, item) in permissions.into_entries() {
        let is_name = !name.value.is_empty() && name.value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !is_name {
            out.error(&name.location, item.key, "this is not the name of a permission")
                .help("write it as GitHub's API does, as `contents` or `pull_requests`");
            return None;
        }
        let (location, key) = (item.location.clone(), item.key.clone());
        let word = item.into_string(out)?;
        let Some(level) = Level::named(&word.value) else {
            out.error(&location, key, format!("`{}` is not a level of a permission", word.value))
                .help("write one of `read`, `write`, `admin`");
            return None;
        };
        all.insert(name.value, level);
    }
    if all.is_empty() {
        out.error(&place, key, "the table has no permission").help("leave it out for all that the installation has");
        return None;
    }
    Some(all)
}
