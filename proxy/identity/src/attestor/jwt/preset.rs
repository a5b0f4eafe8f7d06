//! Kinds that are settings over `jwt`: Kubernetes and CI systems. Each is a file under `presets/` with the keys of an
//! `[attestor.NAME]` table; what the configuration writes itself goes before, and `attributes` of both hold.

use std::sync::Arc;

use claviger_policy::document::{self, Diagnostics, Located, SourceFile, Table};
use serde_json::{Map, Value};

use super::settings;
use crate::IdentityEnv;
use crate::attestor::Attestor;
use crate::token::claims::ClaimPath;
use crate::token::names::Names;

/// Kind and text.
const PRESETS: [(&str, &str); 3] = [
    ("github-actions", include_str!("../../../presets/github-actions.toml")),
    ("gitlab-ci", include_str!("../../../presets/gitlab-ci.toml")),
    ("kubernetes", include_str!("../../../presets/kubernetes.toml")),
];

/// What a kind knows of its issuer beyond the keys that a configuration could write.
#[derive(Debug, Default)]
pub(super) struct Preset {
    /// What claims may be called.
    pub(super) names: Names,
    /// What `sub` must be.
    pub(super) subject: Option<Subject>,
    /// Keys that hold where the issuer is the cluster that this process runs in.
    pub(super) in_cluster: Option<&'static str>,
}

/// What `sub` must be, made of other claims.
#[derive(Debug)]
pub(super) struct Subject(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Claim(ClaimPath),
}

/// `kind = "kubernetes"`: projected service account tokens of one cluster.
pub(in crate::attestor) fn kubernetes(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let mut preset = complete("kubernetes", table, env, out);
    preset.in_cluster = Some(include_str!("../../../presets/kubernetes-in-cluster.toml"));
    settings::take_as(preset, name, table, env, out)
}

/// `kind = "github-actions"`: tokens of a job's run.
pub(in crate::attestor) fn github_actions(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let preset = complete("github-actions", table, env, out);
    settings::take_as(preset, name, table, env, out)
}

/// `kind = "gitlab-ci"`: `id_tokens` of a job.
pub(in crate::attestor) fn gitlab_ci(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let preset = complete("gitlab-ci", table, env, out);
    settings::take_as(preset, name, table, env, out)
}

/// Fills in the keys that the table does not write itself.
fn complete(kind: &str, table: &mut Table, env: &IdentityEnv, out: &mut Diagnostics) -> Preset {
    let Some(mut keys) = parse(kind, env.trust_domain.as_str(), out) else { return Preset::default() };
    let mut names = Names::default();
    let attributes = keys.table("attributes", out).map(Table::into_entries).unwrap_or_default();
    for (name, item) in attributes {
        let Some(claim) = item.into_string(out) else { continue };
        names.attributes.extend(ClaimPath::parse(&claim.value).ok().map(|claim| (name.value.into(), claim)));
    }
    let texts = keys.strings("texts", out).unwrap_or_default();
    names.texts = texts.iter().filter_map(|text| ClaimPath::parse(&text.value).ok()).collect();
    let subject = keys.string("subject", out).and_then(|text| Subject::parse(&text.value, &names));
    table.complete(keys);
    Preset { names, subject, in_cluster: None }
}

fn parse(kind: &str, trust_domain: &str, out: &mut Diagnostics) -> Option<Table> {
    let (_, text) = PRESETS.iter().find(|(known, _)| *known == kind)?;
    let file = SourceFile::new(format!("preset:{kind}"), text.replace("{trust_domain}", trust_domain));
    document::parse(&file, out)
}

/// Fills in what an attestor of that kind has where its table does not say it, as a configuration would write it.
/// Attributes are not filled in: those of the kind are there besides the table's own.
pub fn complete_attestor(kind: &str, trust_domain: &str, table: &mut Table) {
    let Some(mut keys) = parse(kind, trust_domain, &mut Diagnostics::default()) else { return };
    for own in ["attributes", "texts", "subject"] {
        keys.take(own);
    }
    table.complete(keys);
}

impl Subject {
    fn parse(text: &str, names: &Names) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            parts.extend([Part::Text(before.to_owned()), Part::Claim(names.claim(name).ok()?)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Some(Self(parts))
    }

    /// Whether `sub` says what the other claims say. One issuer signs them all; a token in which they differ is of
    /// another shape than this kind knows, and nothing in it is believed.
    pub(super) fn agrees(&self, claims: &Map<String, Value>) -> bool {
        let mut expected = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => expected.push_str(text),
                Part::Claim(claim) => match claim.text_of(claims) {
                    Some(text) => expected.push_str(&text),
                    None => return false,
                },
            }
        }
        claims.get("sub").and_then(Value::as_str) == Some(expected.as_str())
    }
}
