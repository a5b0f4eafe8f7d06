//! A preset by itself, as a service that nobody has configured: whether it is right, and whether a credential works.

use std::sync::Arc;

use claviger_credential::{Credentials, ServiceSecret};
use claviger_policy::document::{self, Diagnostics, Located, SourceFile, Table};
use claviger_policy::{HostPattern, Scheme, ServiceRoute};
use claviger_wire::preset::About;
use claviger_wire::{Check, Verdict};

use super::services::{self, ServiceParts};
use super::{Env, Probing, Source};

/// The name of the credential, in findings.
const CREDENTIAL: &str = "preset";

/// A preset that is right.
pub(crate) struct Tried {
    parts: ServiceParts,
}

/// Reads a preset as `[service.NAME]`; `hosts` goes before its own. What is wrong with it is in `out`.
pub(crate) fn try_out(file: &Arc<SourceFile>, name: &str, hosts: &[String], out: &mut Diagnostics) -> Option<Tried> {
    let mut table = document::parse(file, out)?;
    let place = table.location().clone();
    let about = About::take(&mut table, out);
    let is_link = |text: &str| url::Url::parse(text).is_ok_and(|url| url.scheme() == "https");
    if !about.documentation.is_empty() && !is_link(&about.documentation) {
        out.error(&place, "documentation", format!("`{}` is no https:// link", about.documentation))
            .help("write where the provider says how to authenticate");
    }
    if !table.has("inject") {
        table.missing("inject", out).help("write where the credential goes, as `inject = [\"bearer\"]`");
    }
    for key in ["preset", "secret", "connect", "ca"] {
        if let Some(place) = table.place_of(key) {
            out.error(&place.clone(), key, "this is for a configuration to say, and not for a preset")
                .help("leave it out");
        }
    }
    let own = match (hosts, table.has("hosts")) {
        ([_, ..], _) => hosts,
        ([], true) => &[],
        ([], false) if about.example_hosts.is_empty() => {
            table.missing("hosts", out).help("write `hosts`; where everybody has hosts of their own, `example_hosts`");
            return None;
        }
        ([], false) => &about.example_hosts,
    };
    let mut service = hosts_table(own, out)?;
    service.complete(table);
    let name = Located { value: name.to_owned(), location: place.clone() };
    let (parts, _) = services::one(name, service, out).filter(|_| !out.has_errors())?;
    let client = &parts.settings.client;
    if !client.secrets.is_empty() && client.placeholder.is_none() {
        out.warning(&place, "client.placeholder", "clients that insist on a secret get none")
            .help("write one of the shape that they look for");
    }
    Some(Tried { parts })
}

/// A table that has hosts, or nothing.
fn hosts_table(hosts: &[String], out: &mut Diagnostics) -> Option<Table> {
    let text = match hosts {
        [] => String::new(),
        _ => format!("hosts = {}", toml::Value::from(hosts.to_vec())),
    };
    document::parse(&SourceFile::new("--host", text), out)
}

impl Tried {
    /// The call that shows whether the service takes a credential.
    pub(crate) fn check(&self) -> Option<&Check> {
        self.parts.settings.check.as_ref()
    }

    /// Asks the service by its check call whether it takes a credential: a reference, or one for each field of it. Stores
    /// are those of the configuration, if there is one. Call it within a `LocalSet`.
    ///
    /// # Errors
    /// The credential cannot be used; why is in `out`.
    pub(crate) async fn ask(
        self,
        secrets: &[(Option<String>, String)],
        source: Option<&Source>,
        env: &Env,
        out: &mut Diagnostics,
    ) -> Option<Verdict> {
        let check = self.check()?.clone();
        let (stores, state_dir) = match source.and_then(|source| super::read(source, out)) {
            Some(draft) => (Some(draft.root), draft.state_dir),
            None => (None, super::default_state_dir()),
        };
        let mut root = document::parse(&SourceFile::new("--secret", self.credential(secrets)), out)?;
        if let Some(stores) = stores {
            root.complete(stores);
        }
        let shorthand = self.shorthand(secrets, &root);
        let env = env.credential(state_dir, None, Vec::new());
        let credentials = Credentials::take(&mut root, shorthand, &env, None, out);
        let probing = Probing::of(self.parts, credentials, Diagnostics::default());
        let used = probing.first(CREDENTIAL).filter(|_| !out.has_errors())?;
        Some(probing.ask(&used, &check).await)
    }

    fn shorthand(&self, secrets: &[(Option<String>, String)], root: &Table) -> Vec<ServiceSecret> {
        let [(None, reference)] = secrets else { return Vec::new() };
        let located = |value: &str| Located { value: value.to_owned(), location: root.location().clone() };
        let route: &ServiceRoute = &self.parts.route;
        let (service, reference) = (located(CREDENTIAL), located(reference));
        vec![ServiceSecret { service, reference, hosts: route.hosts().to_vec(), scheme: route.scheme() }]
    }

    /// Credentials that the configuration has are none of ours.
    fn credential(&self, secrets: &[(Option<String>, String)]) -> String {
        let fields: toml::Table = secrets
            .iter()
            .filter_map(|(field, reference)| Some((field.clone()?, toml::Value::from(reference.as_str()))))
            .collect();
        if fields.is_empty() {
            return "[credential]\n".to_owned();
        }
        let scheme = match self.parts.route.scheme() {
            Scheme::Http => "http://",
            Scheme::Https => "",
        };
        let bound = |host: &HostPattern| toml::Value::from(format!("{scheme}{host}"));
        let hosts: Vec<toml::Value> = self.parts.route.hosts().iter().map(bound).collect();
        let (hosts, fields) = (toml::Value::from(hosts), toml::Value::from(fields));
        format!("[credential.{CREDENTIAL}]\nkind = \"static\"\nhosts = {hosts}\nvalue = {fields}\n")
    }
}
