//! `claviger explain REQUEST_ID`: what became of a request, and what the configuration makes of it now.

use std::path::Path;
use std::process::ExitCode;

use claviger_contract::event::RequestId;
use claviger_ledger::query::{self, Recalled, Record};
use claviger_policy::document::Diagnostics;
use claviger_policy::{Explanation, Policy};
use serde_json::{Value, json};

use super::ExplainArgs;
use super::advice::{Advice, advice};
use crate::cli::Output;
use crate::command::recall::{self, Lacking};
use crate::command::{Done, Failure, configuration, report};
use crate::{app, config, console};

/// What is said of one request.
struct Told {
    recalled: Recalled,
    /// Whether the configuration is another one than the one that judged; `None`: the ledger does not say.
    changed: Option<bool>,
    /// What policy says now; an error if the request cannot be judged.
    judged: Result<Box<Explanation>, String>,
    advice: Option<Advice>,
}

pub(super) fn run(args: &ExplainArgs) -> Done {
    let id: RequestId = args.subject.parse().map_err(|_| {
        Failure::Call(format!(
            "`{}` is no request id; to ask before a request is made: claviger explain --as SPIFFE_ID METHOD URL",
            args.subject
        ))
    })?;
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    report(&found)?;
    let Some(draft) = draft else { return Err(Failure::Other("the configuration could not be read".into())) };
    let ledger = draft.ledger_file().ok_or_else(|| Failure::Other("the ledger has no file to read".into()))?;
    let recalled = look_up(&ledger, id)?;
    let changed = recalled.configuration.as_ref().map(|then| **then != *draft.digest);
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let compiled = draft.compile(&env, 1, app::no_interception, None, &mut found);
    let policy = compiled.as_ref().map(|compiled| &compiled.generation.policy);
    let judged = judge(recalled.records.first(), policy);
    let code = |at: usize| recalled.records.get(at).and_then(|record| record.text("code")).and_then(advice);
    let advice = code(0).or_else(|| code(1));
    let told = Told { recalled, changed, judged, advice };
    match args.output {
        Output::Text => console::out(told.text(id).trim_end()),
        Output::Json => console::out(&told.json(id).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The records of a request.
pub(crate) fn look_up(ledger: &Path, id: RequestId) -> Result<Recalled, Failure> {
    let recalled = query::recall(ledger, id).map_err(|error| Failure::with_causes(&error))?;
    if recalled.records.is_empty() {
        return Err(Failure::Other(format!("the ledger at `{}` has no request `{id}`", ledger.display())));
    }
    Ok(recalled)
}

fn judge(decided: Option<&Record>, policy: Option<&Policy>) -> Result<Box<Explanation>, String> {
    let decided = decided.filter(|record| record.kind() == "decided").ok_or("its decision is in the ledger no more")?;
    let policy = policy.ok_or("the configuration does not load as it is now (`claviger check` says why)")?;
    let recorded = recall::recorded(decided).map_err(|lacking| match lacking {
        Lacking::Principal => "nobody was attested, so that no rule was asked".to_owned(),
        Lacking::Target => "no target could be read, so that no rule was asked".to_owned(),
        Lacking::Unreadable => "its record cannot be read as a request".to_owned(),
    })?;
    let explanation = policy.explain_recorded(&recorded);
    explanation.map(Box::new).map_err(|error| format!("its path is refused by the service as it is now: {error}"))
}

impl Told {
    fn decided(&self) -> Option<&Record> {
        self.recalled.records.first().filter(|record| record.kind() == "decided")
    }

    /// Whether a suggestion could help.
    fn is_suggestible(&self) -> bool {
        let code = self.decided().and_then(|decided| decided.text("would").or_else(|| decided.text("code")));
        matches!(code, Some("no_rule" | "body_fact_unavailable"))
    }

    /// Whether what policy says now is worth telling: it was refused or observed, or would be refused now.
    fn is_policys(&self) -> bool {
        let decided = self.decided();
        let allowed = decided.and_then(Record::allowed) == Some(true);
        // The path of an allowed request is a rule's pattern, which says too little to judge it anew.
        !allowed || decided.is_some_and(|decided| decided.text("rule").is_none() && decided.text("observed").is_some())
    }

    fn text(&self, id: RequestId) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        for record in &self.recalled.records {
            line(&record.to_string());
        }
        if let Some(advice) = &self.advice {
            line(&format!("  what: {}\n  help: {}", advice.what, advice.remedy));
        }
        if let Some(observed) = self.decided().and_then(|decided| decided.text("observed")) {
            let would = self.decided().and_then(|decided| decided.text("would")).unwrap_or("otherwise");
            line(&format!("  observed only: `{observed}` would have made it: {would}"));
        }
        if !self.is_policys() {
            return text;
        }
        match (&self.judged, self.changed) {
            (Ok(_), Some(false)) => line("\nby the configuration that judged it:"),
            (Ok(_), Some(true)) => line("\nthe configuration has changed since; as it is now:"),
            (Ok(_), None) => line("\nas the configuration is now:"),
            (Err(_), _) => {}
        }
        match &self.judged {
            Ok(explanation) => {
                line(&explanation.to_string());
                if explanation.masked {
                    line(
                        "  `*` in the path is a segment that was not recorded: a rule that names it may decide otherwise",
                    );
                }
            }
            Err(why) if self.advice.is_none() => line(&format!("  not judged anew: {why}")),
            Err(_) => {}
        }
        if self.is_suggestible() {
            line(&format!("  to allow it: claviger suggest {id}"));
        }
        text
    }

    fn json(&self, id: RequestId) -> Value {
        let records: Vec<Value> =
            self.recalled.records.iter().filter_map(|record| serde_json::from_str(record.as_json()).ok()).collect();
        let judged = self.is_policys().then_some(&self.judged);
        json!({
            "id": id.to_string(),
            "records": records,
            "configuration_changed": self.changed,
            "advice": self.advice.map(|advice| json!({ "what": advice.what, "help": advice.remedy })),
            "now": judged.and_then(|judged| judged.as_ref().ok()).map(|explanation| super::json(explanation)),
            "not_judged": judged.and_then(|judged| judged.as_ref().err()),
            "suggest": self.is_suggestible().then(|| format!("claviger suggest {id}")),
        })
    }
}
