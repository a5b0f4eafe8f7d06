//! What writing a credential into a request costs: the head is copied, its slots are emptied and filled. The grant and the
//! lease are made anew for each, outside the measurement.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench stops by panicking")]

#[path = "../tests/support/joined.rs"]
mod joined;

use std::hint::black_box;

use claviger_contract::Secret;
use claviger_credential::{InjectionPlan, LeaseAnswer, SealedStore, inject};
use claviger_policy::Scheme;
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Request;

const PLANS: [(&str, &str); 3] = [
    ("bearer", "inject = [\"bearer\"]"),
    ("header", "inject = [{ header = \"x-api-key\" }]\nstrip = [\"x-debug-key\"]"),
    ("query", "inject = { query = \"key\" }"),
];

fn injection(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = Secret::from("sk-0123456789abcdef".to_owned());
    SealedStore::open(folder.path()).set("key", secret, vec!["api.test".to_owned()], None).unwrap();
    let text = "[service.api]\nhosts = [\"api.test\"]\n[workload.me]\nspiffe = \"spiffe://acme.test/me\"\n\
                [credential.key]\nkind = \"static\"\nvalue = \"secret://sealed/key\"\n\
                [allow.api]\nwho = \"me\"\nto = \"api\"\nops = [\"*\"]\nuse = \"key\"\n";
    let joined = joined::Joined::load(folder.path(), runtime.handle().clone(), text);
    let request = Request::post("/v1/chat/completions")
        .header("host", "gateway.test")
        .header("user-agent", "openai-python/2.1.0")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("content-length", "2048")
        .header("authorization", "Bearer placeholder-of-the-client")
        .header("x-stainless-lang", "python");
    let (head, ()) = request.body(()).unwrap().into_parts();
    for (name, text) in PLANS {
        let mut out = Diagnostics::default();
        let mut root = parse(&SourceFile::new("c.toml", text), &mut out).unwrap();
        let plan = InjectionPlan::take(&mut root, &[], Scheme::Https, &mut out).unwrap();
        let permitted = || {
            let grant = joined.grant("api.test");
            match joined.credentials.lease("key", &grant, &joined.attested, true) {
                LeaseAnswer::Ready(lease) => (grant, lease),
                LeaseAnswer::Wait(_) => panic!("the lease is not at hand"),
            }
        };
        criterion.bench_function(&format!("inject/{name}"), |bencher| {
            bencher.iter_batched(
                permitted,
                |(grant, lease)| inject(grant, Some(lease), &plan, Box::new(black_box(&head).clone()), None).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, injection);
criterion_main!(benches);
