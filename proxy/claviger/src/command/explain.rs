//! `claviger explain`: why a request is allowed or denied, before it is made or after.

pub(crate) mod advice;
pub(crate) mod after;

use std::process::ExitCode;
use std::sync::Arc;

use claviger_policy::document::{Diagnostics, nearest};
use claviger_policy::{
    AttributeValue, Attributes, Authority, Cited, Context, CredentialUse, Explanation, Principal, Scheme, SpiffeId,
};
use serde_json::{Value, json};

use crate::app;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report_platform};
use crate::{config, console};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The workload's SPIFFE ID
    #[arg(long = "as", value_name = "SPIFFE_ID", requires = "url")]
    pub(crate) principal: Option<String>,
    /// The attestor that knows the workload [default: any]
    #[arg(long, value_name = "NAME", requires = "principal")]
    pub(crate) attested_by: Option<String>,
    /// An attested attribute, as `github.ref=refs/heads/main`; may be repeated
    #[arg(long = "attr", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<std::net::IpAddr>,
    /// The moment to judge for, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// How to print the explanation
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
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
        _ => after::run(args),
    }
}

/// Judges a request that nobody has made yet.
fn before(args: &ExplainArgs, principal: &str, url: &str) -> Done {
    let source = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let mut found = Diagnostics::default();
    let compiled = config::compile_standing(&source, &env, &mut found);
    report_platform(&found)?;
    let Some(compiled) = compiled else { return Err(Failure::Other("the configuration did not compile".into())) };
    let policy = &compiled.generation.policy;
    let id = SpiffeId::parse(principal).map_err(|error| Failure::Call(format!("`{principal}`: {error}")))?;
    if let Some(name) = &args.attested_by {
        let known = compiled.attestors.attribute_names();
        if !known.iter().any(|(attestor, _)| **attestor == **name) {
            let near = nearest(name, known.iter().map(|(attestor, _)| &**attestor));
            let help = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::Call(format!("there is no attestor `{name}`{help}")));
        }
    }
    let attested_by = args.attested_by.as_deref().unwrap_or("explain").into();
    let principal = Arc::new(Principal { id, attributes: attributes(&args.attributes)?, attested_by });
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
    let explanation = match &args.attested_by {
        Some(_) => policy.explain(&policy.bind(&principal), &target, &method, &context),
        None => policy.explain_to(&principal, &target, &method, &context),
    };
    match args.output {
        Output::Text => console::out(explanation.to_string().trim_end()),
        Output::Json => console::out(&json(&explanation).to_string()),
    }
    Ok(if explanation.allowed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// An explanation for programs.
fn json(explanation: &Explanation) -> Value {
    let credential = explanation.credential.as_ref().map(|credential| match credential {
        CredentialUse::None => "none",
        CredentialUse::Named(name) => name,
    });
    json!({
        "allowed": explanation.allowed,
        "reason": explanation.reason.map(claviger_policy::Reason::code),
        "principal": explanation.principal.as_str(),
        "workloads": explanation.workloads.iter().map(|name| &**name).collect::<Vec<_>>(),
        "request": explanation.request,
        "service": explanation.service.as_deref(),
        "rule": explanation.rule.as_ref().map(cited),
        "operation": explanation.operation.as_deref(),
        "credential": credential,
        "needs": explanation.needs,
        "denies": explanation.denies.iter().map(cited).collect::<Vec<_>>(),
        "nearest": explanation.nearest.as_ref().map(|near| {
            json!({ "rule": cited(&near.rule), "dimension": near.dimension, "failed": near.failed })
        }),
        "hint": explanation.hint,
        "observed": explanation.observed.as_ref().map(|observed| {
            json!({ "rule": &*observed.rule, "would": observed.effect.code() })
        }),
        "masked": explanation.masked,
        "valid_until": explanation.valid_until,
    })
}

fn cited(cited: &Cited) -> Value {
    json!({ "kind": cited.kind, "name": &*cited.name, "file": cited.file, "line": cited.line, "why": cited.why })
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
