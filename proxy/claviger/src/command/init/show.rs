//! What is said, to people and to programs. No value, and of its beginning only what its provider publishes.

use std::path::Path;

use serde_json::{Value, json};

use super::look::{Found, Place, Seen};
use super::proposal::{Key, Service};
use super::text::is_commented;
use super::value;
use crate::command::plural;
use crate::console;

/// So many places are named before the rest is counted.
const PLACES_MAX: usize = 20;

/// One service, as it is proposed.
pub(super) fn service(service: &Service<'_>) {
    let Service { name, preset, because, secret, .. } = service;
    console::out(&format!("{name}: {}", preset.title));
    if !because.is_empty() {
        let (shown, rest) = because.split_at(because.len().min(4));
        let rest = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
        console::out(&format!("  seen    {}{rest}", shown.join(", ")));
    }
    console::out(&format!("  rule    {} at {}", service.ops().join(", "), service.leads_to().join(", ")));
    match &service.key {
        Key::Here { places, .. } => {
            let doubt = service.doubt().map_or_else(String::new, |doubt| format!("; {doubt}"));
            let described = service.describe().unwrap_or_default();
            console::out(&format!("  key     {}: {described}{doubt}", joined(places)));
        }
        Key::Sealed { .. } => console::out(&format!("  key     is sealed already, as `{secret}`")),
        Key::Later { .. } => console::out("  key     is not sealed now"),
        Key::Missing => console::out("  key     none was found"),
    }
}

fn joined(places: &[Place]) -> String {
    if places.is_empty() { "as given".to_owned() } else { list(places) }
}

fn list(places: &[Place]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What could not be proposed, and why.
pub(super) fn notes(seen: &Seen) {
    for note in &seen.notes {
        console::note(note);
    }
    for Found { preset, value, places, unfit } in &seen.found {
        let described = value::describe(value, None);
        match unfit {
            Some(why) => {
                console::note(&format!("{} is not proposed for `{preset}` ({described}): {why}", list(places)))
            }
            None => console::note(&format!(
                "{} is another value for `{preset}` ({described}), and is not used; seal it by `--seal NAME=…` with a \
                 service of its own",
                list(places)
            )),
        }
    }
}

/// What is done, and what comes next.
pub(super) fn done(services: &[Service<'_>], sealed: &[(String, String)], file: &Path) {
    for (name, hosts) in sealed {
        console::out(&format!("sealed `{name}` for {hosts}"));
    }
    console::out(&format!("wrote `{}`, and allowed it as it is now", file.display()));
    for service in services.iter().filter(|service| is_commented(service, services)) {
        console::out(&format!("`{}` is in it as a comment: no key for it was found", service.name));
    }
}

/// The commands that are still to be typed before a program runs, then the one that runs it.
pub(super) fn next(services: &[Service<'_>], seen: &Seen) -> Vec<String> {
    let later = services.iter().filter(|service| !is_commented(service, services));
    let later = later.filter(|service| matches!(service.key, Key::Later { .. } | Key::Missing));
    let mut next: Vec<String> =
        later.map(|service| format!("claviger secret set {} --for {}", service.secret, service.name)).collect();
    next.push(format!("claviger exec -- {}", program(&seen.top)));
    next
}

/// How programs of such a project are usually started.
fn program(top: &[String]) -> &'static str {
    const KNOWN: [(&str, &str); 9] = [
        ("app.py", "python app.py"),
        ("main.py", "python main.py"),
        ("manage.py", "python manage.py runserver"),
        ("package.json", "npm start"),
        ("index.js", "node index.js"),
        ("Cargo.toml", "cargo run"),
        ("go.mod", "go run ."),
        ("Gemfile", "bundle exec ruby app.rb"),
        ("pyproject.toml", "python -m PACKAGE"),
    ];
    let found = KNOWN.iter().find(|(file, _)| top.iter().any(|name| name == file));
    found.map_or("PROGRAM", |(_, command)| command)
}

/// The end: what to type, and what is still to be read by whoever reads files.
pub(super) fn end(services: &[Service<'_>], seen: &Seen) {
    console::out("\nnext:");
    for command in next(services, seen) {
        console::out(&format!("  {command}"));
    }
    let plain = plain(services, seen);
    if plain.is_empty() {
        return;
    }
    console::out("\nstill in plain text:");
    for (place, whose) in plain.iter().take(PLACES_MAX) {
        console::out(&format!("  {place}  ({whose})"));
    }
    if plain.len() > PLACES_MAX {
        console::out(&format!("  and {}", plural(plain.len() - PLACES_MAX, "place")));
    }
    for advice in advice(plain.iter().map(|(place, _)| place)) {
        console::out(advice);
    }
}

/// Every place where a key stands, and whose it is.
fn plain(services: &[Service<'_>], seen: &Seen) -> Vec<(Place, String)> {
    let used =
        services.iter().flat_map(|service| service.key.places().iter().map(|place| (place, service.preset.name)));
    let unused = seen.found.iter().flat_map(|found| found.places.iter().map(|place| (place, found.preset)));
    let known = used.chain(unused).map(|(place, preset)| (place.clone(), preset.to_owned()));
    let strewn = seen.strewn.iter().map(|(preset, place)| (place.clone(), format!("looks like {preset}")));
    known.chain(strewn).collect()
}

fn advice<'a>(places: impl Iterator<Item = &'a Place>) -> Vec<&'static str> {
    let mut advice = Vec::new();
    for place in places {
        let one = match place {
            Place::Dotenv { .. } => {
                "  in .env files: `claviger init --scrub` puts placeholders there, for keys that are sealed"
            }
            Place::Variable(_) => {
                "  in this shell: `claviger exec` takes it from what it starts; take it out of your shell's profile"
            }
            Place::Login { .. } => {
                "  in files of tools: revoke it there, or log out, once programs run by `claviger exec`"
            }
            Place::Source { .. } => {
                "  in other files: take it out by hand and rotate it; git may have it in its history"
            }
        };
        if !advice.contains(&one) {
            advice.push(one);
        }
    }
    advice
}

/// For programs.
pub(super) fn json(
    services: &[Service<'_>],
    seen: &Seen,
    file: &Path,
    is_written: bool,
    sealed: &[(String, String)],
) -> String {
    let place = |place: &Place| match place {
        Place::Variable(name) => json!({ "kind": "environment", "variable": name }),
        Place::Dotenv { file, line, variable } => {
            json!({ "kind": "dotenv", "file": file.to_string_lossy(), "line": line, "variable": variable })
        }
        Place::Login { file, line, key } => json!({ "kind": "login", "file": file, "line": line, "key": key }),
        Place::Source { file, line } => json!({ "kind": "source", "file": file.to_string_lossy(), "line": line }),
    };
    let one = |service: &Service<'_>| -> Value {
        let key = match &service.key {
            Key::Here { .. } if sealed.iter().any(|(name, _)| *name == service.secret) => "sealed",
            Key::Here { .. } => "found",
            Key::Sealed { .. } => "sealed-before",
            Key::Later { .. } => "later",
            Key::Missing => "missing",
        };
        json!({
            "name": service.name,
            "preset": service.preset.name,
            "hosts": service.leads_to(),
            "ops": service.ops(),
            "because": service.because,
            "secret": service.secret,
            "key": key,
            "description": service.describe(),
            "places": service.key.places().iter().map(place).collect::<Vec<_>>(),
            "commented": is_commented(service, services),
        })
    };
    let plain = plain(services, seen);
    let plain: Vec<Value> = plain.iter().map(|(at, whose)| json!({ "place": place(at), "whose": whose })).collect();
    let answer = json!({
        "file": file.to_string_lossy(),
        "written": is_written,
        "services": services.iter().map(one).collect::<Vec<_>>(),
        "plain": plain,
        "notes": seen.notes,
        "next": next(services, seen),
    });
    serde_json::to_string_pretty(&answer).unwrap_or_default()
}
