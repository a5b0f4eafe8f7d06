//! `claviger init`: looks at a project, and writes a configuration under which its programs run without keys.
//!
//! Nothing is sealed, written or replaced without a yes: at the terminal, or by a flag.

mod ask;
pub(crate) mod dotenv;
mod existing;
mod git;
mod given;
mod known;
mod logins;
mod look;
mod manifests;
mod proposal;
mod put;
mod scrub;
mod show;
mod sources;
mod store;
mod text;
mod value;
mod walk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use claviger_contract::Secret;
use claviger_credential::SealedStore;

use self::existing::Existing;
use self::given::Given;
use self::known::Presets;
use self::look::{Found, Seen};
use self::proposal::{Key, Service, Wanted};
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure};
use crate::{command, console};

/// Looks at this project and writes `claviger.toml` for it.
///
/// Without a terminal and without `--yes` or another choice it says what it would do, and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Yes to everything: seal the keys that are found, write the file, let it be used here
    #[arg(long, short, conflicts_with_all = ["scrub", "print"])]
    pub(crate) yes: bool,
    /// A service, instead of those that are seen here: NAME of a preset, or NAME=PRESET; may be repeated
    #[arg(long = "service", value_name = "NAME", conflicts_with = "scrub")]
    pub(crate) services: Vec<Wanted>,
    /// Where the key of a service is: NAME=env:VARIABLE, NAME=dotenv:FILE:VARIABLE or NAME=stdin; may be repeated
    #[arg(long = "seal", value_name = "NAME=SOURCE", conflicts_with_all = ["scrub", "no_seal"])]
    pub(crate) seals: Vec<Given>,
    /// Seal nothing: `claviger secret set` does it later
    #[arg(long, conflicts_with = "scrub")]
    pub(crate) no_seal: bool,
    /// Print the file, and change nothing
    #[arg(long, conflicts_with = "scrub")]
    pub(crate) print: bool,
    /// Put placeholders in the place of sealed keys in `.env` files
    #[arg(long)]
    pub(crate) scrub: bool,
    /// Say what `--scrub` would do, and change nothing
    #[arg(long, requires = "scrub")]
    pub(crate) dry_run: bool,
    /// How to print what was done; `json` asks nothing
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// For `--scrub`: the files [default: all of this project]
    #[arg(value_name = "FILES", requires = "scrub")]
    pub(crate) files: Vec<PathBuf>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    /// Nothing: it is shown.
    None,
    /// What the answers at the terminal say.
    Asked,
    /// What the flags say.
    Given,
}

pub(crate) fn run(args: &InitArgs) -> Done {
    if args.scrub {
        return scrub::run(args);
    }
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let here = here.map_err(|error| Failure::doing("find the working folder")(&error))?;
    let presets = Presets::bundled();
    let mut seen = look::around(&here, std::env::home_dir().as_deref(), &presets, environment(&presets));
    let mut services = proposal::services(&presets, &mut seen, &args.services)?;
    given::add(&args.seals, &presets, &mut seen, &mut services)?;
    let existing = Existing::find(args.config.config.as_deref())?;
    if let Some(existing) = &existing {
        services.retain(|service| !existing.has(service));
        return add(args, existing, services, &seen);
    }
    if services.is_empty() {
        show::notes(&seen);
        let help = "name one: `claviger init --service openai`; `claviger preset list` has all names";
        return Err(Failure::Other(format!("nothing here shows which services it uses\n  help: {help}")));
    }
    let store = store::open();
    let bound = services.iter().map(put::bound).collect::<Result<Vec<_>, _>>()?;
    store::name(&store, &mut services, &bound, &here)?;
    let consent = consent(args);
    if consent != Consent::Asked {
        decide(args, &mut services);
    }
    let plan = Plan { args, here: &here, store: &store, bound: &bound };
    if args.print {
        console::out_raw(&text::whole(&services)?);
        return Ok(ExitCode::SUCCESS);
    }
    match consent {
        Consent::None => plan.show(&services, &seen),
        Consent::Asked => plan.ask(&mut services, &mut seen),
        Consent::Given => plan.carry_out(&services, &seen),
    }
}

fn consent(args: &InitArgs) -> Consent {
    let is_chosen = args.yes || !args.services.is_empty() || !args.seals.is_empty() || args.no_seal;
    if args.yes {
        Consent::Given
    } else if ask::is_possible() && args.output == Output::Text {
        Consent::Asked
    } else if is_chosen {
        Consent::Given
    } else {
        Consent::None
    }
}

/// Without anybody to ask: a key is sealed if it was named, or if everything was agreed to.
fn decide(args: &InitArgs, services: &mut [Service<'_>]) {
    let is_plain = !args.services.is_empty() || !args.seals.is_empty();
    for service in services {
        let is_named = args.seals.iter().any(|given| given.name == service.name);
        let is_sealed = !args.no_seal && (is_named || args.yes || !is_plain);
        if !is_sealed && matches!(service.key, Key::Here { .. }) {
            service.key = Key::Later { places: service.key.places().to_vec() };
        }
    }
}

/// The variables that a preset knows by name or by value.
fn environment(presets: &Presets) -> Vec<(String, Secret)> {
    let known = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.into_string().ok()?, Secret::new(value.into_encoded_bytes()));
        let is_base = presets.iter().any(|known| known.client.base_urls.contains_key(&name));
        let is_known = is_base || presets.of_variable(&name, None).is_some() || presets.of_value(&value).is_some();
        is_known.then_some((name, value))
    };
    let mut found: Vec<_> = std::env::vars_os().filter_map(known).collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// A file that is there is not touched: what it lacks is said.
fn add(args: &InitArgs, existing: &Existing, services: Vec<Service<'_>>, seen: &Seen) -> Done {
    let text = if services.is_empty() { String::new() } else { text::addition(&services, existing.workload())? };
    if args.print {
        console::out_raw(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let file = existing.path();
    if args.output == Output::Json {
        console::out(&show::json(&services, seen, file, false, &[]));
        return Ok(ExitCode::SUCCESS);
    }
    console::out(&format!("`{}` is there, and stays as it is", file.display()));
    if services.is_empty() {
        console::out("it has every service that was seen here");
        return Ok(ExitCode::SUCCESS);
    }
    console::out("\nwhat it lacks, by what was seen here:\n");
    console::out_raw(&text);
    console::out("\nnext: add what you want of it, then type");
    console::out("  claviger config allow");
    for service in &services {
        console::out(&format!("  claviger secret set {} --for {}", service.secret, service.name));
    }
    Ok(ExitCode::SUCCESS)
}

/// All that is needed to do what is proposed.
struct Plan<'a> {
    args: &'a InitArgs,
    here: &'a Path,
    store: &'a SealedStore,
    bound: &'a [Vec<String>],
}

impl Plan<'_> {
    fn file(&self) -> PathBuf {
        self.args.config.config.clone().unwrap_or_else(|| PathBuf::from("claviger.toml"))
    }

    fn show(&self, services: &[Service<'_>], seen: &Seen) -> Done {
        put::tried(&text::whole(services)?, services, self.bound)?;
        if self.args.output == Output::Json {
            console::out(&show::json(services, seen, &self.file(), false, &[]));
            return Ok(ExitCode::SUCCESS);
        }
        services.iter().for_each(show::service);
        show::notes(seen);
        console::out("\nnothing was changed: nobody can be asked here");
        console::out("  claviger init --yes      to do this");
        console::out("  claviger init --print    to see the file");
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self, services: &mut [Service<'_>], seen: &mut Seen) -> Done {
        console::out(&format!("In {}:\n", self.here.display()));
        for at in 0..services.len() {
            let others: Vec<String> = services.iter().map(|service| service.secret.clone()).collect();
            if let (Some(service), Some(hosts)) = (services.get_mut(at), self.bound.get(at)) {
                show::service(service);
                self.ask_of(service, hosts, &others, seen)?;
                console::out("");
            }
        }
        show::notes(seen);
        if !ask::agreed(&format!("Write `{}`, and let it be used here?", self.file().display()))? {
            return Err(Failure::Other("nothing was changed".to_owned()));
        }
        self.carry_out(services, seen)
    }

    fn ask_of(
        &self,
        service: &mut Service<'_>,
        hosts: &[String],
        others: &[String],
        seen: &mut Seen,
    ) -> Result<(), Failure> {
        if self.args.no_seal {
            service.key = Key::Later { places: service.key.places().to_vec() };
            return Ok(());
        }
        let is_named = self.args.seals.iter().any(|given| given.name == service.name);
        if matches!(service.key, Key::Missing)
            && let Some(value) = ask::value(&service.name, service.preset)?
        {
            service.key = Key::Here { value, places: Vec::new() };
            return Ok(());
        }
        while matches!(service.key, Key::Here { .. }) && !is_named {
            let question = format!("  seal it as `{}`, for {} alone?", service.secret, hosts.join(", "));
            match ask::seal(&question)? {
                ask::Answer::Yes => break,
                ask::Answer::No => {
                    if let Key::Here { value, places } = std::mem::replace(&mut service.key, Key::Missing) {
                        seen.found.push(Found {
                            preset: service.preset.name,
                            value,
                            places,
                            unfit: Some("you said no"),
                        });
                    }
                }
                ask::Answer::Named(name) => {
                    if others.contains(&name) || store::entry_of(self.store, &name)?.is_some() {
                        console::out(&format!("  `{name}` is another secret's name already"));
                        continue;
                    }
                    service.secret = name;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tries the file, seals the keys, puts the file into place, allows it.
    fn carry_out(&self, services: &[Service<'_>], seen: &Seen) -> Done {
        let text = text::whole(services)?;
        put::tried(&text, services, self.bound)?;
        let mut sealed = Vec::new();
        for (service, hosts) in services.iter().zip(self.bound) {
            if let Key::Here { value, .. } = &service.key {
                let entry = self.store.set(&service.secret, value::copy(value), hosts.clone(), None);
                let entry = entry.map_err(store::failed)?;
                let hosts: Vec<String> = entry.hosts.iter().map(ToString::to_string).collect();
                sealed.push((entry.name, hosts.join(", ")));
            }
        }
        let file = self.file();
        put::new_file(&file, &text)?;
        // A file that is named whenever it is used needs no other word.
        if self.args.config.config.is_none() {
            put::allowed(&file, &text)?;
        }
        let is_whole = !services.iter().any(|service| {
            matches!(service.key, Key::Later { .. } | Key::Missing) && !text::is_commented(service, services)
        });
        if is_whole {
            command::report(&put::final_errors(&file, self.args.config.config.is_some())?)?;
        }
        if self.args.config.config.is_none() && std::env::var_os("CLAVIGER_CONFIG").is_some_and(|set| !set.is_empty()) {
            console::note("$CLAVIGER_CONFIG names another configuration, which goes before this one");
        }
        if self.args.output == Output::Json {
            console::out(&show::json(services, seen, &file, true, &sealed));
            return Ok(ExitCode::SUCCESS);
        }
        if self.args.yes {
            services.iter().for_each(show::service);
            show::notes(seen);
            console::out("");
        }
        show::done(services, &sealed, &file);
        show::end(services, seen);
        Ok(ExitCode::SUCCESS)
    }
}
