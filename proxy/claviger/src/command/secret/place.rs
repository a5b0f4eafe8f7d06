//! Which store a command works on, which configuration reads it, and which process uses it.

use std::path::PathBuf;

use claviger_credential::{SealedStore, SecretReference};
use claviger_policy::document::Diagnostics;

use super::SecretArgs;
use crate::command::{Failure, report};
use crate::config;

/// A sealed store and what is around it.
pub(super) struct Place {
    pub(super) store: SealedStore,
    /// STORE of `secret://STORE/NAME`.
    pub(super) store_name: String,
    /// The configuration that reads this store, if there is one.
    pub(super) source: Option<config::Source>,
    /// Where a process that uses the store is asked.
    pub(super) socket: PathBuf,
}

/// The store, if it is named, and the secret's name: `NAME`, or `secret://STORE/NAME`.
pub(super) fn parse_name(written: &str) -> Result<(&str, Option<SecretReference>), Failure> {
    if !written.starts_with("secret://") {
        return Ok((written, None));
    }
    let reference = SecretReference::parse(written).map_err(Failure::call)?;
    if reference.field().is_some() {
        return Err(Failure::call(format!("`{written}`: a secret is changed as a whole; leave out what follows `#`")));
    }
    let name = written.trim_start_matches("secret://").split_once('/').map_or("", |(_, name)| name);
    Ok((name, Some(reference)))
}

impl Place {
    /// The store of that name: in the state folder if one is given, else in the configuration's.
    pub(super) fn find(args: &SecretArgs, store_name: &str) -> Result<Self, Failure> {
        match &args.state_dir {
            Some(folder) => Self::in_folder(args, folder, store_name),
            None => Self::in_configuration(args, store_name),
        }
    }

    fn in_folder(args: &SecretArgs, folder: &std::path::Path, store_name: &str) -> Result<Self, Failure> {
        if store_name != "sealed" {
            let why =
                format!("`--state-dir` is the folder of store `sealed`; store `{store_name}` is a configuration's");
            return Err(Failure::call(why));
        }
        let store = SealedStore::open(folder);
        // A configuration that has its secrets elsewhere says nothing about this one.
        let reads_it = |source: &config::Source| {
            let found = &mut Diagnostics::default();
            let read = config::read(source, found).and_then(|draft| draft.sealed_store(store_name, found));
            read.is_some_and(|read| read.is(&store))
        };
        let source = config::discover(args.config.config.as_ref()).ok().filter(reads_it);
        Ok(Self { socket: folder.join("admin.sock"), store, store_name: store_name.to_owned(), source })
    }

    fn in_configuration(args: &SecretArgs, store_name: &str) -> Result<Self, Failure> {
        let Ok(source) = config::discover(args.config.config.as_ref()) else {
            return Self::in_folder(args, &config::default_state_dir(), store_name);
        };
        // Only the store is needed: a secret must be settable before the file that refers to it is whole.
        let mut found = Diagnostics::default();
        let draft = config::read(&source, &mut found);
        if draft.is_none() || found.iter().any(|one| one.key == "state_dir") {
            report(&found)?;
        }
        let draft = draft.ok_or_else(|| Failure::Other("no configuration".into()))?;
        let socket = draft.admin.socket.clone();
        let mut found = Diagnostics::default();
        let store = draft.sealed_store(store_name, &mut found);
        report(&found)?;
        let store = store.ok_or_else(|| {
            let advice = "a secret of another store is changed where it is kept, and taken up from there";
            Failure::call(format!("there is no sealed store `{store_name}`; {advice}"))
        })?;
        Ok(Self { store, store_name: store_name.to_owned(), source: Some(source), socket })
    }
}
