//! One table for each kind, with near misses.

use super::*;

#[test]
fn bearer() {
    let plan = "inject = \"bearer\"";
    let filled = "GET https://api.test/v1\nauthorization: Bearer sk-live/+0123456789";
    for sent in [
        "",
        "\nauthorization: Bearer theirs",
        "\nAuthorization: bearer theirs",
        "\nauthorization: Basic dGhlaXJz",
        "\nauthorization: theirs\nauthorization: Bearer theirs\nAUTHORIZATION: x",
        "\nproxy-authorization: Bearer theirs",
        "\nproxy_authorization: Bearer theirs",
        "\nhost: other.test",
        "\nhost: other.test\nhost: api.test",
    ] {
        check(plan, &format!("GET https://api.test/v1{sent}"), filled);
        let emptied = filled.split('\n').next().unwrap().replace("api", "open");
        check(plan, &format!("GET https://open.test/v1{sent}"), &emptied);
    }
    // What is no slot passes.
    check(
        plan,
        "GET https://api.test/v1?key=theirs\nx-authorization: theirs\nx-api-key: theirs\ncookie: key=theirs",
        "GET https://api.test/v1?key=theirs\nauthorization: Bearer sk-live/+0123456789\ncookie: key=theirs\n\
         x-api-key: theirs\nx-authorization: theirs",
    );
    check(
        "inject = { bearer = true, from = \"app\" }",
        "GET https://api.test/",
        "GET https://api.test/\nauthorization: Bearer app=key&9876543210",
    );
}

#[test]
fn basic() {
    let password = "inject = [{ basic = \"user\" }]";
    let filled = "GET https://api.test/\nauthorization: Basic dXNlcjpzay1saXZlLyswMTIzNDU2Nzg5";
    check(password, "GET https://api.test/\nauthorization: Basic dGhlaXJzOnRoZWlycw==", filled);
    check(password, "GET https://open.test/\nauthorization: Basic dGhlaXJzOnRoZWlycw==", "GET https://open.test/");
    // Stripe: the key is the username, and the password is empty.
    let username = "inject = [{ basic = \"\", as = \"username\" }]";
    check(
        username,
        "GET https://api.test/",
        "GET https://api.test/\nauthorization: Basic c2stbGl2ZS8rMDEyMzQ1Njc4OTo=",
    );
}

#[test]
fn header() {
    let plan =
        "inject = [{ header = \"X-Api-Key\" }, { header = \"dd-application-key\", from = \"app\", prefix = \"v1 \" }]";
    let filled =
        "POST https://api.test/v1?a=b\ndd-application-key: v1 app=key&9876543210\nx-api-key: sk-live/+0123456789";
    for sent in [
        "",
        "\nx-api-key: theirs",
        "\nX-API-KEY: theirs\nx-api-key: theirs\nDd-Application-Key: theirs",
        // Servers that speak CGI read these as the slot.
        "\nx_api_key: theirs\nx-api_key: theirs\nX_Api-Key: theirs\ndd_application-key: theirs",
    ] {
        check(plan, &format!("POST https://api.test/v1?a=b{sent}"), filled);
        check(plan, &format!("POST https://open.test/v1?a=b{sent}"), "POST https://open.test/v1?a=b");
    }
    check(
        plan,
        "POST https://api.test/v1?a=b\nx-api-keys: 1\nx-api-ke: 2\nxapi-key: 3\nx_api_keys: 4",
        "POST https://api.test/v1?a=b\ndd-application-key: v1 app=key&9876543210\nx-api-ke: 2\n\
         x-api-key: sk-live/+0123456789\nx-api-keys: 1\nx_api_keys: 4\nxapi-key: 3",
    );
}

#[test]
fn strip() {
    check(
        "inject = \"bearer\"\nstrip = [\"x-api-key\", \"Cookie\"]",
        "GET https://api.test/\nX-Api-Key: a\nx-api-key: b\nx_api_key: c\ncookie: a=b\nx-other: d",
        "GET https://api.test/\nauthorization: Bearer sk-live/+0123456789\nx-other: d",
    );
    check("strip = [\"x-api-key\"]", "GET https://open.test/\nX-Api-Key: a\nx-b: c", "GET https://open.test/\nx-b: c");
}

#[test]
fn query() {
    let plan = "inject = [{ query = \"key\" }, { query = \"a b\", from = \"app\" }]";
    let slots = "key=sk-live%2F%2B0123456789&a%20b=app%3Dkey%269876543210";
    for (sent, left) in [
        ("", ""),
        ("?", ""),
        ("?x=1", "x=1&"),
        ("?key=theirs", ""),
        ("?key", ""),
        ("?key=theirs&x=1&key=&k%65y=theirs&%6B%65%79=theirs", "x=1&"),
        ("?a+b=theirs&a%20b=theirs&x=%20", "x=%20&"),
        ("?keys=1&xkey=2&key%20=3&ke%79s=4", ""),
        ("?x=key=theirs&y=key", "x=key=theirs&y=key&"),
        // Not repaired: empty parameters stay.
        ("?x=1&&y=%2f", "x=1&&y=%2f&"),
    ] {
        let request = format!("GET https://api.test/v1{sent}");
        if sent.contains("key%20") {
            check(plan, &request, "inject_parameter_ambiguous");
            continue;
        }
        check(plan, &request, &format!("GET https://api.test/v1?{left}{slots}"));
    }
    // What only some servers read as the slot is refused, with and without a credential.
    for sent in ["?Key=theirs", "?KEY", "?x=1;key=theirs", "?x=1;K%45Y=theirs", "?A+b=1"] {
        for host in ["api", "open"] {
            check(plan, &format!("GET https://{host}.test/v1{sent}"), "inject_parameter_ambiguous");
        }
    }
    check(plan, "GET https://open.test/v1?key=theirs&x=%2f&key=theirs", "GET https://open.test/v1?x=%2f");
    check(plan, "GET https://open.test/v1?key=theirs", "GET https://open.test/v1");
    check(plan, "GET https://open.test/v1?keys=1;keyx=2&", "GET https://open.test/v1?keys=1;keyx=2&");
}

#[test]
fn without_an_injection_into_the_uri_it_is_what_was_judged() {
    for uri in ["https://api.test/v1/%7e?", "https://api.test/?a=%2F&&b", "https://api.test/a%20b?x=+"] {
        check(
            "inject = \"bearer\"",
            &format!("GET {uri}"),
            &format!("GET {uri}\nauthorization: Bearer sk-live/+0123456789"),
        );
    }
}

#[test]
fn method_and_uri_are_the_grants() {
    let (mut other, _) = head("DELETE https://other.test/other?x=1\nhost: other.test");
    let (judged, _) = head("GET https://api.test/v1");
    let grant = grant(&judged.method, &judged.uri);
    other.version = http::Version::HTTP_2;
    let injected = inject(grant, Some(Arc::new(lease())), &plan("inject = \"bearer\""), Box::new(other), None).unwrap();
    assert_eq!((injected.method(), injected.uri()), (&judged.method, &judged.uri));
    assert_eq!(injected.headers()["host"], "api.test");
}

#[test]
fn cookie() {
    // Cookies have no escapes, so this value goes in as it is.
    let plan = "inject = [{ cookie = \"session\", from = \"app\" }]";
    let filled = "session=app=key&9876543210";
    for (sent, left) in [
        ("", ""),
        ("\ncookie: session=theirs", ""),
        ("\ncookie: session", ""),
        ("\ncookie: a=1; session=theirs; b=2", "a=1; b=2; "),
        ("\ncookie: session=theirs;session=theirs ; a=1;", "a=1; "),
        ("\ncookie: a=1\ncookie: session=theirs\nCookie: b=2", "a=1; b=2; "),
        ("\ncookie:  session = theirs; a = 1", "a = 1; "),
        (
            "\ncookie: a=session=theirs; Session=1; sessions=2; xsession=3",
            "a=session=theirs; Session=1; sessions=2; xsession=3; ",
        ),
    ] {
        check(plan, &format!("GET https://api.test/{sent}"), &format!("GET https://api.test/\ncookie: {left}{filled}"));
        let left = left.trim_end_matches("; ");
        let emptied = if left.is_empty() { String::new() } else { format!("\ncookie: {left}") };
        check(plan, &format!("GET https://open.test/{sent}"), &format!("GET https://open.test/{emptied}"));
    }
}

#[test]
fn path() {
    let plan = "inject = [{ path = \"/bot{credential}\", placeholder = \"0:CLAVIGER\" }, { path = \"/file/{credential}.bin\" }]";
    for (sent, expected) in [
        ("/bot0:CLAVIGER/send?x=1", "GET https://api.test/botsk-live%2F%2B0123456789/send?x=1"),
        ("/%62ot0%3aCLAVIGER/send", "GET https://api.test/botsk-live%2F%2B0123456789/send"),
        ("/bot0:CLAVIGER", "GET https://api.test/botsk-live%2F%2B0123456789"),
        ("/file/CLAVIGER.bin/a%20b", "GET https://api.test/file/sk-live%2F%2B0123456789.bin/a%20b"),
        // The client's own text cannot be stripped from a path.
        ("/bot1:THEIRS/send", "inject_path_slot_filled"),
        ("/%62%6ft1:THEIRS/send", "inject_path_slot_filled"),
        ("/bot0:CLAVIGERx/send", "inject_path_slot_filled"),
        ("/bot/send", "inject_path_slot_filled"),
        ("/file/theirs.bin", "inject_path_slot_filled"),
        // No slot.
        ("/bo/0:CLAVIGER", "inject_placeholder_absent"),
        ("/x/bot0:CLAVIGER/send", "inject_placeholder_absent"),
        ("/file/CLAVIGER.bi", "inject_placeholder_absent"),
        ("/Bot0:CLAVIGER/send", "inject_placeholder_absent"),
    ] {
        check(plan, &format!("GET https://api.test{sent}"), expected);
    }
    // Without a credential the placeholder is no secret, and another text still is refused.
    check(plan, "GET https://open.test/bot0:CLAVIGER/send", "GET https://open.test/bot0:CLAVIGER/send");
    check(plan, "GET https://open.test/botTHEIRS/send", "inject_path_slot_filled");
}

#[test]
fn placeholder_in_headers_and_query() {
    let plan = "inject = [{ placeholder = \"CLAVIGER_KEY\", in = [\"header:x-key\", \"header:x-sig\", \"query\"] }]";
    for (sent, expected) in [
        ("/\nx-key: CLAVIGER_KEY", "/\nx-key: sk-live/+0123456789"),
        ("/\nx-key: a CLAVIGER_KEY,CLAVIGER_KEY", "/\nx-key: a sk-live/+0123456789,sk-live/+0123456789"),
        ("/?a=CLAVIGER_KEY&b=xCLAVIGER_KEYx", "/?a=sk-live%2F%2B0123456789&b=xsk-live%2F%2B0123456789x"),
        // A header that may hold the credential passes with the placeholder only.
        ("/?a=CLAVIGER_KEY\nx-key: theirs\nx_key: theirs", "/?a=sk-live%2F%2B0123456789"),
        ("/\nx-key: theirs\nx-key: CLAVIGER_KEY\nx-sig: theirs", "/\nx-key: sk-live/+0123456789"),
        // Names, other headers and other texts are no places.
        ("/?CLAVIGER_KEY=1&CLAVIGER_KEY&x=CLAVIGER_KE\nx-other: CLAVIGER_KEY", "inject_placeholder_absent"),
        ("/\nx-key: claviger_key", "inject_placeholder_absent"),
        ("/", "inject_placeholder_absent"),
    ] {
        let expected =
            expected.strip_prefix('/').map_or(expected.to_owned(), |rest| format!("GET https://api.test/{rest}"));
        check(plan, &format!("GET https://api.test{sent}"), &expected);
    }
    check(plan, "GET https://open.test/?a=CLAVIGER_KEY&b=1\nx-key: CLAVIGER_KEY", "GET https://open.test/?b=1");
    // Another injection applies: then a placeholder may be absent.
    let both = "inject = [\"bearer\", { placeholder = \"CLAVIGER_APP\", in = [\"query\"], from = \"app\" }]";
    check(both, "GET https://api.test/?a=1", "GET https://api.test/?a=1\nauthorization: Bearer sk-live/+0123456789");
    check(
        both,
        "GET https://api.test/?a=CLAVIGER_APP",
        "GET https://api.test/?a=app%3Dkey%269876543210\nauthorization: Bearer sk-live/+0123456789",
    );
}

#[test]
fn placeholder_in_bodies() {
    let plan = "inject = [{ placeholder = \"CLAVIGER_KEY\", in = [\"body\"] }, { placeholder = \"CLAVIGER_APP\", in = [\"body\"], from = \"app\" }]";
    let json = "POST https://api.test/\ncontent-type: application/json; charset=utf-8";
    let form = "POST https://api.test/\ncontent-type: Application/X-WWW-Form-Urlencoded";
    for (head, body, expected) in [
        (json, r#"{"key":"CLAVIGER_KEY"}"#, Some(r#"{"key":"sk-live/+0123456789"}"#)),
        (
            json,
            r#" [ "aCLAVIGER_APPb" ,"CLAVIGER_KEY"] "#,
            Some(r#" [ "aapp=key&9876543210b" ,"sk-live/+0123456789"] "#),
        ),
        (json, r#""CLAVIGER_KEY""#, Some(r#""sk-live/+0123456789""#)),
        // Keys stay, also with space before the colon, and what stands behind an escape is found.
        (json, "{\"CLAVIGER_KEY\" \n:\"CLAVIGER_KEY\"}", Some("{\"CLAVIGER_KEY\" \n:\"sk-live/+0123456789\"}")),
        (
            json,
            r#"{"a":"\"\\CLAVIGER_KEY\u00e9CLAVIGER_KEY\""}"#,
            Some(r#"{"a":"\"\\sk-live/+0123456789\u00e9sk-live/+0123456789\""}"#),
        ),
        (json, r#"{"CLAVIGER_KEY":1}"#, None),
        (json, r#"{"a":"CLAVIGER_KE","b":"claviger_key"}"#, None),
        (
            form,
            "a=1&b=CLAVIGER_KEY&CLAVIGER_KEY=1&CLAVIGER_KEY&c=xCLAVIGER_APP&",
            Some("a=1&b=sk-live%2F%2B0123456789&CLAVIGER_KEY=1&CLAVIGER_KEY&c=xapp%3Dkey%269876543210&"),
        ),
        (form, "CLAVIGER_KEY=1", None),
        ("POST https://api.test/\ncontent-type: text/plain", "CLAVIGER_KEY", None),
        ("POST https://api.test/", r#"{"key":"CLAVIGER_KEY"}"#, None),
        (
            "POST https://api.test/\ncontent-encoding: gzip\ncontent-type: application/json",
            r#"{"key":"CLAVIGER_KEY"}"#,
            None,
        ),
    ] {
        let expected = match expected {
            Some(body) => {
                let kind = head.split('\n').nth(1).unwrap();
                format!("POST https://api.test/\ncontent-length: {}\n{kind}\n\n{body}", body.len())
            }
            None => "inject_placeholder_absent".to_owned(),
        };
        check(plan, &format!("{head}\ncontent-length: {}\n\n{body}", body.len()), &expected);
    }
    check(plan, &format!("{json}\n\n{{\"key\":\"CLAVIGER_KEY\""), "inject_body_not_json");
    // Without a credential the body passes as it is.
    let open = "POST https://open.test/\ncontent-type: application/json\n\n{\"key\":\"CLAVIGER_KEY\"}";
    check(plan, open, open);
}

#[test]
fn json_escapes_the_value() {
    let lease = Lease::for_test("key", &[("value", "a\"b\\c/дé-0123456789")], &["api.test"]);
    let plan = plan("inject = [{ placeholder = \"CLAVIGER_KEY\", in = [\"body\"] }]");
    let request = "POST https://api.test/\ncontent-type: application/vnd.api+json\ntransfer-encoding: chunked\n\n[\"CLAVIGER_KEY\"]";
    let sent = send_with(Some(lease), &plan, request).unwrap();
    assert!(!sent.headers().contains_key("transfer-encoding"));
    let (.., body) = sent.into_parts();
    assert_eq!(serde_json::from_slice::<[String; 1]>(&body.unwrap()).unwrap(), ["a\"b\\c/дé-0123456789"]);
}

#[test]
fn the_lease_must_be_the_grants_and_bound_to_the_target() {
    let plan = plan("inject = \"bearer\"");
    let code = |lease: Option<Lease>, url: &str| send_with(lease, &plan, &format!("GET {url}")).err().map(|e| e.code());
    let of = |name: &str, hosts: &[&str]| Some(Lease::for_test(name, &[("value", API)], hosts));
    for (lease, url, expected) in [
        (of("key", &["api.test"]), "https://api.test/", None),
        (of("key", &["api.test:443"]), "https://api.test:443/", None),
        (of("key", &["api.test"]), "https://elsewhere.test/", Some("inject_not_bound")),
        (of("key", &["api.test:8443"]), "https://api.test/", Some("inject_not_bound")),
        (of("key", &["http://api.test:443"]), "https://api.test/", Some("inject_not_bound")),
        (of("key", &[]), "https://api.test/", Some("inject_not_bound")),
        (of("other", &["api.test"]), "https://api.test/", Some("inject_wrong_lease")),
        (None, "https://api.test/", Some("inject_wrong_lease")),
        (of("key", &["open.test"]), "https://open.test/", Some("inject_wrong_lease")),
        (None, "https://open.test/", None),
    ] {
        assert_eq!(code(lease, url), expected, "{url}");
    }
}

#[test]
fn values_that_cannot_stand_there_are_refused() {
    let header = "inject = [{ header = \"x-key\" }]";
    let unguarded = "inject = [{ header = \"x-key\" }]\nguard = false";
    for (settings, value, expected) in [
        (header, "0123456789ab", None),
        (header, "0123456789a", Some("inject_value_too_short")),
        (unguarded, "0123456789a", None),
        (unguarded, "", Some("inject_value_invalid")),
        (header, "0123456789ab\r\nx: y", Some("inject_value_invalid")),
        (header, "0123456789ab\n", Some("inject_value_invalid")),
        (header, "0123456789ab\0", Some("inject_value_invalid")),
        (header, "0123456789ab\u{7f}", Some("inject_value_invalid")),
        (header, "0123456789ab\tc", Some("inject_value_invalid")),
        (header, "0123456789äb", Some("inject_value_invalid")),
        (header, " 0123456789ab", Some("inject_value_invalid")),
        (header, "0123456789 ab", None),
        ("inject = [{ query = \"k\" }]", "0123456789äb &", None),
        ("inject = [{ query = \"k\" }]", "0123456789ab\n", Some("inject_value_invalid")),
        ("inject = [{ cookie = \"k\" }]", "0123456789;ab", Some("inject_value_invalid")),
        ("inject = [{ cookie = \"k\" }]", "0123456789 ab", Some("inject_value_invalid")),
        ("inject = [{ basic = \"u\" }]", "0123456789:ab", None),
        ("inject = [{ basic = \"\", as = \"username\" }]", "0123456789:ab", Some("inject_value_invalid")),
        ("inject = [{ path = \"/{credential}\" }]\nguard = false", "..", Some("inject_value_invalid")),
        ("inject = [{ path = \"/{credential}\" }]\nguard = false", "...", None),
        ("inject = [{ header = \"x-key\", from = \"app\" }]", "0123456789ab", Some("inject_field_missing")),
        ("strip = [\"x\"]", "0123456789ab", Some("inject_no_slot")),
    ] {
        let lease = Lease::for_test("key", &[("value", value)], &["api.test"]);
        let error = send_with(Some(lease), &plan(settings), "GET https://api.test/CLAVIGER").err();
        assert_eq!(error.as_ref().map(InjectError::code), expected, "{settings} {value:?}");
        if let Some(error) = error {
            assert!(value.is_empty() || !format!("{error} {error:?}").contains(value), "{error}");
        }
    }
}

#[test]
fn header_values_are_made_once_and_marked() {
    let lease = Arc::new(lease());
    let [first, again] =
        [plan("inject = \"bearer\""), plan("inject = [\"bearer\", { header = \"x-a\", from = \"app\" }]")].map(
            |plan| {
                let (head, _) = head("GET https://api.test/");
                let sent =
                    inject(grant(&head.method, &head.uri), Some(lease.clone()), &plan, Box::new(head), None).unwrap();
                sent.headers()["authorization"].clone()
            },
        );
    assert!(first.is_sensitive() && again.is_sensitive());
    assert_eq!(first.as_bytes().as_ptr(), again.as_bytes().as_ptr(), "not cached");
    // More recipes than the cache holds are right all the same.
    let many = (0..9).map(|at| format!("{{ header = \"x-{at}\", prefix = \"{at}-\" }}")).collect::<Vec<_>>().join(", ");
    let many = plan(&format!("inject = [{many}]"));
    for _ in 0..2 {
        let (head, _) = head("GET https://api.test/");
        let sent = inject(grant(&head.method, &head.uri), Some(lease.clone()), &many, Box::new(head), None).unwrap();
        (0..9).for_each(|at| assert_eq!(sent.headers()[&format!("x-{at}")], format!("{at}-{API}")));
    }
}

#[test]
fn nothing_of_the_value_is_in_debug_output() {
    let sent = send(&plan("inject = [{ query = \"key\" }, \"bearer\"]"), "GET https://api.test/v1?x=1").unwrap();
    let shown = format!("{sent:?}");
    assert!(!shown.contains("sk-live") && !shown.contains("x=1"), "{shown}");
    assert!(!format!("{:?}", sent.headers()).contains("sk-live"));
}

#[test]
fn what_the_client_presents_in_a_slot() {
    let check = |settings: &str, request: &str, expected: &[&str]| {
        let (head, _) = head(request);
        let plan = plan(settings);
        let found: Vec<String> =
            plan.presented_tokens(&api(), &head).map(|token| String::from_utf8(token.into_owned()).unwrap()).collect();
        assert_eq!(found, expected, "{settings}\n{request}");
    };
    let bearer = "inject = \"bearer\"";
    check(bearer, "GET https://api.test/\nauthorization: Bearer a.b.c", &["a.b.c"]);
    check(bearer, "GET https://api.test/\nAuthorization: bearer  a.b.c ", &["a.b.c"]);
    check(bearer, "GET https://api.test/\nauthorization: Bearer a\nauthorization: BEARER b", &["a", "b"]);
    check(bearer, "GET https://api.test/\nauthorization: Basic a.b.c\nx-api-key: t", &[]);
    check(bearer, "GET https://api.test/\nauthorization: Bearer \nproxy-authorization: Bearer x", &[]);
    // What `strip` names comes last, with or without a scheme.
    let key = "inject = [{ header = \"x-api-key\" }]\nstrip = [\"authorization\", \"x-other\"]";
    check(key, "GET https://api.test/\nauthorization: Bearer a.b.c\nx-api-key: t", &["t", "a.b.c"]);
    check(key, "GET https://api.test/\nx-other: a.b.c\nproxy-authorization: Bearer x\nx-third: y", &["a.b.c"]);
    let basic = "inject = [{ basic = \"x-token\" }]";
    check(basic, "GET https://api.test/\nauthorization: Basic dXNlcjphOmI=", &["a:b"]);
    check(basic, "GET https://api.test/\nauthorization: Basic dXNlcg==", &[]);
    check(basic, "GET https://api.test/\nauthorization: Basic !!!!", &[]);
    check(
        "inject = [{ basic = \"\", as = \"username\" }]",
        "GET https://api.test/\nauthorization: Basic dG9rZW46",
        &["token"],
    );
    let header = "inject = [{ header = \"x-api-key\", prefix = \"token \" }]";
    check(header, "GET https://api.test/\nX-Api-Key: Token abc", &["abc"]);
    check(header, "GET https://api.test/\nx-api-key: abc", &[]);
    check("inject = [{ header = \"x-api-key\" }]", "GET https://api.test/\nx-api-key: abc", &["abc"]);
    let several = "inject = [{ cookie = \"s\" }, { query = \"key\" }, { header = \"x-a\" }]";
    check(
        several,
        "GET https://api.test/?key=a%2Eb+c&keys=x&k%65y=d\ncookie: s=e; t=f\nx-a: g",
        &["g", "a.b c", "d", "e"],
    );
    check("inject = [{ path = \"/bot{credential}\" }]", "GET https://api.test/botCLAVIGER", &[]);
}
