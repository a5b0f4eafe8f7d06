//! What a lease that is at hand costs a request.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench stops by panicking")]

#[path = "../tests/support/joined.rs"]
mod joined;

use std::hint::black_box;

use claviger_contract::Secret;
use claviger_credential::{LeaseAnswer, SealedStore};
use criterion::{Criterion, criterion_group, criterion_main};

fn lease(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = SealedStore::open(folder.path());
    let mut text =
        String::from("[service.api]\nhosts = [\"api.test\"]\n[workload.me]\nspiffe = \"spiffe://acme.test/me\"\n");
    for n in 0..100 {
        let secret = Secret::from(format!("sk-0123456789abcdef-{n}"));
        store.set(&format!("key-{n}"), secret, vec!["api.test".to_owned()], None).unwrap();
        text += &format!("[credential.key-{n}]\nkind = \"static\"\nvalue = \"secret://sealed/key-{n}\"\n");
    }
    text += "[credential.exchanged]\nkind = \"oauth2\"\ngrant = \"token_exchange\"\ntoken_url = \"https://login.test/token\"\n\
             subject_token = { from = \"proof\" }\nhosts = [\"api.test\"]\n";
    text += "[allow.api]\nwho = \"me\"\nto = \"api\"\nops = [\"*\"]\nuse = \"key-7\"\n";
    let joined = joined::Joined::load(folder.path(), runtime.handle().clone(), &text);
    let grant = joined.grant("api.test");
    criterion.bench_function("lease/hit", |bencher| {
        bencher.iter(|| joined.credentials.lease(black_box("key-7"), &grant, &joined.attested, true));
    });
    // One of each caller's own, by all that is attested of it and its proof.
    if let LeaseAnswer::Wait(minting) = joined.credentials.lease("exchanged", &grant, &joined.attested, true) {
        runtime.block_on(minting).unwrap();
    }
    criterion.bench_function("lease/hit of a caller's own", |bencher| {
        bencher.iter(|| joined.credentials.lease(black_box("exchanged"), &grant, &joined.attested, true));
    });
}

criterion_group!(benches, lease);
criterion_main!(benches);
