//! Who may show which handle, where it may stand, and what is asked.

use std::sync::Arc;

use claviger_contract::{Attested, Proof, ProofDigest};
use claviger_credential::InjectionPlan;
use claviger_policy::document::{Diagnostics, Located, SourceFile, parse};
use claviger_policy::{Attributes, Authority, PathMode, Principal, Scheme, ServiceRoute, SpiffeId, Target};
use http::request::Parts;
use http::{Method, Request};
use serde_json::json;

use super::*;
use crate::settings::ServiceSettings;

const NOW: i64 = 1_800_000_000;

fn service(keys: &str, key: &HandleKey) -> Service {
    let mut out = Diagnostics::default();
    let text = format!("hosts = [\"api.test\"]\n{keys}\n");
    let mut table = parse(&SourceFile::new("test", text), &mut out).unwrap();
    let name = Located { value: "crm".to_owned(), location: table.location().clone() };
    let route = ServiceRoute::take(name, &mut table, &mut out).unwrap();
    let plan = InjectionPlan::take(&mut table, route.hosts(), Scheme::Https, &mut out).unwrap();
    let settings = ServiceSettings::take(Scheme::Https, route.hosts(), &mut table, &mut out);
    table.finish(&mut out);
    assert!(out.is_empty(), "{:?}", out.iter().map(|one| &one.message).collect::<Vec<_>>());
    let login = settings.login.clone().unwrap();
    Service::new(&route, &settings, plan, None).unwrap().with_login(login, key.clone(), None)
}

fn attested(id: &str) -> Attested {
    let id = SpiffeId::parse(id).unwrap();
    let principal = Arc::new(Principal { id, attributes: Attributes::default(), attested_by: "test".into() });
    Attested { principal, proof: Arc::new(Proof { digest: ProofDigest([0; 32]), expires_at: None, token: None }) }
}

fn caller(attested: &Attested) -> Caller<'_> {
    Caller { attested, service: "crm", listener: "egress", now: NOW }
}

fn target(path: &str) -> Target {
    Target::parse(Scheme::Https, Authority::parse("api.test", 443).unwrap(), path, PathMode::Strict).unwrap()
}

fn head(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

const OAUTH2: &str = "inject = \"bearer\"\nlogin = { oauth2 = { path = \"/oauth/token\", revoke = \"/oauth/revoke\", \
                      introspect = \"/oauth/introspect\" } }";
const VAULT: &str = "inject = { header = \"x-vault-token\" }\nlogin = \"vault\"";

fn handle(service: &Service, attested: &Attested, ends: Option<i64>) -> String {
    let login = service.login.as_deref().unwrap();
    login.handle(caller(attested), ends).unwrap().0
}

/// The code, the finer reason, and whose it was.
type Found = Result<(), (&'static str, &'static str, Option<String>)>;

fn check(service: &Service, path: &str, head: &mut Parts, caller: Caller<'_>) -> Found {
    let target = target(path);
    let mut asked = Login::asked(service, &target, &Method::POST).unwrap();
    asked.check(service, &target, head, caller).map_err(|refusal| {
        let owner = refusal.alert.map(|alert| alert.workload.to_string());
        (refusal.code.as_str(), refusal.reason, owner)
    })
}

#[test]
fn a_handle_is_its_owners_at_one_service_and_listener_until_its_end() {
    let (key, _) = HandleKey::generate().unwrap();
    let service = service(OAUTH2, &key);
    let (app, other) = (attested("spiffe://acme.test/app"), attested("spiffe://acme.test/other"));
    let text = handle(&service, &app, Some(NOW + 60));
    let bearer = format!("Bearer {text}");
    let shown = |caller: Caller<'_>| check(&service, "/v1/x", &mut head(&[("authorization", &bearer)]), caller);
    assert_eq!(shown(caller(&app)), Ok(()));
    assert_eq!(shown(Caller { now: NOW + 59, ..caller(&app) }), Ok(()));
    let invalid = |reason| Err(("handle_invalid", reason, None));
    assert_eq!(shown(Caller { now: NOW + 60, ..caller(&app) }), invalid("handle_expired"));
    assert_eq!(shown(Caller { listener: "local", ..caller(&app) }), invalid("handle_elsewhere"));
    let stolen = Err(("handle_stolen", "handle_stolen", Some("spiffe://acme.test/app".to_owned())));
    assert_eq!(shown(caller(&other)), stolen);
    assert_eq!(shown(Caller { now: NOW + 3_600, ..caller(&other) }), stolen, "also after its end");
    // Another service of the same Claviger.
    let elsewhere = service_named("erp", &key);
    let mut shown = head(&[("authorization", &bearer)]);
    assert_eq!(check(&elsewhere, "/v1/x", &mut shown, caller(&app)), invalid("handle_elsewhere"));
}

fn service_named(name: &str, key: &HandleKey) -> Service {
    let mut other = service(OAUTH2, key);
    let settings = other.login.take().unwrap().settings;
    other.name = name.into();
    other.with_login(settings, key.clone(), None)
}

#[test]
fn a_handle_never_goes_on() {
    let (key, _) = HandleKey::generate().unwrap();
    let (service, app) = (service(VAULT, &key), attested("spiffe://acme.test/app"));
    let text = handle(&service, &app, None);
    let bearer = format!("Bearer {text}");
    // A login of the client's own, as OpenBao takes it together with a request, goes nowhere either.
    let inline = [("x-vault-inline-auth-path", "auth/jwt/login"), ("x-vault-inline-auth-parameter-jwt", "eyJ")];
    let mut shown = head(&[("x-vault-token", &text), ("authorization", &bearer), ("x-own", &text), ("x-other", "1")]);
    shown.headers.extend(inline.map(|(name, value)| (Some(name.parse().unwrap()), value.parse().unwrap())));
    assert_eq!(check(&service, "/v1/secret/data/x", &mut shown, caller(&app)), Ok(()));
    assert_eq!(shown.headers.keys().collect::<Vec<_>>(), ["x-other"]);
    // What only looks like one is none of this Claviger's.
    let mut forged = head(&[("x-vault-token", "clvh_AAAA")]);
    let invalid = Err(("handle_invalid", "handle_unknown", None));
    assert_eq!(check(&service, "/v1/secret/data/x", &mut forged, caller(&app)), invalid);
    // A placeholder is no handle.
    let mut plain = head(&[("x-vault-token", "placeholder")]);
    assert_eq!(check(&service, "/v1/secret/data/x", &mut plain, caller(&app)), Ok(()));
    assert_eq!(plain.headers["x-vault-token"], "placeholder");
}

#[test]
fn a_stolen_one_is_found_wherever_it_stands() {
    use base64::Engine;
    let (key, _) = HandleKey::generate().unwrap();
    let service = service("inject = { basic = \"robot\" }\nlogin = { oauth2 = { path = \"/oauth/token\" } }", &key);
    let (app, other) = (attested("spiffe://acme.test/app"), attested("spiffe://acme.test/other"));
    let text = handle(&service, &app, None);
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("robot:{text}")));
    let stolen = Err(("handle_stolen", "handle_stolen", Some("spiffe://acme.test/app".to_owned())));
    for (name, value) in [("authorization", &basic), ("x-any", &text), ("cookie", &format!("a=b; t={text}; c=d"))] {
        let mut shown = head(&[(name, value)]);
        assert_eq!(check(&service, "/v1/x", &mut shown, caller(&other)), stolen, "{name}");
        assert_eq!(check(&service, "/v1/x", &mut shown, caller(&app)), Ok(()), "{name}");
    }
    assert_eq!(check(&service, &format!("/v1/x?t={text}"), &mut head(&[]), caller(&other)), stolen);
    let own = check(&service, &format!("/v1/x?t={text}"), &mut head(&[]), caller(&app));
    assert_eq!(own, Err(("login_refused", "invalid_request", None)), "not even its owner's stands in a URL");
}

#[test]
fn a_token_in_the_query_is_refused() {
    let (key, _) = HandleKey::generate().unwrap();
    let (service, app) = (service(OAUTH2, &key), attested("spiffe://acme.test/app"));
    for (path, refused) in [
        ("/v1/x?access_token=abc", true),
        ("/v1/x?a=b&access%5Ftoken=abc", true),
        ("/v1/x?access_token", true),
        ("/v1/x?access_tokens=abc", false),
        ("/v1/x?q=access_token", false),
        ("/v1/x", false),
    ] {
        let found = check(&service, path, &mut head(&[]), caller(&app));
        assert_eq!(found, if refused { Err(("login_refused", "invalid_request", None)) } else { Ok(()) }, "{path}");
    }
}

#[test]
fn whoever_logs_in_may_hold_the_handle_of_last_time() {
    let (key, _) = HandleKey::generate().unwrap();
    let (service, app) = (service(VAULT, &key), attested("spiffe://acme.test/app"));
    let old = handle(&service, &app, Some(NOW + 1));
    let later = Caller { now: NOW + 10, ..caller(&app) };
    let mut shown = head(&[("x-vault-token", &old)]);
    assert_eq!(check(&service, "/v1/auth/approle/login", &mut shown, later), Ok(()));
    let mut shown = head(&[("x-vault-token", &old)]);
    let expired = Err(("handle_invalid", "handle_expired", None));
    assert_eq!(check(&service, "/v1/secret/data/x", &mut shown, later), expired);
}

#[test]
fn a_handle_ends_with_the_lease() {
    let (key, _) = HandleKey::generate().unwrap();
    let (service, app) = (service(OAUTH2, &key), attested("spiffe://acme.test/app"));
    let login = service.login.as_deref().unwrap();
    let lasts = |ends| login.handle(caller(&app), ends).map(|(_, left)| left).map_err(|refusal| refusal.code.as_str());
    assert_eq!(lasts(Some(NOW + 90)), Ok(90));
    assert_eq!(lasts(Some(NOW + 90_000)), Ok(3_600), "`lifetime` is the longest");
    assert_eq!(lasts(None), Ok(3_600));
    assert_eq!(lasts(Some(NOW)), Err("credential_unavailable"));
    assert_eq!(lasts(Some(NOW - 5)), Err("credential_unavailable"));
}

/// What the OAuth 2.0 endpoints answer.
fn ask(
    service: &Service,
    path: &str,
    form: &str,
    caller: Caller<'_>,
) -> Result<Option<Value>, (&'static str, &'static str)> {
    let target = target(path);
    let asked = Login::asked(service, &target, &Method::POST).unwrap();
    let head = head(&[("content-type", "application/x-www-form-urlencoded")]);
    let told = |refusal: Refusal| (refusal.code.as_str(), refusal.reason);
    let question = asked.read(&head, form.as_bytes(), caller).map_err(told)?;
    asked.answer(question, Some(NOW + 60), caller, RequestId(7)).map(|answer| answer.body).map_err(told)
}

#[test]
fn the_endpoints_of_an_authorization_server() {
    let (key, _) = HandleKey::generate().unwrap();
    let service = service(OAUTH2, &key);
    let (app, other) = (attested("spiffe://acme.test/app"), attested("spiffe://acme.test/other"));
    let answer = ask(&service, "/oauth/token", "grant_type=client_credentials&client_secret=x", caller(&app));
    let answer = answer.unwrap().unwrap();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(60)));
    let text = answer["access_token"].as_str().unwrap();
    let opened = key.open(text.as_bytes()).unwrap();
    assert_eq!((opened.issued, opened.expires, opened.owner), (NOW, NOW + 60, Owner::of(&app.principal.id)));

    let token = format!("token={text}");
    let active = ask(&service, "/oauth/introspect", &token, caller(&app)).unwrap().unwrap();
    assert_eq!((&active["active"], &active["exp"]), (&json!(true), &json!(NOW + 60)));
    assert_eq!(active["sub"], "spiffe://acme.test/app");
    let inactive = Ok(Some(json!({ "active": false })));
    assert_eq!(ask(&service, "/oauth/introspect", "token=whatever", caller(&app)), inactive);
    assert_eq!(ask(&service, "/oauth/introspect", &token, Caller { now: NOW + 60, ..caller(&app) }), inactive);
    assert_eq!(ask(&service, "/oauth/revoke", &token, caller(&app)), Ok(None));
    assert_eq!(ask(&service, "/oauth/revoke", "token=whatever", caller(&app)), Ok(None));
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        assert_eq!(ask(&service, path, &token, caller(&other)), Err(("handle_stolen", "handle_stolen")));
        assert_eq!(ask(&service, path, "tok=x", caller(&app)), Err(("login_refused", "invalid_request")));
    }
    let refresh = format!("grant_type=refresh_token&refresh_token={text}");
    assert!(ask(&service, "/oauth/token", &refresh, caller(&app)).is_ok());
    assert_eq!(ask(&service, "/oauth/token", &refresh, caller(&other)), Err(("handle_stolen", "handle_stolen")));
}

#[test]
fn one_asks_vault_about_ones_own_token_only() {
    let (key, _) = HandleKey::generate().unwrap();
    let service = service(VAULT, &key);
    let app = attested("spiffe://acme.test/app");
    let text = handle(&service, &app, Some(NOW + 60));
    let ask = |path: &str, token: Option<&str>, body: &str| {
        let (target, mut head) = (target(path), head(&[]));
        if let Some(token) = token {
            head.headers.insert("x-vault-token", token.parse().unwrap());
        }
        let mut asked = Login::asked(&service, &target, &Method::POST).unwrap();
        let later = Caller { now: NOW + 10, ..caller(&app) };
        let answered = asked.check(&service, &target, &mut head, later).and_then(|()| {
            let question = asked.read(&head, body.as_bytes(), later)?;
            asked.answer(question, None, later, RequestId(7))
        });
        answered
            .map(|answer| (answer.status.as_u16(), answer.body))
            .map_err(|refusal| (refusal.code.as_str(), refusal.reason))
    };
    let (status, body) = ask("/v1/auth/token/lookup-self", Some(&text), "").unwrap();
    let data = &body.unwrap()["data"];
    assert_eq!((status, &data["id"], &data["ttl"], &data["creation_ttl"]), (200, &json!(text), &json!(50), &json!(60)));
    assert_eq!(data["expire_time"], "2027-01-15T08:01:00Z");
    let named = json!({ "token": text }).to_string();
    assert!(ask("/v1/auth/token/lookup", Some(&text), &named).is_ok());
    let (_, renewed) = ask("/v1/auth/token/renew-self", Some(&text), "{}").unwrap();
    let auth = &renewed.unwrap()["auth"];
    assert_eq!(
        (&auth["client_token"], &auth["lease_duration"], &auth["renewable"]),
        (&json!(text), &json!(50), &json!(false))
    );
    assert_eq!(ask("/v1/auth/token/revoke-self", Some(&text), ""), Ok((204, None)));
    // A placeholder is not logged in, and nothing of it reaches the token behind.
    for path in ["/v1/auth/token/lookup-self", "/v1/auth/token/renew-self", "/v1/auth/token/revoke-self"] {
        assert_eq!(ask(path, Some("placeholder"), ""), Err(("handle_invalid", "handle_absent")), "{path}");
        assert_eq!(ask(path, None, ""), Err(("handle_invalid", "handle_absent")), "{path}");
    }
    let foreign = json!({ "token": "hvs.somebody" }).to_string();
    assert_eq!(ask("/v1/auth/token/revoke", Some(&text), &foreign), Err(("handle_invalid", "handle_unknown")));
    assert_eq!(ask("/v1/auth/token/revoke", Some(&text), "{}"), Err(("handle_invalid", "handle_absent")));
}
