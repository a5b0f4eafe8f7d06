//! Which packages a project uses, by its manifests and lock files: names as presets write them, `npm:openai`.
//!
//! Of a lock file only names are read, line by line or by a parser that keeps nothing else. What cannot be read says
//! nothing: these files are others' to check.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// No manifest or lock file is larger, in bytes.
pub(super) const SIZE_MAX: u64 = 32 << 20;

type Reader = fn(&str, &mut dyn FnMut(&str));

/// Whether a file of that name says which packages are used: the kind of packages, and how they are read.
pub(super) fn reader(name: &str) -> Option<(&'static str, Reader)> {
    let reader: (&str, Reader) = match name {
        "package.json" => ("npm", package_json),
        "package-lock.json" | "npm-shrinkwrap.json" => ("npm", package_lock),
        "pnpm-lock.yaml" => ("npm", pnpm_lock),
        "yarn.lock" => ("npm", yarn_lock),
        "pyproject.toml" => ("pypi", pyproject),
        "poetry.lock" | "uv.lock" | "pdm.lock" => ("pypi", named_tables),
        "Pipfile" => ("pypi", pipfile),
        "Pipfile.lock" => ("pypi", pipfile_lock),
        "Cargo.lock" => ("cargo", named_tables),
        "go.mod" => ("go", go_mod),
        "Gemfile.lock" => ("gem", gemfile_lock),
        name if is_requirements(name) => ("pypi", requirements),
        _ => return None,
    };
    Some(reader)
}

/// The names of a file's packages, with their kind.
pub(super) fn packages(kind: &str, read: Reader, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    read(text, &mut |name| {
        let name = if kind == "pypi" { normalized(name) } else { name.to_owned() };
        found.push(format!("{kind}:{name}"));
    });
    found
}

/// `requirements.txt`, `requirements-dev.txt`, `dev-requirements.in`.
fn is_requirements(name: &str) -> bool {
    let stem = name.strip_suffix(".txt").or_else(|| name.strip_suffix(".in"));
    stem.is_some_and(|stem| stem.contains("requirements"))
}

/// PEP 503: `Slack_SDK` is `slack-sdk`.
fn normalized(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Names of an object; what they mean is not kept.
type Names = HashMap<String, IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PackageJson {
    #[serde(default)]
    dependencies: Names,
    #[serde(default)]
    dev_dependencies: Names,
    #[serde(default)]
    optional_dependencies: Names,
    #[serde(default)]
    peer_dependencies: Names,
}

fn package_json(text: &str, found: &mut dyn FnMut(&str)) {
    let Ok(file) = serde_json::from_str::<PackageJson>(text) else { return };
    for names in [file.dependencies, file.dev_dependencies, file.optional_dependencies, file.peer_dependencies] {
        names.keys().for_each(|name| found(name));
    }
}

#[derive(Deserialize)]
struct PackageLock {
    /// `node_modules/x`, since version 2.
    #[serde(default)]
    packages: Names,
    /// Version 1.
    #[serde(default)]
    dependencies: Names,
}

fn package_lock(text: &str, found: &mut dyn FnMut(&str)) {
    let Ok(file) = serde_json::from_str::<PackageLock>(text) else { return };
    file.packages.keys().filter_map(|path| path.rsplit_once("node_modules/")).for_each(|(_, name)| found(name));
    file.dependencies.keys().for_each(|name| found(name));
}

#[derive(Deserialize)]
struct PipfileLock {
    #[serde(default)]
    default: Names,
    #[serde(default)]
    develop: Names,
}

fn pipfile_lock(text: &str, found: &mut dyn FnMut(&str)) {
    let Ok(file) = serde_json::from_str::<PipfileLock>(text) else { return };
    [file.default, file.develop].iter().flat_map(Names::keys).for_each(|name| found(name));
}

/// Keys of mappings: `'@scope/x@1.0.0':`, `/x/1.0.0:`, `x:`.
fn pnpm_lock(text: &str, found: &mut dyn FnMut(&str)) {
    for line in text.lines() {
        let Some(key) = line.trim().strip_suffix(':') else { continue };
        let key = key.trim_matches(['\'', '"']).trim_start_matches('/');
        found(without_version(key, '@'));
        found(without_version(key, '/'));
    }
}

/// Lines at the margin: `"@scope/x@^1.0.0", "@scope/x@npm:^1.2.0":`.
fn yarn_lock(text: &str, found: &mut dyn FnMut(&str)) {
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t', '#'])) {
        let Some(keys) = line.strip_suffix(':') else { continue };
        for key in keys.split(',') {
            found(without_version(key.trim().trim_matches('"'), '@'));
        }
    }
}

/// `@scope/x@1.0.0` is `@scope/x`; the first character may be the sign itself.
fn without_version(key: &str, sign: char) -> &str {
    let from = key.char_indices().skip(1).find(|(_, c)| *c == sign);
    match from.map(|(at, _)| at) {
        // A scope's own stroke.
        Some(at) if sign == '/' && key.starts_with('@') => {
            let second = key.get(at + 1..).and_then(|rest| rest.find('/'));
            second.and_then(|second| key.get(..at + 1 + second)).unwrap_or(key)
        }
        Some(at) => key.get(..at).unwrap_or(key),
        None => key,
    }
}

/// `name = "x"` in the tables of poetry's, uv's and cargo's locks.
fn named_tables(text: &str, found: &mut dyn FnMut(&str)) {
    for line in text.lines() {
        let value = line.strip_prefix("name").map(str::trim_start).and_then(|rest| rest.strip_prefix('='));
        if let Some(name) = value {
            found(name.trim().trim_matches('"'));
        }
    }
}

fn requirements(text: &str, found: &mut dyn FnMut(&str)) {
    text.lines().filter_map(requirement).for_each(found);
}

/// The name of a PEP 508 requirement: `Stripe[async] >=1.2 ; python_version > "3"`.
fn requirement(line: &str) -> Option<&str> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(line.len());
    line.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn pyproject(text: &str, found: &mut dyn FnMut(&str)) {
    let Ok(file) = text.parse::<toml::Table>() else { return };
    let at = |path: &[&str]| {
        let (last, tables) = path.split_last()?;
        let table = tables.iter().try_fold(&file, |table, key| table.get(*key)?.as_table())?;
        table.get(*last)
    };
    let mut lists: Vec<&toml::Value> = at(&["project", "dependencies"]).into_iter().collect();
    for groups in [at(&["project", "optional-dependencies"]), at(&["dependency-groups"])] {
        lists.extend(groups.and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values));
    }
    let texts = lists.iter().filter_map(|list| list.as_array()).flatten().filter_map(toml::Value::as_str);
    texts.filter_map(requirement).for_each(&mut *found);
    let mut tables: Vec<&toml::Value> = Vec::new();
    tables.extend(at(&["tool", "poetry", "dependencies"]));
    tables.extend(at(&["tool", "poetry", "dev-dependencies"]));
    let groups = at(&["tool", "poetry", "group"]).and_then(toml::Value::as_table);
    tables.extend(groups.into_iter().flat_map(toml::Table::values).filter_map(|group| group.get("dependencies")));
    tables.iter().filter_map(|table| table.as_table()).flat_map(toml::Table::keys).for_each(|name| found(name));
}

fn pipfile(text: &str, found: &mut dyn FnMut(&str)) {
    let Ok(file) = text.parse::<toml::Table>() else { return };
    let tables = ["packages", "dev-packages"].into_iter().filter_map(|name| file.get(name)?.as_table());
    tables.flat_map(toml::Table::keys).for_each(|name| found(name));
}

/// `require github.com/x/y v1.2.3`, or such lines in parentheses.
fn go_mod(text: &str, found: &mut dyn FnMut(&str)) {
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("require ").unwrap_or(line).trim_start();
        let mut words = line.split_whitespace();
        if let (Some(path), Some(version)) = (words.next(), words.next())
            && version.starts_with('v')
        {
            found(path);
        }
    }
}

/// `    stripe (10.0.0)`, four blanks in.
fn gemfile_lock(text: &str, found: &mut dyn FnMut(&str)) {
    for line in text.lines() {
        let name =
            line.strip_prefix("    ").filter(|rest| !rest.starts_with(' ')).and_then(|rest| rest.split_once(" ("));
        if let Some((name, _)) = name {
            found(name);
        }
    }
}

#[cfg(test)]
mod tests;
