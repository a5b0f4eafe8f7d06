//! Which file counts, whether it may be used, and whether it loads.

use std::os::unix::fs::MetadataExt;

use claviger_policy::document::{Diagnostic, Severity};

use super::check::{Check, Id};
use super::scene::Scene;
use crate::command::plural;
use crate::config::in_project;

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>) -> Vec<Check> {
    let source = match &scene.source {
        Ok(source) => source,
        Err(_) => return vec![nowhere()],
    };
    let mut all = Vec::new();
    if !source.path().exists() {
        let what = format!("`{}` is not there", source.display());
        let cause = "it was named with `--config` or in $CLAVIGER_CONFIG";
        return vec![Check::error(Id::ConfigFound, what, cause, "name another, or make one: `claviger init`")];
    }
    let how = match (&scene.args.config.config, source.project()) {
        (Some(_), _) => "named with --config",
        (None, Some(_)) => "found in this project",
        (None, None) if std::env::var_os("CLAVIGER_CONFIG").is_some_and(|path| !path.is_empty()) => {
            "named in $CLAVIGER_CONFIG"
        }
        (None, None) => "your own",
    };
    all.push(Check::ok(Id::ConfigFound, format!("`{}` counts here ({how})", source.display())));
    if source.project().is_some() {
        match (&scene.files, scene.found.iter().find(|one| one.location.is_none())) {
            // The files are kept back where they may not be used, and the one finding without a place says why.
            (None, Some(refused)) => {
                let next = refused.help.clone().unwrap_or_else(|| "`claviger config status`".to_owned());
                all.push(Check::error(Id::ConfigTrusted, "it is not used", refused.message.clone(), next));
                return all;
            }
            _ => all.push(Check::ok(Id::ConfigTrusted, "you have allowed it as it is now")),
        }
    } else if let Some(other) = in_project()
        && other.path().canonicalize().ok() != source.path().canonicalize().ok()
    {
        let what = format!("`{}` in this project is not used", other.display());
        let cause = format!("`{}` goes before it, since it was named", source.display());
        all.push(Check::warning(Id::ConfigTrusted, what, cause, "leave out what names the other one"));
    }
    all.extend(loads(scene));
    all.extend(files(scene));
    all.extend(named(scene));
    all.extend(teams(scene));
    all.extend(unenforced(scene));
    all
}

fn nowhere() -> Check {
    Check::warning(
        Id::ConfigFound,
        "no configuration was found",
        "none is named, and there is none in this folder's project nor in the XDG configuration folder",
        "`claviger init` writes one, `claviger quickstart` shows one at work",
    )
}

fn loads(scene: &Scene<'_>) -> Vec<Check> {
    let of = |severity| move |one: &&Diagnostic| one.severity == severity;
    let errors: Vec<_> = scene.found.iter().filter(of(Severity::Error)).filter(|one| one.team.is_none()).collect();
    let warnings: Vec<_> = scene.found.iter().filter(of(Severity::Warning)).collect();
    let mut all = Vec::new();
    let file = || scene.source.as_ref().map(|source| source.display().to_string()).unwrap_or_default();
    match errors.first() {
        Some(first) => {
            let what = format!("it does not load: {}", plural(errors.len(), "error"));
            all.push(Check::error(Id::ConfigLoads, what, cited(first), help(first, &file())));
        }
        None => {
            let count = scene
                .compiled
                .as_ref()
                .map_or((0, 0), |compiled| (compiled.generation.listeners.len(), compiled.generation.services.len()));
            let what = format!("it loads: {}, {}", plural(count.0, "listener"), plural(count.1, "service"));
            all.push(Check::ok(Id::ConfigLoads, what));
        }
    }
    if let Some(first) = warnings.first() {
        let what = plural(warnings.len(), "warning");
        all.push(Check::warning(Id::ConfigWarnings, what, cited(first), help(first, &file())));
    }
    all
}

/// A finding with its place.
pub(crate) fn cited(one: &Diagnostic) -> String {
    let key = if one.key.is_empty() { String::new() } else { format!("{}: ", one.key) };
    match &one.location {
        Some(place) => format!("{place}: {key}{}", one.message),
        None => format!("{key}{}", one.message),
    }
}

fn help(one: &Diagnostic, file: &str) -> String {
    one.help.clone().unwrap_or_else(|| format!("`claviger check --config {file}` shows all of them"))
}

/// Who else may write what decides over your keys.
fn files(scene: &Scene<'_>) -> Option<Check> {
    let files = scene.files.as_ref()?;
    let paths: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
    let is_open = |path: &&std::path::Path| std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o002 != 0);
    Some(match paths.iter().copied().find(is_open) {
        Some(open) => {
            let what = format!("everybody may write `{}`", open.display());
            let cause = "whoever changes a rule changes who gets which credential";
            Check::error(Id::ConfigFiles, what, cause, format!("`chmod o-w {}`", open.display()))
        }
        None => {
            let patterns = files.patterns.len();
            let by = if patterns == 0 { String::new() } else { format!(", by {}", plural(patterns, "pattern")) };
            Check::ok(Id::ConfigFiles, format!("it is made of {}{by}", plural(paths.len(), "file")))
        }
    })
}

/// Certificates, key sets, bundles: what the configuration names has to be there and readable.
fn named(scene: &Scene<'_>) -> Vec<Check> {
    let is_file = |is: Option<&str>| is == Some("file");
    let named = scene.leaves.iter().filter(|(_, leaf)| is_file(leaf.is));
    let (mut all, mut count) = (Vec::new(), 0_usize);
    for (key, leaf) in named {
        let Some(file) = leaf.file() else { continue };
        count += 1;
        if let Err(error) = std::fs::File::open(&file) {
            let what = format!("`{key}` names `{}`, which cannot be read", file.display());
            let next = "put it there, or let this user read it";
            all.push(Check::error(Id::ConfigNamed, what, error.to_string(), next).of(key));
        }
    }
    if all.is_empty() && count > 0 {
        all.push(Check::ok(Id::ConfigNamed, format!("{} that it names can be read", plural(count, "file"))));
    }
    all
}

fn teams(scene: &Scene<'_>) -> Vec<Check> {
    let frozen = |(name, state): (&std::sync::Arc<str>, &crate::config::TeamState)| {
        let why = state.frozen.as_ref()?.why.clone();
        let what = format!("team `{name}`: its files are wrong");
        let next =
            format!("`claviger check --team {name}`; a running proxy keeps the last good files, a new one denies it");
        Some(Check::error(Id::ConfigTeams, what, why, next).of(&**name))
    };
    let teams: Vec<_> = scene.teams.iter().flat_map(|teams| teams.iter()).collect();
    let count = teams.len();
    let bad: Vec<_> = teams.into_iter().filter_map(frozen).collect();
    if bad.is_empty() && count > 0 {
        return vec![Check::ok(Id::ConfigTeams, format!("{} within bounds", plural(count, "team")))];
    }
    bad
}

fn unenforced(scene: &Scene<'_>) -> Vec<Check> {
    let names = scene.compiled.iter().flat_map(|compiled| compiled.generation.unenforced());
    let one = |name: &std::sync::Arc<str>| {
        let what = format!("listener `{name}` does not enforce policy");
        let next = "take `enforce = false` out when `claviger ledger observed` shows nothing new";
        Check::warning(Id::ConfigUnenforced, what, "what would be refused passes, and is recorded", next).of(&**name)
    };
    names.map(one).collect()
}
