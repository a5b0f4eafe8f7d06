//! `--seal NAME=SOURCE`: where a key is, as somebody says.

use std::io::Read;
use std::path::{Path, PathBuf};

use claviger_contract::Secret;

use super::known::Presets;
use super::look::{Place, SMALL_MAX, Seen, read};
use super::proposal::{self, Key, Service, Wanted};
use super::{dotenv, value};
use crate::command::Failure;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The service.
    pub(super) name: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Variable(String),
    Dotenv(PathBuf, String),
    Stdin,
}

impl std::str::FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Whatever stands there may be a key that somebody typed by mistake: it is not repeated.
        let wrong =
            || "write NAME=env:VARIABLE, NAME=dotenv:FILE:VARIABLE or NAME=stdin; a key itself is never an argument";
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        let source = match source.split_once(':') {
            None if source == "stdin" => Source::Stdin,
            Some(("env", variable)) if !variable.is_empty() => Source::Variable(variable.to_owned()),
            Some(("dotenv", place)) => {
                let (file, variable) = place.rsplit_once(':').ok_or_else(wrong)?;
                Source::Dotenv(file.into(), variable.to_owned())
            }
            Some(_) | None => return Err(wrong().to_owned()),
        };
        let Wanted { name, .. } = name.parse()?;
        Ok(Self { name, source })
    }
}

/// Reads them, and gives each to its service; one that is not there is added, if a preset has its name.
pub(super) fn add<'a>(
    all: &[Given],
    presets: &'a Presets,
    seen: &mut Seen,
    services: &mut Vec<Service<'a>>,
) -> Result<(), Failure> {
    if all.iter().filter(|given| matches!(given.source, Source::Stdin)).count() > 1 {
        return Err(Failure::call("stdin holds one key: name it once"));
    }
    for (at, given) in all.iter().enumerate() {
        if all.iter().skip(at + 1).any(|other| other.name == given.name) {
            return Err(Failure::Call(format!("`--seal {}=…` stands there twice", given.name)));
        }
        if !services.iter().any(|service| service.name == given.name) {
            let wanted = Wanted { name: given.name.clone(), preset: given.name.clone() };
            if presets.named(&given.name).is_none() {
                let help = format!("add `--service {}=PRESET`", given.name);
                return Err(Failure::Call(format!("there is no service `{}`\n  help: {help}", given.name)));
            }
            services.extend(proposal::services(presets, seen, &[wanted])?);
        }
        let (value, place) = given.source.read()?;
        check(&value, &given.name)?;
        if let Some(service) = services.iter_mut().find(|service| service.name == given.name) {
            let mut places: Vec<Place> = place.into_iter().collect();
            match &service.key {
                Key::Here { value: found, places: known } if value::same(found, &value) => {
                    let more = known.iter().filter(|one| !places.contains(one)).cloned().collect::<Vec<_>>();
                    places.extend(more);
                }
                Key::Here { .. } | Key::Sealed { .. } | Key::Later { .. } | Key::Missing => {}
            }
            service.key = Key::Here { value, places };
        }
    }
    Ok(())
}

fn check(value: &Secret, name: &str) -> Result<(), Failure> {
    if value.len() < value::SHORTEST {
        let least = value::SHORTEST;
        return Err(Failure::Call(format!(
            "the key for `{name}` has fewer than {least} bytes, so that it could not be found in answers"
        )));
    }
    Ok(())
}

impl Source {
    fn read(&self) -> Result<(Secret, Option<Place>), Failure> {
        match self {
            Self::Variable(name) => {
                let value = std::env::var_os(name).filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| Failure::Call(format!("the variable `{name}` is not set")))?;
                Ok((Secret::new(value.into_encoded_bytes()), Some(Place::Variable(name.clone()))))
            }
            Self::Dotenv(file, variable) => from_file(file, variable),
            Self::Stdin => {
                let mut value = Vec::new();
                let read = std::io::stdin().lock().read_to_end(&mut value);
                read.map_err(|error| Failure::doing("read stdin")(&error))?;
                while value.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
                    value.pop();
                }
                Ok((Secret::new(value), None))
            }
        }
    }
}

/// The last assignment, as it is for those that read the file.
fn from_file(file: &Path, variable: &str) -> Result<(Secret, Option<Place>), Failure> {
    let name = file.display();
    let text = read(file, SMALL_MAX).ok_or_else(|| Failure::Call(format!("failed to read `{name}`")))?;
    let is_shell = file.file_name().is_some_and(|name| name == ".envrc");
    let entry = dotenv::parse(&text, is_shell).into_iter().rfind(|entry| entry.name == variable);
    let entry = entry.ok_or_else(|| Failure::Call(format!("`{name}` has no variable `{variable}`")))?;
    let line = entry.line;
    match entry.reading {
        dotenv::Reading::Value(value) => {
            let place = Place::Dotenv { file: file.to_owned(), line, variable: variable.to_owned() };
            Ok((value, Some(place)))
        }
        dotenv::Reading::Made => Err(Failure::Call(format!("`{variable}` in `{name}` is made of other variables"))),
        dotenv::Reading::Unclear(why) => Err(Failure::Call(format!("`{variable}` in `{name}` is not clear: {why}"))),
    }
}
