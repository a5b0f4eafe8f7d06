//! A hundred configurations under 500 requests a second.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, World};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::load::Load;

/// A client that ignores the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Two configurations that differ in all that a request takes of one: rule, credential, secret and header.
fn variant(world: &World, port: u16, which: &str) -> String {
    let credential = format!("[credential.key-{which}]\nkind = \"static\"\nvalue = \"secret://sealed/{which}\"\n");
    world
        .usual(port, &credential)
        .replace(
            "inject = [\"bearer\"]\nsecret = \"secret://sealed/api\"",
            &format!("inject = {{ header = \"x-{which}\" }}"),
        )
        .replace("[allow.app-api]", &format!("[allow.rule-{which}]\nuse = \"key-{which}\""))
}

/// Files that must not be put in force, each wrong in its own way.
fn bad(world: &World, port: u16, round: usize) -> String {
    let good = variant(world, port, "b");
    match round % 5 {
        0 => "version = ".to_owned(),
        1 => good.replace("key-b", "key-c").replacen("[credential.key-c]", "[credential.key-d]", 1),
        2 => {
            good + "[[test]]\nas = \"spiffe://acme.test/ci/app\"\nrequest = \"GET https://api.test/v1/x\"\nexpect = \"deny\"\n"
        }
        3 => good.replace("secret://sealed/b", "secret://sealed/nobody"),
        _ => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_mix_nothing_and_fail_no_request() {
    let world = World::new();
    let keys = ["a", "b"].map(|which| (which, format!("{}-{which}", world.canary)));
    let seen: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let (expected, seeing) = (keys.clone(), seen.clone());
    // What the request shows of its configuration: the headers that hold a key, and whose key it is.
    let answer = handler(move |request: Request<Incoming>| {
        let mut shown = String::new();
        for which in ["a", "b"] {
            let value = request.headers().get(format!("x-{which}")).map(|value| value.as_bytes());
            let key = value.map(|value| keys_name(&expected, value));
            shown += &key.map_or(String::new(), |key| format!("{which}={key} "));
        }
        let trace = request.headers()["traceparent"].to_str().unwrap().split('-').nth(1).unwrap().to_owned();
        let twice = seeing.lock().unwrap().insert(trace, shown);
        assert_eq!(twice, None, "sent twice");
        async {
            // An upstream that does not read what it is sent breaks connections, which is not what is looked at here.
            let read = request.into_body().collect().await;
            Response::new(full(if read.is_ok() { "ok" } else { "broken" }))
        }
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], answer).await;
    for (which, key) in &keys {
        world.seal(which, key, &["api.test"]);
    }
    world.configure(&variant(&world, origin.port(), "a"));
    let proxy = world.start();
    let mut of_generation = HashMap::from([(1_u64, "a")]);
    let load = Load::start(&world, &proxy, 500);
    load.pass(50).await;
    for round in 0..100 {
        let which = ["b", "a"][round / 2 % 2];
        match round % 2 {
            0 => {
                world.configure(&variant(&world, origin.port(), which));
                let said = proxy.wait_for_line("is in force");
                let number = said.split(' ').find_map(|word| word.parse().ok()).unwrap();
                assert_eq!(of_generation.insert(number, which), None);
            }
            _ => {
                world.configure(&bad(&world, origin.port(), round / 2));
                proxy.wait_for_line("was not reloaded");
            }
        }
        load.pass_one().await;
    }
    let (answers, rate) = load.end().await;
    println!("{} requests, {rate:.0} a second, over {} generations", answers.len(), of_generation.len());
    assert_eq!(of_generation.len(), 51);
    let decided = proxy.records("decided", answers.len());
    let lost: Vec<_> = answers.iter().filter(|(_, answer)| **answer != Ok(200)).collect();
    let first = lost.first().and_then(|(trace, _)| decided.iter().find(|record| record["trace_id"] == **trace));
    let ended = proxy.records("finished", answers.len());
    let ended = first.and_then(|first| ended.into_iter().find(|record| record["id"] == first["id"]));
    assert!(lost.is_empty(), "{} of {} were lost: {:?}: {first:?} {ended:?}", lost.len(), answers.len(), lost.first());
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), answers.len());
    assert_eq!(decided.len(), answers.len());
    let mut served = HashSet::new();
    for record in &decided {
        let generation = record["generation"].as_u64().unwrap();
        let which = of_generation[&generation];
        served.insert(generation);
        assert_eq!(seen[record["trace_id"].as_str().unwrap()], format!("{which}={which} "), "{record}");
        assert_eq!(record["rule"], format!("rule-{which}"), "{record}");
        assert_eq!(record["credential"]["name"], format!("key-{which}"), "{record}");
    }
    assert_eq!(served.len(), 51, "each generation served");
}

fn keys_name(keys: &[(&'static str, String)], value: &[u8]) -> &'static str {
    keys.iter().find(|(_, key)| key.as_bytes() == value).map_or("unknown", |(which, _)| which)
}
