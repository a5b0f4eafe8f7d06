use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{Attributes, Inputs, SpiffeId, TrustDomain};
use http::Request;

use super::*;

const TELEGRAM: &str = "110201543:CLAVIGER-placeholder-00000000000000";

fn key() -> Arc<CanaryKey> {
    Arc::new(CanaryKey::new(&Secret::new(vec![7; KEY])))
}

fn policy() -> Policy {
    let text =
        "[workload.app]\nspiffe = \"spiffe://acme.test/app\"\n[workload.job]\nspiffe = \"spiffe://acme.test/job\"\n";
    let mut out = Diagnostics::default();
    let mut root = parse(&SourceFile::new("test.toml", text), &mut out).unwrap();
    let inputs = Inputs {
        trust_domain: TrustDomain::parse("acme.test").unwrap(),
        services: Vec::new(),
        credentials: Vec::new(),
        teams: Vec::new(),
        generation: 1,
    };
    let policy = claviger_policy::compile(&mut root, inputs, &mut out);
    assert!(!out.has_errors(), "{out:?}");
    policy.unwrap()
}

fn principal(name: &str) -> Principal {
    let id = SpiffeId::parse(&format!("spiffe://acme.test/{name}")).unwrap();
    Principal { id, attested_by: "test".into(), attributes: Attributes::default() }
}

fn canaries() -> Canaries {
    let services = vec![
        ("telegram".into(), vec![TELEGRAM.into()]),
        ("events".into(), vec!["SHORT".into()]),
        ("api".into(), vec![]),
    ];
    Canaries::new(key(), &policy(), services)
}

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn canaries_differ_by_workload_service_and_key_and_nothing_else() {
    let (key, other) = (key(), CanaryKey::new(&Secret::new(vec![8; KEY])));
    let app = key.canary("app", Some("api"));
    assert_eq!((app.len(), app.clone()), (CANARY, key.canary("app", Some("api"))));
    assert!(
        is_canary(&app) && is_canary(&format!("sk-{app}")) && !is_canary("sk-clvgr") && !is_canary(&format!("{app}-"))
    );
    let all = [
        app,
        key.canary("app", None),
        key.canary("app", Some("telegram")),
        key.canary("job", Some("api")),
        other.canary("app", Some("api")),
        // Names cannot run into each other.
        key.canary("appa", Some("pi")),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[at + 1..].contains(one), "{one}");
    }
    assert!(!format!("{key:?}").contains('7'));
}

/// Each place, of whom it is, and whether another may show it.
#[test]
fn one_is_found_wherever_it_stands() {
    let canary = key().canary("app", Some("api"));
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let check = |uri: &str, headers: &[(&str, &str)], place: &str| {
        let (canaries, mut head) = (canaries(), head(uri, headers));
        let found = canaries.spot(&mut head);
        let expected = Spotted { workload: "app".into(), service: Some("api".into()), place: place.into() };
        assert_eq!(found, [expected], "{uri} {headers:?}");
        let policy = policy();
        assert_eq!(stolen(&found, &policy, &principal("app"), "api"), None);
        for (who, service) in [("job", "api"), ("app", "telegram"), ("app-2", "api")] {
            let stolen = stolen(&found, &policy, &principal(who), service).unwrap();
            assert_eq!(
                stolen.refusal().detail,
                format!("the placeholder of workload `app` for service `api` stood in {place}")
            );
        }
    };
    check("https://a.test/", &[("authorization", &format!("Bearer sk-proj-{canary}"))], "the header `authorization`");
    check("https://a.test/", &[("x-api-key", &canary)], "the header `x-api-key`");
    check("https://a.test/", &[("cookie", &format!("a=b; s={canary}; c=d"))], "the header `cookie`");
    check("https://a.test/", &[("authorization", &basic(format!("user:ghp_{canary}")))], "the header `authorization`");
    check(&format!("https://a.test/x/{canary}/y"), &[], "the URL");
    check(&format!("https://a.test/x?key={canary}&z=1"), &[], "the URL");
    check(&format!("https://{canary}.evil.test/"), &[], "the name of the host");
    check("/", &[("host", &format!("x.{}.evil.test:80", canary.to_ascii_uppercase()))], "the name of the host");
}

#[test]
fn a_text_that_is_like_one_is_a_text() {
    let (own, foreign) =
        (key().canary("app", Some("api")), CanaryKey::new(&Secret::new(vec![8; KEY])).canary("app", None));
    let unknown = key().canary("nobody", Some("api"));
    let short = own[..CANARY - 1].to_owned();
    let wrong = format!("{}a", &own[..CANARY - 1]);
    for text in [foreign, unknown, short, wrong.replace("aa", "ab"), "clvgrclvgrclvgrclvgrclvgrclvgr".to_owned()] {
        if text == own {
            continue;
        }
        let (canaries, mut head) = (canaries(), head(&format!("https://a.test/{text}"), &[("x", &text)]));
        let before = head.uri.clone();
        assert_eq!(canaries.spot(&mut head), [], "{text}");
        assert_eq!((head.uri, head.headers["x"].to_str().unwrap()), (before, &*text));
    }
}

#[test]
fn what_a_client_shows_becomes_what_rules_and_injections_know() {
    let canary = |service| key().canary("app", service);
    for service in [Some("telegram"), None] {
        let shown = in_shape_of(TELEGRAM, &canary(service));
        let mut head = head(&format!("https://t.test/bot{shown}/getMe?x=1"), &[("x-key", &format!("<{shown}>"))]);
        assert_eq!(canaries().spot(&mut head).len(), 2);
        assert_eq!(head.uri.to_string(), format!("https://t.test/bot{TELEGRAM}/getMe?x=1"));
        assert_eq!(head.headers["x-key"], format!("<{TELEGRAM}>"));
    }
    let (shown, mut found) = (in_shape_of("SHORT", &canary(Some("events"))), Vec::new());
    let mut head = head("https://t.test/", &[("content-length", "99")]);
    let body = Bytes::from(format!("{{\"key\":\"{shown}\",\"again\":\"{shown}\"}}"));
    let body = canaries().spot_in_body(&mut head, body, &mut found);
    assert_eq!(body, "{\"key\":\"SHORT\",\"again\":\"SHORT\"}");
    assert_eq!((found.len(), head.headers["content-length"].to_str().unwrap()), (1, "31"));
}

/// The own one beside a stolen one does not hide it.
#[test]
fn all_of_them_count() {
    let (own, stolen_one) = (key().canary("job", Some("api")), key().canary("app", None));
    let mut head = head("https://a.test/", &[("authorization", &format!("Bearer {own}")), ("x-also", &stolen_one)]);
    let found = canaries().spot(&mut head);
    assert_eq!(found.len(), 2);
    assert_eq!(&*stolen(&found, &policy(), &principal("job"), "api").unwrap().workload, "app");
    assert_eq!(stolen(&found, &policy(), &principal("job"), "api").unwrap().service, None);
}
