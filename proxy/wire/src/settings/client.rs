//! `client` of a service: what its clients want to be told, so that an unmodified program finds its way here.

use std::collections::BTreeMap;

use claviger_policy::document::{Diagnostics, Item, Located, Table, nearest};

/// The keys of `[service.X.client]`: data for environments (`exec`), proposals (`init`) and pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// Environment variables in which clients look for the real secret. A child process gets `placeholder` in them, or,
    /// where there is none, nothing.
    pub secrets: Vec<String>,
    /// Further variables that hold a real secret of the service, in whose place nothing may stand: another kind of
    /// credential, or one beside which clients would not use `secrets`. A child process does not get them.
    pub withheld: Vec<String>,
    /// What stands where clients insist on a secret: it has the shape that their own checks ask for, and opens nothing.
    pub placeholder: Option<String>,
    /// Variables for a base URL, with the path that stands after the service's own address: `OPENAI_BASE_URL = "/v1"`.
    pub base_urls: BTreeMap<String, String>,
    /// Further variables that clients want, as they are.
    pub variables: BTreeMap<String, String>,
    /// Packages by which a project shows that it uses the service: `npm:openai`, `pypi:openai`.
    pub packages: Vec<String>,
    /// How values of the secret begin, by which one that lies about is recognised: `sk-proj-`.
    pub prefixes: Vec<String>,
}

/// Whose packages are known.
const ECOSYSTEMS: [&str; 8] = ["cargo", "gem", "go", "maven", "npm", "nuget", "composer", "pypi"];

/// The fewest characters by which a value is recognised; with fewer, half of a disk would be one.
const PREFIX_MIN: usize = 3;

impl ClientSettings {
    /// Takes the key `client` of a service.
    pub fn take(service: &mut Table, out: &mut Diagnostics) -> Self {
        let Some(mut table) = service.table("client", out) else { return Self::default() };
        let mut settings = Self {
            secrets: texts("secrets", variable, &mut table, out),
            withheld: texts("withheld", variable, &mut table, out),
            placeholder: text("placeholder", placeholder, &mut table, out),
            base_urls: pairs("base_urls", base, &mut table, out),
            variables: pairs("variables", plain, &mut table, out),
            packages: texts("packages", package, &mut table, out),
            prefixes: texts("prefixes", prefix, &mut table, out),
        };
        // One variable cannot have two values; what is a secret goes before.
        settings.withheld.retain(|name| !settings.secrets.contains(name));
        table.finish(out);
        settings
    }
}

type Check = fn(&str) -> Result<(), String>;

fn text(key: &'static str, check: Check, table: &mut Table, out: &mut Diagnostics) -> Option<String> {
    let name = table.key_of(key);
    table.string(key, out).and_then(|text| checked(text, &name, check, out))
}

fn texts(key: &'static str, check: Check, table: &mut Table, out: &mut Diagnostics) -> Vec<String> {
    let name = table.key_of(key);
    let written = table.strings(key, out).unwrap_or_default();
    written.into_iter().filter_map(|text| checked(text, &name, check, out)).collect()
}

fn pairs(key: &'static str, check: Check, table: &mut Table, out: &mut Diagnostics) -> BTreeMap<String, String> {
    let entries = table.table(key, out).map(Table::into_entries).unwrap_or_default();
    let mut pairs = BTreeMap::new();
    for (name, item) in entries {
        let Item { key, .. } = &item;
        let key = key.clone();
        let name = checked(name, &key, variable, out);
        let text = item.into_string(out).and_then(|text| checked(text, &key, check, out));
        if let (Some(name), Some(text)) = (name, text) {
            pairs.insert(name, text);
        }
    }
    pairs
}

fn checked(text: Located<String>, key: &str, check: Check, out: &mut Diagnostics) -> Option<String> {
    match check(&text.value) {
        Ok(()) => Some(text.value),
        Err(message) => {
            let (message, help) = message.split_once('\n').unwrap_or((&message, ""));
            let diagnostic = out.error(&text.location, key, message);
            if !help.is_empty() {
                diagnostic.help(help);
            }
            None
        }
    }
}

/// What a shell takes as a name, and nothing that decides what a program runs or trusts.
fn variable(name: &str) -> Result<(), String> {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !starts || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!(
            "`{}` is not the name of a variable\nit takes letters, digits and `_`, as `ACME_API_KEY`",
            name.escape_default()
        ));
    }
    let reserved = ["PATH", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP"];
    if reserved.contains(&name) || name.starts_with("LD_") || name.starts_with("DYLD_") {
        return Err(format!(
            "`{name}` decides what programs run, and is not a service's to set\nname a variable of its clients"
        ));
    }
    Ok(())
}

/// One line that needs no quoting in a file of variables, a URL or a header.
fn placeholder(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@=,!$+/".contains(&byte);
    if text.is_empty() || text.len() > 512 || !text.bytes().all(plain) {
        return Err(format!(
            "`{}` is not a placeholder\nit takes up to 512 letters, digits and `-._~:@=,!$+/`",
            text.escape_default()
        ));
    }
    Ok(())
}

fn base(path: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if path.is_empty() || (path.starts_with('/') && path.bytes().all(plain) && !path.contains("//")) {
        return Ok(());
    }
    Err(format!(
        "`{}` is not the path of a base URL\nwrite what stands after the service's own address, as `/v1`, or `\"\"`",
        path.escape_default()
    ))
}

/// `%` and `$` would be read as references by some of what passes variables on (systemd, compose files, cmd).
fn plain(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || matches!(c, '%' | '$')) {
        None => Ok(()),
        Some(wrong) => Err(format!(
            "a variable's value takes no `{}`\nwrite it as it is: nothing is filled in",
            wrong.escape_default()
        )),
    }
}

fn package(text: &str) -> Result<(), String> {
    let (ecosystem, name) = text.split_once(':').unwrap_or((text, ""));
    if !ECOSYSTEMS.contains(&ecosystem) {
        let help = match nearest(ecosystem, ECOSYSTEMS) {
            Some(near) => format!("did you mean `{near}:`?"),
            None => format!("write `ECOSYSTEM:NAME`; there are: {}", ECOSYSTEMS.join(", ")),
        };
        return Err(format!("`{}` does not say whose package it is\n{help}", text.escape_default()));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{}` names no package\nwrite its name, as `npm:openai`", text.escape_default()));
    }
    Ok(())
}

fn prefix(text: &str) -> Result<(), String> {
    if text.len() < PREFIX_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "`{}` says too little\nwrite how values begin, at least {PREFIX_MIN} visible characters",
            text.escape_default()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_policy::document::{self, SourceFile};

    fn read(text: &str) -> (ClientSettings, Vec<String>) {
        let mut out = Diagnostics::default();
        let mut table =
            document::parse(&SourceFile::new("claviger.toml", format!("[client]\n{text}\n")), &mut out).unwrap();
        let settings = ClientSettings::take(&mut table, &mut out);
        (settings, out.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_written_is_taken() {
        let (settings, found) = read(
            "secrets = [\"ACME_KEY\"]\nwithheld = [\"ACME_OLD_KEY\", \"ACME_KEY\"]\nplaceholder = \"ak_000\"\n\
             base_urls = { ACME_URL = \"/v1\", ACME_HOST = \"\" }\nvariables = { ACME_REGION = \"eu west\" }\n\
             packages = [\"npm:@acme/sdk\", \"go:acme.test/sdk\"]\nprefixes = [\"ak_\"]",
        );
        assert!(found.is_empty(), "{found:#?}");
        assert_eq!(settings.secrets, ["ACME_KEY"]);
        assert_eq!(settings.withheld, ["ACME_OLD_KEY"]);
        assert_eq!(settings.base_urls.len(), 2);
    }

    #[test]
    fn mistakes() {
        let check = |text: &str, words: &[&str]| {
            let (_, found) = read(text);
            let [one] = found.as_slice() else { panic!("{text}: {found:#?}") };
            words.iter().for_each(|word| assert!(one.contains(word), "{text}: `{word}` is not in {one}"));
        };
        check("secrets = [\"ACME-KEY\"]", &["2:12", "`ACME-KEY` is not the name of a variable", "help: it takes"]);
        check("secrets = [\"\"]", &["is not the name of a variable"]);
        check("secrets = [\"1KEY\"]", &["is not the name of a variable"]);
        check("withheld = [\"PATH\"]", &["`PATH` decides what programs run"]);
        check("variables = { LD_PRELOAD = \"x\" }", &["`LD_PRELOAD` decides what programs run"]);
        check("variables = { A = \"100%\" }", &["takes no `%`"]);
        check("variables = { A = \"a\\nb\" }", &["takes no `\\n`"]);
        check("base_urls = { A = \"v1\" }", &["`v1` is not the path of a base URL"]);
        check("base_urls = { A = \"https://x\" }", &["is not the path of a base URL"]);
        check("placeholder = \"a b\"", &["is not a placeholder"]);
        check("placeholder = \"\"", &["is not a placeholder"]);
        check("packages = [\"openai\"]", &["does not say whose package it is", "there are: cargo"]);
        check("packages = [\"npn:openai\"]", &["did you mean `npm:`?"]);
        check("packages = [\"npm:\"]", &["names no package"]);
        check("prefixes = [\"sk\"]", &["says too little"]);
        check("secret = \"A\"", &["unknown key", "did you mean `secrets`?"]);
    }
}
