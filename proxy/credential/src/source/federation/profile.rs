//! What is known of a provider: a TOML file beside this one. A new provider is one file, and one line in [`PROFILES`].

use std::collections::BTreeMap;
use std::time::Duration;

use claviger_policy::document::{Diagnostics, SourceFile, Table, parse};

/// By name.
const PROFILES: &[(&str, &str)] = &[
    ("anthropic", include_str!("anthropic.toml")),
    ("generic", include_str!("generic.toml")),
    ("openai", include_str!("openai.toml")),
    ("openrouter", include_str!("openrouter.toml")),
];

/// How the token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// RFC 8693: `subject_token`.
    TokenExchange,
    /// RFC 7523 §2.1: `assertion`.
    JwtBearer,
}

impl Grant {
    /// As a configuration names them.
    pub(super) const WORDS: &'static [(&'static str, Self)] =
        &[("token-exchange", Self::TokenExchange), ("jwt-bearer", Self::JwtBearer)];

    /// The fields that the grant itself sets.
    pub(super) const OWN: &'static [&'static str] = &["grant_type", "subject_token", "subject_token_type", "assertion"];
}

/// How the fields travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    Json,
    Form,
}

impl BodyForm {
    /// As a configuration names them.
    pub(super) const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("form", Self::Form)];
}

/// One provider.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) token_url: Option<String>,
    pub(super) grant: Option<Grant>,
    pub(super) body: Option<BodyForm>,
    /// Where its tokens go, unless the configuration says less.
    pub(super) hosts: Vec<String>,
    /// Headers that the token request has.
    pub(super) headers: Vec<(String, String)>,
    /// Headers that calls of the API have with such a token, where they are not in them yet.
    pub(super) api_headers: Vec<(String, String)>,
    /// `aud` of a minted subject token.
    pub(super) audience: Vec<String>,
    /// How long a minted subject token lasts.
    pub(super) subject_lifetime: Duration,
    /// A token lasts no longer, whatever the answer says.
    pub(super) lifetime_max: Option<Duration>,
    /// Whether a token may last longer than what it was given for.
    pub(super) outlives_subject: bool,
    /// Whether a subject token is taken once.
    pub(super) single_use: bool,
    /// Fields of the body that must be there, and what they are.
    pub(super) required: BTreeMap<String, String>,
    pub(super) optional: BTreeMap<String, String>,
    /// Whether other fields may be there too.
    pub(super) free: bool,
}

impl Profile {
    /// The names of all.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// One of them; `None` if there is none of that name.
    pub(super) fn find(name: &str) -> Option<Self> {
        let (name, text) = PROFILES.iter().find(|(known, _)| *known == name)?;
        let mut out = Diagnostics::default();
        let table = parse(&SourceFile::new(format!("{name}.toml"), *text), &mut out)?;
        Self::take(name, table, &mut out)
    }

    fn take(name: &'static str, mut table: Table, out: &mut Diagnostics) -> Option<Self> {
        let profile = Self::taken(name, &mut table, out)?;
        table.finish(out);
        out.is_empty().then_some(profile)
    }

    fn taken(name: &'static str, table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        // For whoever reads the file.
        table.required_string("title", out);
        table.required_string("documentation", out);
        Some(Self {
            name,
            token_url: table.string("token_url", out).map(|url| url.value),
            grant: table.choice("grant", Grant::WORDS, out).map(|grant| grant.value),
            body: table.choice("body", BodyForm::WORDS, out).map(|body| body.value),
            hosts: list(table, "hosts", out),
            headers: texts(table, "headers", out),
            api_headers: texts(table, "api_headers", out),
            audience: list(table, "audience", out),
            subject_lifetime: table.duration("subject_lifetime", out)?.value,
            lifetime_max: table.duration("lifetime_max", out).map(|at| at.value),
            outlives_subject: table.boolean("outlives_subject", out).is_none_or(|at| at.value),
            single_use: table.boolean("single_use", out).is_some_and(|at| at.value),
            required: texts(table, "required", out).into_iter().collect(),
            optional: texts(table, "optional", out).into_iter().collect(),
            free: table.boolean("free", out).is_some_and(|at| at.value),
        })
    }
}

fn texts(table: &mut Table, key: &'static str, out: &mut Diagnostics) -> Vec<(String, String)> {
    let entries = table.table(key, out).map(Table::into_entries).unwrap_or_default();
    let texts = entries.into_iter().filter_map(|(name, item)| Some((name.value, item.into_string(out)?.value)));
    texts.collect()
}

fn list(table: &mut Table, key: &'static str, out: &mut Diagnostics) -> Vec<String> {
    table.strings(key, out).unwrap_or_default().into_iter().map(|text| text.value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_whole() {
        for name in Profile::names() {
            let profile = Profile::find(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(profile.name, name);
            if profile.free {
                continue;
            }
            assert!(profile.token_url.is_some_and(|url| url.starts_with("https://")), "{name}");
            assert!(profile.grant.is_some() && profile.body.is_some() && !profile.hosts.is_empty(), "{name}");
            assert!(!profile.audience.is_empty() && !profile.required.is_empty(), "{name}");
        }
        assert!(Profile::find("nobody").is_none());
    }
}
