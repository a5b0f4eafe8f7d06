//! Each preset, by the official client of its service, against a strict double of it.
//!
//! The double knows from the API's documentation, and not from the preset, which calls there are, which headers they
//! want and where the credential stands. With the preset as it is, every client works; with any of its injections
//! changed, or without what it strips, one fails, and the double says that it is the credential.

mod double;
mod forges;
mod git;
mod models;
mod preset;
mod proof;
mod real;
mod registries;
mod saas;
mod secrets;
mod stage;

use claviger_tests::World;

use crate::double::{Double, Verdict};
use crate::preset::{Kind, Written};
use crate::proof::Proof;
use crate::stage::{Actor, OWN, Stage, WRONG};

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
    huggingface: models::huggingface();
    llama_cpp: models::llama_cpp();
    vllm: models::vllm();
    ollama: models::ollama();
    github: forges::github();
    gitlab: forges::gitlab();
    npm: registries::npm();
    pypi: registries::pypi();
    python_index: registries::python_index();
    crates_io: registries::crates_io();
    docker_hub: registries::docker_hub();
    registry: registries::registry();
    jira: saas::jira();
    sentry: saas::sentry();
    pagerduty: saas::pagerduty();
    pagerduty_events: saas::pagerduty_events();
    datadog: saas::datadog();
    slack: saas::slack();
    telegram: saas::telegram();
    stripe: saas::stripe();
    twilio: saas::twilio();
    sendgrid: saas::sendgrid();
    cloudflare: saas::cloudflare();
    vault: secrets::vault();
}

#[test]
fn every_preset_is_proven() {
    let (mut proven, bundled) = (proven(), preset::names());
    proven.sort_unstable();
    assert_eq!(proven, bundled);
    let listed = World::new().run(&["preset", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>(), bundled);
    assert!(bundled.len() >= 25, "{bundled:?}");
}

/// All that is asked of a preset.
async fn prove(proof: Proof) {
    let mut world = World::new();
    world.canary.clone_from(&proof.keys[0].1);
    let written = Written::read(proof.preset);
    let never = written.placeholder().into_iter().chain([OWN]).map(str::to_owned).collect();
    let double = Double::start(&world.ca, &proof, never).await;
    let mut stage = Stage::start(proof, world, double.port());
    let mut actors: Vec<Actor> = stage.proof.drivers.iter().map(|driver| stage.client(driver)).collect();
    assert!(!actors.is_empty());
    works(&stage, &double, &mut actors);
    sets(&stage, &double).await;
    strips(&mut stage, &double).await;
    once(&mut stage, &double).await;
    breaks(&mut stage, &double, &mut actors);
    probes(&mut stage, &double);
    for actor in actors {
        actor.end(&stage.proof);
    }
    stage.end();
}

/// Every client makes all its calls, and the double takes all of them.
fn works(stage: &Stage, double: &Double, actors: &mut [Actor]) {
    for actor in actors {
        let done = actor.turn();
        let what = format!("{} of `{}` said\n{}\n", actor.driver.script, stage.proof.preset, actor.said());
        let verdicts = double.take_good(&what);
        assert!(done, "{what}");
        for call in &actor.driver.calls {
            assert!(verdicts.iter().any(|verdict| verdict.call == *call), "{what}: no `{call}` in {verdicts:#?}");
        }
    }
}

/// A request of each set of operations passes, and one that is not of it does not.
async fn sets(stage: &Stage, double: &Double) {
    let mut named: Vec<&str> = stage.proof.sets.iter().map(|(set, ..)| *set).collect();
    named.sort_unstable();
    named.dedup();
    let mut written = stage.written.sets();
    written.sort_unstable();
    assert_eq!(named, written, "each set of operations has a request in it and one that is not");
    let mark = stage.written.placeholder().unwrap_or_default();
    for (set, inside, outside) in &stage.proof.sets {
        let curl = stage.curl(&format!("set-{set}"));
        for (request, passes) in [(inside, true), (outside, false)] {
            let (method, url) = request.split_once(' ').expect("METHOD URL");
            // In each place where a client could write what stands for the credential.
            let asked = curl.request(method.parse().unwrap(), url.replace("{placeholder}", mark));
            let asked = asked.basic_auth("me", Some(mark)).json(&serde_json::json!({"routing_key": mark}));
            let answer = asked.send().await.unwrap();
            let denied = answer.headers().get("claviger-refused").is_some_and(|code| code == "denied");
            let body = answer.text().await.unwrap();
            // A login is answered by Claviger itself.
            let reached = !double.take().is_empty() || body.contains("\"clvh_");
            assert_eq!((denied, reached), (!passes, passes), "@{set}, {request}: {body}");
        }
    }
}

/// Whatever else a client shows, in every place that the preset strips, does not go upstream; without one place in `strip`
/// it does, and the double refuses that.
async fn strips(stage: &mut Stage, double: &Double) {
    let strip = stage.written.strip();
    let answer = stage.shows(&strip).await;
    assert!(answer.status().is_success(), "{answer:?}: {:#?}", double.take());
    double.take_good("a request with all that is stripped");
    for place in &strip {
        let kept: Vec<&String> = strip.iter().filter(|other| *other != place).collect();
        assert!(stage.change(&format!("strip = {kept:?}")), "`{place}`");
        let answer = stage.shows(&strip).await;
        let verdicts = double.take();
        let problem = verdicts.first().and_then(|verdict| verdict.problem.as_deref()).unwrap_or_default();
        let named = if place.starts_with("query:") { "the URL".to_owned() } else { format!("`{place}`") };
        assert!(
            problem.starts_with("credential: ") && problem.contains(&named),
            "without `{place}` in `strip`: {} {verdicts:#?}",
            answer.status()
        );
    }
}

/// A value that stands in one more place than the API asks for is refused.
async fn once(stage: &mut Stage, double: &Double) {
    let fields: Vec<&str> = stage.proof.keys.iter().map(|(field, _)| *field).collect();
    let twice = stage.written.once_more(&fields);
    assert!(stage.change(&format!("inject = {twice}")));
    stage.shows(&[]).await;
    let verdicts = double.take();
    let problem = verdicts.first().and_then(|verdict| verdict.problem.as_deref()).unwrap_or_default();
    assert!(problem.starts_with("credential: ") && problem.contains(" places instead of "), "{verdicts:#?}");
}

/// With any injection changed the double refuses the credential of somebody, and each client is somebody.
fn breaks(stage: &mut Stage, double: &Double, actors: &mut [Actor]) {
    let fields: Vec<&str> = stage.proof.keys.iter().map(|(field, _)| *field).collect();
    let mutants = stage.written.mutants(&fields);
    assert!(!mutants.is_empty());
    let mut failed = vec![false; actors.len()];
    for mutant in mutants {
        let loaded = stage.change(&format!("inject = {}", mutant.inject));
        if !loaded && mutant.kind == Kind::Elsewhere {
            continue;
        }
        assert!(loaded, "{}: it does not load", mutant.change);
        double.take();
        let turns: Vec<bool> = actors.iter_mut().map(|actor| !actor.turn()).collect();
        let verdicts = double.take();
        assert!(turns.contains(&true), "{}: every client still works: {verdicts:#?}", mutant.change);
        let refused = verdicts.iter().any(Verdict::is_of_the_credential);
        assert!(refused || mutant.kind == Kind::NotKept, "{}: {verdicts:#?}", mutant.change);
        for (failed, turn) in failed.iter_mut().zip(turns) {
            *failed |= turn;
        }
    }
    assert!(!failed.contains(&false), "each client depends on some injection: {failed:?}");
}

/// The preset's `check` tells a right value from a wrong one, as far as the service does.
fn probes(stage: &mut Stage, double: &Double) {
    if !stage.written.checks() {
        return;
    }
    assert!(stage.change(stage.proof.probed_with));
    for (field, value) in &stage.proof.keys {
        let (taken, said) = stage.probe(field, WRONG);
        let expected = match stage.proof.refusal.status.as_u16() {
            // All that can be said of a bad request is that it says nothing; so nothing is changed.
            400 => (false, "is not known"),
            // It tells in the body, which a probe does not read.
            200 => (true, "takes the value"),
            _ => (false, "does not take the value"),
        };
        assert!(taken == expected.0 && said.contains(expected.1), "`{field}` is wrong: {said}");
        assert!(double.take().iter().any(Verdict::is_of_the_credential), "`{field}` is wrong: the double said nothing");
        let (taken, said) = stage.probe(field, value);
        assert!(taken, "`{field}` is right: {said}");
        double.take_good("a right value is probed");
    }
}
