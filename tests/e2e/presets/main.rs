//! Each preset, by the official client of its service, against a strict double of it.
//!
//! The double knows from the API's documentation, and not from the preset, which calls there are, which headers they
//! want and where the credential stands. With the preset as it is, every client works; with any of its injections
//! changed, or without what it strips, one fails, and the double says that it is the credential.

mod double;
#[allow(dead_code, reason = "their presets come")]
mod forges;
#[allow(dead_code, reason = "their presets come")]
mod git;
#[allow(dead_code, reason = "their presets come")]
mod models;
mod preset;
#[allow(dead_code, reason = "their presets come")]
mod proof;
#[allow(dead_code, reason = "their presets come")]
mod registries;
#[allow(dead_code, reason = "their presets come")]
mod saas;
mod stage;

use crate::double::Verdict;
use crate::proof::Proof;
use crate::stage::{Actor, Stage, WRONG, code};

/// One test for each preset, named like it.
macro_rules! proofs {
    ($($name:ident: $proof:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                prove($proof).await;
            }
        )*

        /// The presets that are proven.
        fn proven() -> Vec<&'static str> {
            vec![$($proof.preset),*]
        }
    };
}

proofs! {
    openai: models::openai();
    anthropic: models::anthropic();
    azure_openai: models::azure_openai();
    gemini: models::gemini();
    mistral: models::mistral();
    groq: models::groq();
    openrouter: models::openrouter();
    // huggingface: models::huggingface();
    llama_cpp: models::llama_cpp();
    vllm: models::vllm();
    ollama: models::ollama();
    // github: forges::github();
    // gitlab: forges::gitlab();
    // npm: registries::npm();
    // pypi: registries::pypi();
    // crates_io: registries::crates_io();
    // docker: registries::docker();
    // jira: saas::jira();
    // sentry: saas::sentry();
    // pagerduty: saas::pagerduty();
    // datadog: saas::datadog();
    // slack: saas::slack();
    // telegram: saas::telegram();
    // stripe: saas::stripe();
    // twilio: saas::twilio();
    // sendgrid: saas::sendgrid();
    // cloudflare: saas::cloudflare();
}

#[test]
fn every_preset_is_proven() {
    let (proven, bundled) = (proven(), preset::names());
    assert!(proven.iter().all(|name| bundled.iter().any(|bundled| bundled == name)), "{bundled:?}");
}

/// All that is asked of a preset.
async fn prove(proof: Proof) {
    let mut stage = Stage::start(proof).await;
    let mut actors: Vec<Actor> = stage.proof.drivers.iter().map(|driver| stage.client(driver)).collect();
    assert!(!actors.is_empty());
    works(&stage, &mut actors);
    probes(&stage);
    sets(&stage).await;
    strips(&mut stage).await;
    breaks(&mut stage, &mut actors);
    for actor in actors {
        actor.end(&stage.proof);
    }
    stage.end();
}

/// Every client makes all its calls, and the double takes all of them.
fn works(stage: &Stage, actors: &mut [Actor]) {
    for actor in actors {
        let done = actor.turn();
        let what = format!("{} of `{}`", actor.driver.script, stage.proof.preset);
        let verdicts = stage.double.take();
        let refused: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.problem.is_some()).collect();
        assert!(done && refused.is_empty(), "{what}: the double refused {refused:#?}; it said\n{}", actor.said());
        for call in &actor.driver.calls {
            assert!(verdicts.iter().any(|verdict| verdict.call == *call), "{what}: no `{call}` in {verdicts:#?}");
        }
    }
}

/// The preset's `check` tells a right value from a wrong one.
fn probes(stage: &Stage) {
    if !stage.written.checks() {
        return;
    }
    for (field, value) in &stage.proof.keys {
        let (taken, said) = stage.probe(field, WRONG);
        // Where a wrong key is a bad request, all that can be said is that nothing was changed.
        let expected = if stage.proof.refusal.status == 400 { "is not known" } else { "does not take" };
        assert!(!taken && said.contains(expected), "`{field}` is wrong: {said}");
        assert!(stage.double.take().iter().any(is_of_the_credential), "`{field}` is wrong: the double said nothing");
        let (taken, said) = stage.probe(field, value);
        assert!(taken, "`{field}` is right: {said}");
        stage.assert_all_taken("a right value is probed");
    }
}

/// A request of each set of operations passes, and one that is not of it does not.
async fn sets(stage: &Stage) {
    let mut named: Vec<&str> = stage.proof.sets.iter().map(|(set, ..)| *set).collect();
    named.sort_unstable();
    named.dedup();
    let mut written = stage.written.sets();
    written.sort_unstable();
    assert_eq!(named, written, "each set of operations has a request in it and one that is not");
    for (set, inside, outside) in &stage.proof.sets {
        let curl = stage.curl(&format!("set-{set}"));
        for (request, passes) in [(inside, true), (outside, false)] {
            let (method, url) = request.split_once(' ').expect("METHOD URL");
            let answer = curl.request(method.parse().unwrap(), url).send().await.unwrap();
            let body = answer.text().await.unwrap();
            let refused = code(&body);
            let reached = !stage.double.take().is_empty();
            let expected = if passes { None } else { Some("denied".to_owned()) };
            assert_eq!((refused, reached), (expected, passes), "@{set}, {request}: {body}");
        }
    }
}

/// With any injection changed the double refuses the credential of somebody, and each client is somebody.
fn breaks(stage: &mut Stage, actors: &mut [Actor]) {
    let fields: Vec<&str> = stage.proof.keys.iter().map(|(field, _)| *field).collect();
    let mutants = stage.written.mutants(&fields);
    assert!(!mutants.is_empty());
    let mut failed = vec![false; actors.len()];
    for mutant in mutants {
        stage.change(&format!("inject = {}", mutant.inject));
        stage.double.take();
        let turns: Vec<bool> = actors.iter_mut().map(|actor| !actor.turn()).collect();
        let verdicts = stage.double.take();
        assert!(turns.contains(&true), "{}: every client still works: {verdicts:#?}", mutant.change);
        assert!(verdicts.iter().any(is_of_the_credential), "{}: {verdicts:#?}", mutant.change);
        for (failed, turn) in failed.iter_mut().zip(turns) {
            *failed |= turn;
        }
    }
    assert!(!failed.contains(&false), "each client depends on some injection: {failed:?}");
}

/// Whatever else a client shows, in every place that the preset strips, does not go upstream; without one place in `strip`
/// it does, and the double refuses that.
async fn strips(stage: &mut Stage) {
    let strip = stage.written.strip();
    let answer = stage.shows(&strip).await;
    assert!(answer.status().is_success(), "{answer:?}: {:#?}", stage.double.take());
    stage.assert_all_taken("a request with all that is stripped");
    for place in &strip {
        let kept: Vec<&String> = strip.iter().filter(|other| *other != place).collect();
        stage.change(&format!("strip = {kept:?}"));
        let answer = stage.shows(&strip).await;
        let verdicts = stage.double.take();
        let problem = verdicts.first().and_then(|verdict| verdict.problem.as_deref()).unwrap_or_default();
        let named = if place.starts_with("query:") { "the URL".to_owned() } else { format!("`{place}`") };
        assert!(
            !answer.status().is_success() && problem.starts_with("credential: ") && problem.contains(&named),
            "without `{place}` in `strip`: {verdicts:#?}"
        );
    }
}

fn is_of_the_credential(verdict: &Verdict) -> bool {
    verdict.problem.as_ref().is_some_and(|problem| problem.starts_with("credential: "))
}
