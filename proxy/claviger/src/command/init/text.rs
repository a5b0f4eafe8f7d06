//! The file that is written: short, explained, and narrow.

use claviger_policy::document::Diagnostics;

use super::look::shown;
use super::proposal::{Key, Service};
use crate::command::Failure;
use crate::config;

/// What a program that is started here is called.
pub(super) const TRUST_DOMAIN: &str = "home.internal";

/// The workload of such a program.
pub(super) const WORKLOAD: &str = "app";

const HEAD: &str = "\
# What programs that are started here may do, without having a key. Written by `claviger init`, and yours to change.
# It holds no secret, so commit it. After a change, `claviger config allow` lets it be used; `claviger check` says what is
# wrong with it, `claviger test` tries the examples at its end.
version = 1
trust_domain = \"@DOMAIN@\"

# Who: what you start by `claviger exec -- PROGRAM`.
[workload.@WORKLOAD@]
spiffe = \"spiffe://@DOMAIN@/@WORKLOAD@\"
exec = true
";

/// The whole file, in the usual form.
///
/// # Errors
///
/// What is wrong with it: a bug, or a preset that is none.
pub(super) fn whole(services: &[Service<'_>]) -> Result<String, Failure> {
    let mut text = HEAD.replace("@DOMAIN@", TRUST_DOMAIN).replace("@WORKLOAD@", WORKLOAD);
    for service in services {
        let is_later = is_commented(service, services);
        text.push('\n');
        text.push_str(&commented_if(is_later, &tables(service, is_later, WORKLOAD)));
    }
    let tested: Vec<&Service<'_>> = services.iter().filter(|service| !is_commented(service, services)).collect();
    if !tested.is_empty() {
        text.push_str("\n# What these rules must allow, and must not: tried whenever the file is loaded.\n");
        let tests: Vec<String> = tested.into_iter().filter_map(tests).collect();
        text.push_str(&tests.join("\n"));
    }
    formatted(&text)
}

/// What a file that is there already lacks.
pub(super) fn addition(services: &[Service<'_>], workload: Option<&str>) -> Result<String, Failure> {
    let mut text = String::new();
    if workload.is_none() {
        let head = "[workload.@WORKLOAD@]\nspiffe = \"spiffe://TRUST_DOMAIN/@WORKLOAD@\"\nexec = true\n\n";
        text.push_str(&head.replace("@WORKLOAD@", WORKLOAD));
    }
    let all: Vec<String> =
        services.iter().map(|service| tables(service, false, workload.unwrap_or(WORKLOAD))).collect();
    text.push_str(&all.join("\n"));
    formatted(&text)
}

/// A file with a service whose key nobody has does not load. So where others have theirs, it waits.
pub(super) fn is_commented(service: &Service<'_>, all: &[Service<'_>]) -> bool {
    matches!(service.key, Key::Missing) && all.iter().any(|other| !matches!(other.key, Key::Missing))
}

fn tables(service: &Service<'_>, is_later: bool, workload: &str) -> String {
    let Service { name, preset, hosts, because, secret, .. } = service;
    let mut text = format!("# {}: {}\n", preset.title, leads_to(service));
    if !because.is_empty() {
        text.push_str(&format!("# Seen here: {}\n", line(&because.join(", "))));
    }
    if is_later {
        let host: String = service.leads_to().iter().map(|host| format!(" --host {host}")).collect();
        text.push_str("# No key for it was found. Seal one, then take the comment signs away:\n");
        text.push_str(&format!("#   claviger secret set {secret}{host}\n"));
    }
    text.push_str(&format!("[service.{name}]\npreset = \"{}\"\n", preset.name));
    if !hosts.is_empty() {
        text.push_str(&format!("hosts = {}\n", list(hosts)));
    }
    text.push_str(&format!("secret = \"secret://sealed/{secret}\"\n\n"));
    let ops = service.ops();
    text.push_str("# All that is not listed is denied. The preset's sets, one or more of which may stand here:\n");
    for (set, patterns) in &preset.operations {
        text.push_str(&format!("#   {:<14}{}\n", format!("@{set}"), some(patterns)));
    }
    text.push_str(&format!("[allow.{name}]\nwho = \"{workload}\"\nto = \"{name}\"\nops = {}\n", list(&ops)));
    text
}

fn leads_to(service: &Service<'_>) -> String {
    service.leads_to().join(", ")
}

/// As much of a set as stands in a line.
fn some(patterns: &[String]) -> String {
    let mut text = String::new();
    for (at, pattern) in patterns.iter().enumerate() {
        if at > 0 && text.len() + pattern.len() > 90 {
            return format!("{text}, and {} more", patterns.len() - at);
        }
        text.push_str(if at > 0 { ", " } else { "" });
        text.push_str(pattern);
    }
    text
}

/// A request that is allowed, and one that is not.
fn tests(service: &Service<'_>) -> Option<String> {
    let (name, host) = (&service.name, concrete(service.leads_to().first()?));
    let origin = format!("{}://{host}", if service.preset.cleartext { "http" } else { "https" });
    let ops = service.ops();
    let first = ops.first()?.strip_prefix('@')?;
    let (_, patterns) = service.preset.operations.iter().find(|(set, _)| set == first)?;
    let (methods, path) = patterns.first()?.split_once(' ')?;
    let method = methods.split(',').next()?;
    let path = path.replace("**", "x").replace('*', "x");
    let block = |request: String, expected: String| {
        format!(
            "[[test]]\nas = \"spiffe://{TRUST_DOMAIN}/{WORKLOAD}\"\nrequest = \"{request}\"\nexpect = \"{expected}\"\n"
        )
    };
    let allowed = block(format!("{method} {origin}{path}"), format!("allow {name}"));
    let denied = block(format!("DELETE {origin}/not/allowed"), "deny".to_owned());
    Some(format!("{allowed}\n{denied}"))
}

/// A host of a pattern.
fn concrete(host: &str) -> String {
    host.replace('*', "x")
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// On one line of a comment, whatever names are in it.
fn line(text: &str) -> String {
    shown(std::path::Path::new(text))
}

fn commented_if(is_later: bool, text: &str) -> String {
    if !is_later {
        return text.to_owned();
    }
    let commented = |line: &str| match line {
        "" => "#\n".to_owned(),
        line if line.starts_with('#') => format!("{line}\n"),
        line => format!("# {line}\n"),
    };
    text.lines().map(commented).collect()
}

fn formatted(text: &str) -> Result<String, Failure> {
    let mut out = Diagnostics::default();
    config::format("claviger.toml", text, &mut out).ok_or_else(|| {
        let why = out.iter().next().map(ToString::to_string).unwrap_or_default();
        Failure::Other(format!("failed to write a configuration: {why}"))
    })
}
