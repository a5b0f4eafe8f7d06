//! Injections that are for some hosts of a service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// One credential, as GitHub and container registries take it: another way at each host.
const SERVICE: &str = "inject = [
    { bearer = true, hosts = [\"api.test\"] },
    { basic = \"x-access-token\", hosts = [\"git.wide.test\"] },
    { header = \"x-key\", hosts = [\"*.wide.test\"] },
    { query = \"key\", hosts = [\"*.deep.wide.test\"] },
    { cookie = \"sid\", hosts = [\"*.deep.wide.test\"] },
    { keep = \"authorization\", hosts = [\"registry.wide.test\"] },
]
strip = [\"x-other\", \"query:old\", \"cookie:old\"]";

/// Every slot of the service, filled by the client.
const CLIENTS: &str = "authorization: Bearer mine\nx-key: mine\nx-other: mine\ncookie: sid=mine; a=b; old=mine";

fn bound() -> Lease {
    Lease::for_test("key", &[("value", "PlainValueOfTheProxy")], &["api.test", "elsewhere.test", "*.wide.test"])
}

fn sent(host: &str, lease: Option<Lease>) -> Result<String, InjectError> {
    let request = format!("GET https://{host}/v1?key=mine&old=mine&c=d\n{CLIENTS}");
    send_with(lease, &plan(SERVICE), &request).map(text_of)
}

#[test]
fn each_host_is_given_its_own() {
    let basic = STANDARD.encode("x-access-token:PlainValueOfTheProxy");
    let check = |host: &str, expected: &str| {
        let text = sent(host, Some(bound())).unwrap();
        let lines = expected.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert_eq!(text, format!("GET https://{host}/v1{lines}"), "{host}");
    };
    check("api.test", "?c=d\nauthorization: Bearer PlainValueOfTheProxy\ncookie: a=b");
    check("git.wide.test", &format!("?c=d\nauthorization: Basic {basic}\ncookie: a=b\nx-key: PlainValueOfTheProxy"));
    check("a.wide.test", "?c=d\ncookie: a=b\nx-key: PlainValueOfTheProxy");
    check(
        "a.deep.wide.test",
        "?c=d&key=PlainValueOfTheProxy\ncookie: a=b; sid=PlainValueOfTheProxy\nx-key: PlainValueOfTheProxy",
    );
    // What the client has from elsewhere for this host.
    check("registry.wide.test", "?c=d\nauthorization: Bearer mine\ncookie: a=b\nx-key: PlainValueOfTheProxy");
    // Nothing is for this one: nothing goes there, and no key of the client's either.
    check("elsewhere.test", "?c=d\ncookie: a=b");
}

#[test]
fn a_host_without_injection_needs_no_lease() {
    let text = sent("elsewhere.test", None).unwrap();
    assert_eq!(text, "GET https://elsewhere.test/v1?c=d\ncookie: a=b");
    for host in ["api.test", "a.wide.test"] {
        assert_eq!(sent(host, None).unwrap_err().code(), "inject_wrong_lease", "{host}");
    }
    let at = |host: &str| plan(SERVICE).injects_at(&Authority::parse(host, 443).unwrap());
    assert!(at("api.test") && at("registry.wide.test") && !at("elsewhere.test") && !at("api.test:8443"));
    // The lease is left aside: what was not injected does not count as used.
    let request = "GET https://elsewhere.test/v1";
    assert!(send_with(Some(bound()), &plan(SERVICE), request).unwrap().lease().is_none());
    // Where nothing is injected anywhere, a rule that gives a credential is a mistake.
    let nothing = plan("guard = false");
    assert!(nothing.injects_at(&api()));
    assert_eq!(send_with(Some(bound()), &nothing, request).unwrap_err().code(), "inject_no_slot");
}

#[test]
fn what_a_client_presents_hangs_on_the_host() {
    let plan = plan(SERVICE);
    let (head, _) = head(&format!("GET https://api.test/v1?key=mine\n{CLIENTS}"));
    let presented = |host: &str| {
        let host = Authority::parse(host, 443).unwrap();
        plan.presented_tokens(&host, &head)
            .map(|token| String::from_utf8(token.into_owned()).unwrap())
            .collect::<Vec<_>>()
    };
    // A token for a registry is no proof of who asks; all other slots are emptied, so a proof may stand there.
    assert_eq!(presented("registry.wide.test").len(), presented("a.wide.test").len() - 1);
    assert!(presented("elsewhere.test").contains(&"mine".to_owned()));
}

#[test]
fn placeholders_and_paths_are_for_their_hosts() {
    let settings = "inject = [
        { path = \"/bot{credential}\", hosts = [\"api.test\"] },
        { placeholder = \"CLAVIGER_KEY\", in = [\"body\", \"header:x-p\"], hosts = [\"a.wide.test\"] },
    ]";
    let plan = plan(settings);
    let send = |request: &str| send_with(Some(bound()), &plan, request).map(text_of);
    assert_eq!(send("GET https://api.test/botCLAVIGER/x").unwrap(), "GET https://api.test/botPlainValueOfTheProxy/x");
    assert_eq!(send("GET https://api.test/botmine/x").unwrap_err().code(), "inject_path_slot_filled");
    assert_eq!(
        send("GET https://elsewhere.test/botmine/x\nx-p: mine").unwrap(),
        "GET https://elsewhere.test/botmine/x"
    );
    assert_eq!(
        send("GET https://a.wide.test/botmine\nx-p: CLAVIGER_KEY").unwrap(),
        "GET https://a.wide.test/botmine\nx-p: PlainValueOfTheProxy"
    );
}

#[test]
fn the_client_may_say_the_user() {
    let plan = plan("inject = { basic = true }");
    let of = |pair: &[u8]| format!("authorization: basic {}", STANDARD.encode(pair));
    let send = |headers: &str| {
        let sent =
            send_with(Some(bound()), &plan, &format!("GET https://api.test/\n{headers}")).map_err(|e| e.code())?;
        let written = sent.headers()["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        assert!(sent.headers()["authorization"].is_sensitive());
        Ok(String::from_utf8(STANDARD.decode(written).unwrap()).unwrap())
    };
    let user = |user: &str| Ok(format!("{user}:PlainValueOfTheProxy"));
    assert_eq!(send(&of(b"AC0123:mine")), user("AC0123"));
    assert_eq!(send(&of(b"me@acme.test:")), user("me@acme.test"));
    assert_eq!(send(&of(b"me:a:b:c")), user("me"));
    // The lease keeps what it rendered: not the user of another.
    assert_eq!(send(&of(b"you:mine")), user("you"));
    let absent = Err("inject_user_absent");
    for headers in [
        "accept: */*",
        "authorization: Bearer me:mine",
        "authorization: Basic !!",
        &of(b"me"),
        &of(b":mine"),
        &of(b"a\nb:mine"),
        &of(b"\xff\xfe:mine"),
        &format!("{}\n{}", of(b"me:mine"), of(b"you:mine")),
    ] {
        assert_eq!(send(headers), absent, "{headers}");
    }
    let (head, _) = head(&format!("GET https://api.test/\n{}", of(b"me:a.b.c")));
    assert_eq!(plan.presented_tokens(&api(), &head).collect::<Vec<_>>(), [b"a.b.c".as_slice()]);
}

proptest! {
    /// Whatever the hosts of an injection are, its value stands in a request to these, and in no other.
    #[test]
    fn an_injection_lands_at_its_hosts_only(
        of in proptest::collection::vec(proptest::sample::subsequence(vec![0_usize, 1, 2, 3, 4], 1..4), 4),
        at in 0_usize..6,
    ) {
        const LISTED: [&str; 5] = ["api.test", "elsewhere.test", "*.wide.test", "a.wide.test", "*.b.wide.test"];
        const ASKED: [&str; 6] = ["api.test", "elsewhere.test", "a.wide.test", "c.wide.test", "a.b.wide.test", "b.wide.test"];
        let places = ["header = \"x-0\"", "header = \"x-1\"", "query = \"q\"", "cookie = \"c\""];
        let hosts = |of: &[usize]| of.iter().map(|at| format!("\"{}\"", LISTED[*at])).collect::<Vec<_>>().join(", ");
        let items = places.iter().zip(&of).map(|(place, of)| format!("{{ {place}, hosts = [{}] }}", hosts(of)));
        let plan = plan(&format!("inject = [{}]", items.collect::<Vec<_>>().join(", ")));
        let host = ASKED[at];
        let request = format!("GET https://{host}/?q=mine\nx-0: mine\nx-1: mine\ncookie: c=mine");
        let sent = text_of(send_with(Some(bound()), &plan, &request).unwrap());
        prop_assert!(!sent.contains("mine"), "{}", sent);
        let shown = ["\nx-0: Plain", "\nx-1: Plain", "q=Plain", "\ncookie: c=Plain"];
        for ((of, shown), place) in of.iter().zip(shown).zip(places) {
            // Judged by text, not by the patterns of the product.
            let is_in = of.iter().any(|listed| match LISTED[*listed].strip_prefix('*') {
                Some(below) => host.len() > below.len() && host.ends_with(below),
                None => host == LISTED[*listed],
            });
            prop_assert_eq!(sent.contains(shown), is_in, "{} at {}: {}", place, host, sent);
        }
    }
}
