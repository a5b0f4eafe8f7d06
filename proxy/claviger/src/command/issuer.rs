//! `claviger issuer`: what verifiers read, for whoever serves it elsewhere, and the rotation of its keys by hand.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use claviger_identity::{Issuer, KeyFacts};
use claviger_policy::document::Diagnostics;
use serde_json::json;

use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report};
use crate::{app, config, console};

#[derive(Debug, Args)]
pub(crate) struct IssuerArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Say under which URL tokens are minted, and how its keys stand
    Show {
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Print the discovery document (OpenID Connect Discovery), to be served at URL/.well-known/openid-configuration
    Discovery,
    /// Print the public keys (JWK Set), to be served at URL/.well-known/jwks.json
    Jwks,
    /// Publish the next key now; it signs after `overlap`
    Rotate {
        /// The private keys may be in wrong hands: all of them are taken back at once, and with them every token
        #[arg(long)]
        compromised: bool,
    },
}

pub(crate) fn run(args: &IssuerArgs) -> Done {
    let issuer = load(&args.config)?;
    match &args.what {
        What::Show { output } => show(&issuer, *output),
        What::Discovery => print(&issuer, |documents| &documents.discovery),
        What::Jwks => print(&issuer, |documents| &documents.keys),
        What::Rotate { compromised } => rotate(&issuer, *compromised)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The issuer of the configuration, with its keys; the first is made if there is none.
fn load(args: &ConfigArgs) -> Result<Arc<Issuer>, Failure> {
    let source = configuration(args)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    report(&found)?;
    let Some(draft) = draft else { return Err(Failure::Other("the configuration could not be read".into())) };
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let Some(table) = &draft.issuer else {
        let help = "add `[issuer]` with the `url` at which verifiers find its keys";
        return Err(Failure::Call(format!("the configuration has no `[issuer]`\n  help: {help}")));
    };
    let issuer = table.issuer(&draft.state_dir, &env);
    issuer.refresh().map_err(|error| Failure::with_causes(&error))?;
    Ok(issuer)
}

fn print(issuer: &Issuer, which: impl Fn(&claviger_identity::Documents) -> &[u8]) {
    if let Some(documents) = issuer.documents() {
        console::out_raw(&String::from_utf8_lossy(which(&documents)));
    }
}

fn rotate(issuer: &Issuer, compromised: bool) -> Result<(), Failure> {
    let failed = |error| Failure::with_causes(&error);
    if compromised {
        issuer.replace_all().map_err(failed)?;
        console::out("All keys were taken back, and a new one signs from now on.");
        console::out(
            "Tokens of the old ones are refused by whoever reads the key set again; a copy elsewhere is to be replaced now.",
        );
    } else if issuer.rotate().map_err(failed)? {
        console::out("The next key is published.");
    } else {
        console::out("The next key was published before.");
    }
    show(issuer, Output::Text);
    Ok(())
}

fn show(issuer: &Issuer, output: Output) {
    let settings = issuer.settings();
    let keys = issuer.key_facts();
    if output == Output::Json {
        let each = |key: &KeyFacts| {
            json!({
                "kid": key.kid, "alg": key.algorithm, "state": state(key, &keys), "cause": key.cause.text(),
                "published_ms": key.published_ms, "signs_from_ms": key.signs_from_ms, "ends_at_ms": key.ends_at_ms,
            })
        };
        let all = json!({"issuer": settings.iss, "keys": keys.iter().map(each).collect::<Vec<_>>()});
        console::out(&format!("{all:#}"));
        return;
    }
    console::out(&format!("issuer {}", settings.iss));
    if let Some(documents) = issuer.documents() {
        let origin = settings.url.origin().ascii_serialization();
        console::out(&format!("  discovery  {origin}{}", documents.discovery_path));
        console::out(&format!("  keys       {origin}{}  ({})", documents.keys_path, documents.cache_control()));
    }
    for key in &keys {
        let when = match state(key, &keys) {
            "next" => format!("signs from {}", moment(key.signs_from_ms)),
            "signs" => format!("since {}", moment(key.signs_from_ms)),
            _ => key.ends_at_ms.map_or_else(String::new, |end| format!("published until {}", moment(end))),
        };
        console::out(&format!("  {:<8} {} {}  {when}", state(key, &keys), key.algorithm, key.kid));
    }
}

/// `signs`, `next`, or `ending`.
fn state(key: &KeyFacts, all: &[KeyFacts]) -> &'static str {
    let signer = all.iter().find(|key| key.signs);
    match signer {
        _ if key.signs => "signs",
        Some(signer) if key.signs_from_ms > signer.signs_from_ms => "next",
        _ => "ending",
    }
}

fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| ms.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
