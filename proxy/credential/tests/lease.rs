//! From a sealed secret to an injected header, through the public API; and what a hit costs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "a global allocator that counts can only be written with unsafe")]

#[path = "support/joined.rs"]
mod joined;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use claviger_contract::Secret;
use claviger_credential::{InjectError, InjectionPlan, Lease, LeaseAnswer, SealedStore, inject};
use claviger_policy::Grant;
use claviger_policy::document::{Diagnostics, SourceFile, parse};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNT.with(Cell::get);
    let result = black_box(work());
    (result, COUNT.with(Cell::get) - before)
}

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| vec![1_u8]).1, 1);
}

const CONFIG: &str = r#"
[service.api]
hosts = ["api.test", "other.test"]
[workload.me]
spiffe = "spiffe://acme.test/me"
[credential.key]
kind = "static"
value = "secret://sealed/key"
[credential.exchanged]
kind = "oauth2"
grant = "token_exchange"
token_url = "https://login.test/token"
subject_token = { from = "proof" }
hosts = ["api.test"]
[allow.api]
who = "me"
to = "api"
ops = ["*"]
use = "key"
"#;

fn sealed(hosts: &[&str]) -> (tempfile::TempDir, joined::Joined) {
    let folder = tempfile::tempdir().unwrap();
    let store = SealedStore::open(folder.path());
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    store.set("key", Secret::from("sk-0123456789abcdef".to_owned()), hosts, None).unwrap();
    let joined = joined::Joined::load(folder.path(), tokio::runtime::Handle::current(), CONFIG);
    (folder, joined)
}

fn ready(answer: LeaseAnswer) -> Arc<Lease> {
    match answer {
        LeaseAnswer::Ready(lease) => lease,
        LeaseAnswer::Wait(_) => panic!("not at hand"),
    }
}

#[tokio::test]
async fn a_hit_allocates_nothing() {
    let (_folder, joined) = sealed(&["api.test", "other.test"]);
    let grant = joined.grant("api.test");
    ready(joined.credentials.lease("key", &grant, &joined.attested, true));
    for _ in 0..100 {
        let (answer, allocations) = count(|| joined.credentials.lease("key", &grant, &joined.attested, true));
        ready(answer);
        assert_eq!(allocations, 0);
    }
}

/// Also where each caller has its own: what it is kept under is digested, and nothing is allocated for that.
#[tokio::test]
async fn a_hit_of_a_caller_s_own_allocates_nothing() {
    let (_folder, joined) = sealed(&["api.test", "other.test"]);
    let grant = joined.grant("api.test");
    match joined.credentials.lease("exchanged", &grant, &joined.attested, true) {
        LeaseAnswer::Wait(minting) => drop(minting.await.unwrap()),
        LeaseAnswer::Ready(_) => panic!("nobody asked before"),
    }
    for _ in 0..100 {
        let (answer, allocations) = count(|| joined.credentials.lease("exchanged", &grant, &joined.attested, true));
        ready(answer);
        assert_eq!(allocations, 0);
    }
}

#[tokio::test]
async fn a_lease_is_injected_where_it_is_bound_whatever_policy_said() {
    let (_folder, joined) = sealed(&["api.test", "other.test"]);
    let mut out = Diagnostics::default();
    let mut table = parse(&SourceFile::new("service", "inject = [\"bearer\"]"), &mut out).unwrap();
    let plan = InjectionPlan::take(&mut table, &[], claviger_policy::Scheme::Https, &mut out)
        .unwrap_or_else(|| panic!("{out:?}"));
    let send = |grant: Grant, lease: Arc<Lease>| {
        let (head, ()) = http::Request::builder().uri("/").body(()).unwrap().into_parts();
        inject(grant, Some(lease), &plan, Box::new(head), None)
    };
    let lease = ready(joined.credentials.lease("key", &joined.grant("other.test"), &joined.attested, true));
    let injected = send(joined.grant("other.test"), lease).unwrap();
    assert_eq!(injected.headers().get("authorization").unwrap(), "Bearer sk-0123456789abcdef");
    // The same name, sealed for one host only; the policy is the one that allows both.
    let (_other_folder, narrow) = sealed(&["api.test"]);
    let lease = || ready(narrow.credentials.lease("key", &joined.grant("api.test"), &joined.attested, true));
    assert!(send(joined.grant("api.test"), lease()).is_ok());
    let refused = send(joined.grant("other.test"), lease()).unwrap_err();
    assert!(matches!(refused, InjectError::NotBound), "{refused:?}");
}
