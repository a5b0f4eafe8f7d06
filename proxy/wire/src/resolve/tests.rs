use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::address::AddressClass;

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

type Addresses = &'static [&'static str];
type Scene = Result<Addresses, &'static str>;

/// Answers from a list, the last again and again, each when the gate lets it through.
struct Scripted {
    asked: AtomicUsize,
    answers: Mutex<VecDeque<Result<Vec<IpAddr>, &'static str>>>,
    gate: Arc<Semaphore>,
}

impl Lookup for Arc<Scripted> {
    fn addresses(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let gate = Arc::clone(&self.gate);
        async move {
            gate.acquire().await.unwrap().forget();
            answer.unwrap().map_err(io::Error::other)
        }
        .boxed()
    }
}

fn scripted(answers: &[Scene], gate: usize) -> (Arc<Scripted>, Resolver) {
    scripted_with_ttl(answers, gate, LONG)
}

fn scripted_with_ttl(answers: &[Scene], gate: usize, ttl: Duration) -> (Arc<Scripted>, Resolver) {
    let parsed = answers.iter().map(|answer| answer.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect()));
    let script = Arc::new(Scripted {
        asked: AtomicUsize::new(0),
        answers: Mutex::new(parsed.collect()),
        gate: Arc::new(Semaphore::new(gate)),
    });
    let resolver = Resolver::with(Box::new(Arc::clone(&script)), ttl, ttl);
    (script, resolver)
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn loopback() -> AddressGuard {
    AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()])
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn only_permitted_addresses_are_left() {
    let table: [(Addresses, Result<Addresses, AddressClass>); 5] = [
        (&["8.8.8.8", "10.0.0.1"], Ok(&["8.8.8.8"])),
        (&["10.0.0.1"], Err(AddressClass::Private)),
        (&["127.0.0.1", "10.0.0.1"], Err(AddressClass::Loopback)),
        (&["169.254.169.254"], Err(AddressClass::Metadata)),
        (&["2606:4700::1", "2606:4700::2", "8.8.8.8"], Ok(&["2606:4700::1", "8.8.8.8", "2606:4700::2"])),
    ];
    for (answer, expected) in table {
        let (_, resolver) = scripted(&[Ok(answer)], 1);
        match (resolver.resolve(&host("a.test"), &AddressGuard::default()).await, expected) {
            (Ok(ips), Ok(expected)) => assert_eq!(ips.iter().map(IpAddr::to_string).collect::<Vec<_>>(), expected),
            (Err(DialError::Refused(refused)), Err(class)) => assert_eq!(refused.class, class),
            (answer, expected) => panic!("{answer:?} is not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn an_address_needs_no_lookup_but_the_guard() {
    let (script, resolver) = scripted(&[Err("never asked")], 0);
    assert_eq!(
        resolver.resolve(&host("8.8.8.8"), &AddressGuard::default()).await.unwrap(),
        ["8.8.8.8".parse::<IpAddr>().unwrap()]
    );
    for refused in ["127.0.0.1", "::ffff:10.0.0.1", "fe80::1"] {
        let error = resolver.resolve(&host(refused), &AddressGuard::default()).await.unwrap_err();
        assert_eq!(error.code(), "address_refused", "{refused}");
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn askers_share_one_lookup_even_if_the_first_gives_up() {
    let (script, resolver) = scripted(&[Ok(&["8.8.8.8"])], 0);
    let (name, guard) = (host("a.test"), AddressGuard::default());
    let given_up = tokio::time::timeout(SOON, resolver.resolve(&name, &guard)).await;
    assert!(given_up.is_err());
    let waiting = futures_util::future::join_all((0..8).map(|_| resolver.resolve(&name, &guard)));
    script.gate.add_permits(1);
    for answer in waiting.await {
        assert_eq!(answer.unwrap().len(), 1);
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_is_used_again_until_it_ends() {
    for (ttl, asked) in [(LONG, 1), (Duration::ZERO, 3)] {
        for answer in [Scene::Ok(&["8.8.8.8"]), Err("no such name")] {
            let (script, resolver) = scripted_with_ttl(&[answer], 3, ttl);
            for _ in 0..3 {
                let got = resolver.resolve(&host("a.test"), &AddressGuard::default()).await;
                assert_eq!(got.is_ok(), answer.is_ok());
            }
            assert_eq!(script.asked.load(Ordering::SeqCst), asked, "{ttl:?} {answer:?}");
        }
    }
}

/// The second answer of a name that changes its mind is judged anew, and never dialled unjudged.
#[tokio::test]
async fn a_rebinding_name_gains_nothing() {
    let (_, resolver) = scripted_with_ttl(&[Ok(&["8.8.8.8"]), Ok(&["127.0.0.1"])], 2, Duration::ZERO);
    let guard = AddressGuard::default();
    assert!(resolver.resolve(&host("a.test"), &guard).await.is_ok());
    let (_listener, port) = listener().await;
    let authority = Authority { host: host("a.test"), port };
    assert_eq!(resolver.dial(&authority, &guard, None, LONG).await.unwrap_err().code(), "address_refused");
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let (_, resolver) = scripted(&[Ok(&["8.8.8.8"])], NAMES_MAX + 10);
    for n in 0..NAMES_MAX + 10 {
        assert!(resolver.resolve(&host(&format!("h{n}.test")), &AddressGuard::default()).await.is_ok());
    }
    assert_eq!(resolver.0.names.len(), NAMES_MAX);
}

#[test]
fn a_lookup_that_died_with_its_runtime_is_asked_again() {
    let (script, resolver) = scripted(&[Ok(&["8.8.8.8"])], 0);
    let (name, guard) = (host("a.test"), AddressGuard::default());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let given_up = runtime().block_on(async { tokio::time::timeout(SOON, resolver.resolve(&name, &guard)).await });
    assert!(given_up.is_err());
    script.gate.add_permits(1);
    assert_eq!(runtime().block_on(resolver.resolve(&name, &guard)).unwrap().len(), 1);
    assert_eq!(script.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_lookup_that_panics_is_a_failure() {
    let (script, resolver) = scripted(&[], TRIES_MAX);
    let error = resolver.resolve(&host("a.test"), &AddressGuard::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "`a.test` does not resolve: the look-up was given up");
    assert_eq!(script.asked.load(Ordering::SeqCst), TRIES_MAX);
}

#[tokio::test]
async fn dials_what_was_resolved_with_its_options_set() {
    let (listener, port) = listener().await;
    let (script, resolver) = scripted(&[Ok(&["10.0.0.1", "127.0.0.1"])], 1);
    let authority = Authority { host: host("a.test"), port };
    let stream = resolver.dial(&authority, &loopback(), None, LONG).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    assert!(stream.nodelay().unwrap());
    assert!(SockRef::from(&stream).keepalive().unwrap());
    assert_eq!(script.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn connect_replaces_the_name_but_not_the_guard() {
    let (listener, port) = listener().await;
    let (script, resolver) = scripted(&[Err("never asked")], 0);
    let authority = Authority { host: host("api.test"), port: 443 };
    let connect = Authority { host: host("127.0.0.1"), port };
    let stream = resolver.dial(&authority, &loopback(), Some(&connect), LONG).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    let error = resolver.dial(&authority, &AddressGuard::default(), Some(&connect), LONG).await.unwrap_err();
    assert_eq!(error.code(), "address_refused");
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let (listener, port) = listener().await;
    drop(listener);
    let authority = Authority { host: host("a.test"), port };
    let table: [(Scene, usize, Duration, &str, &str); 4] = [
        (Ok(&["127.0.0.1"]), 1, LONG, "connect_failed", "failed to connect to `127.0.0.1:"),
        (Ok(&[]), 1, LONG, "no_such_host", "`a.test` does not resolve: it has no address"),
        (Err("no such name"), 1, LONG, "no_such_host", "`a.test` does not resolve: no such name"),
        (Ok(&["127.0.0.1"]), 0, SOON, "connect_timeout", "no connection to `a.test:"),
    ];
    for (answer, gate, timeout, code, text) in table {
        let (_, resolver) = scripted(&[answer], gate);
        let error = resolver.dial(&authority, &loopback(), None, timeout).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[tokio::test]
async fn the_first_connection_wins() {
    #[derive(Clone, Copy)]
    enum Attempt {
        Hangs,
        Fails(u8),
        Opens(u8),
    }
    use Attempt::{Fails, Hangs, Opens};
    type Expected = Option<Result<u8, u8>>;
    let table: [(&[Attempt], Expected); 7] = [
        (&[], None),
        (&[Opens(1), Opens(2)], Some(Ok(1))),
        (&[Fails(1), Opens(2)], Some(Ok(2))),
        (&[Fails(1), Fails(2)], Some(Err(2))),
        (&[Hangs, Opens(2)], Some(Ok(2))),
        (&[Hangs, Fails(2), Opens(3)], Some(Ok(3))),
        (&[Hangs, Hangs, Opens(3)], Some(Ok(3))),
    ];
    for (attempts, expected) in table {
        let open = |attempt| async move {
            match attempt {
                Hangs => std::future::pending().await,
                Fails(n) => Err(n),
                Opens(n) => Ok(n),
            }
        };
        assert_eq!(race::first(attempts.iter().copied(), open, Duration::from_millis(1)).await, expected);
    }
}

#[tokio::test]
async fn the_system_resolves_localhost() {
    let resolver = Resolver::new();
    let error = resolver.resolve(&host("localhost"), &AddressGuard::default()).await.unwrap_err();
    assert!(matches!(error, DialError::Refused(AddressRefused { class: AddressClass::Loopback, .. })), "{error}");
    assert!(
        !resolver
            .resolve(
                &host("localhost"),
                &AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()])
            )
            .await
            .unwrap()
            .is_empty()
    );
}
