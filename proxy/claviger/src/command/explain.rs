//! `claviger explain`: why a request is allowed or denied, before it is made or after.

use std::process::ExitCode;
use std::sync::Arc;

use claviger_contract::event::RequestId;
use claviger_policy::document::Diagnostics;
use claviger_policy::{AttributeValue, Attributes, Authority, Context, Principal, Scheme, SpiffeId};

use crate::app;
use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration, report};
use crate::{config, console};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The workload's SPIFFE ID
    #[arg(long = "as", value_name = "SPIFFE_ID", requires = "url")]
    pub(crate) principal: Option<String>,
    /// An attested attribute, as `github.ref=refs/heads/main`; may be repeated
    #[arg(long = "attr", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<std::net::IpAddr>,
    /// The moment to judge for, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The method of the request, or the id of a request that was made
    #[arg(value_name = "METHOD|REQUEST_ID")]
    pub(crate) subject: String,
    /// The URL of the request
    #[arg(value_name = "URL", requires = "principal")]
    pub(crate) url: Option<String>,
}

pub(crate) fn run(args: &ExplainArgs) -> Done {
    match (&args.principal, &args.url) {
        (Some(principal), Some(url)) => before(args, principal, url),
        _ => after(args),
    }
}

/// Judges a request that nobody has made yet.
fn before(args: &ExplainArgs, principal: &str, url: &str) -> Done {
    let path = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let mut found = Diagnostics::default();
    let compiled = config::read(&path, &mut found)
        .and_then(|draft| draft.compile(&env, 1, app::no_interception, None, &mut found));
    report(&found)?;
    let Some(compiled) = compiled else { return Err(Failure::Other("the configuration did not compile".into())) };
    let policy = &compiled.generation.policy;
    let id = SpiffeId::parse(principal).map_err(|error| Failure::Call(format!("`{principal}`: {error}")))?;
    let principal =
        Arc::new(Principal { id, attributes: attributes(&args.attributes)?, attested_by: "explain".into() });
    let (scheme, authority, rest) = split_url(url)?;
    let target =
        policy.canonicalize(scheme, authority, rest).map_err(|error| Failure::Call(format!("`{url}`: {error}")))?;
    let method = args.subject.to_uppercase();
    let method =
        http::Method::from_bytes(method.as_bytes()).map_err(|_| Failure::Call(format!("`{method}` is no method")))?;
    let now = match &args.at {
        None => env.clock.now(),
        Some(at) => at
            .parse::<jiff::Timestamp>()
            .map_err(|error| Failure::Call(format!("`{at}` is no RFC 3339 time: {error}")))?
            .as_second(),
    };
    let context = Context { source_ip: args.source_ip, now };
    let explanation = policy.explain_to(&principal, &target, &method, &context);
    console::out(explanation.to_string().trim_end());
    Ok(if explanation.allowed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Tells from the ledger what became of a request.
fn after(args: &ExplainArgs) -> Done {
    let id: RequestId = args.subject.parse().map_err(|_| {
        Failure::Call(format!(
            "`{}` is no request id; to ask before a request is made: claviger explain --as SPIFFE_ID METHOD URL",
            args.subject
        ))
    })?;
    let path = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&path, &mut found);
    report(&found)?;
    let Some(draft) = draft else { return Err(Failure::Other("the configuration could not be read".into())) };
    let ledger = draft.ledger_file().ok_or_else(|| Failure::Other("the ledger has no file to read".into()))?;
    let records = claviger_ledger::query::find(&ledger, id).map_err(other)?;
    if records.is_empty() {
        return Err(Failure::Other(format!("the ledger at `{}` has no request `{id}`", ledger.display())));
    }
    for record in &records {
        console::out(&record.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn attributes(given: &[String]) -> Result<Attributes, Failure> {
    given
        .iter()
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Failure::Call(format!("`{pair}` is not NAME=VALUE")))?;
            let value = match value.parse::<i64>() {
                Ok(number) => AttributeValue::Integer(number),
                Err(_) => AttributeValue::from(value),
            };
            Ok((name, value))
        })
        .collect()
}

fn split_url(url: &str) -> Result<(Scheme, Authority, &str), Failure> {
    let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (Scheme::Https, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err(Failure::Call(format!("`{url}` does not begin with https:// or http://")));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = Authority::parse(authority, scheme.default_port())
        .map_err(|error| Failure::Call(format!("`{url}`: {error}")))?;
    Ok((scheme, authority, if path.is_empty() { "/" } else { path }))
}

fn other(error: impl std::error::Error) -> Failure {
    Failure::with_causes(&error)
}
