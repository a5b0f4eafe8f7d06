//! What the client wrote into a slot never survives, and the value stands there once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const SENTINEL: &str = "CLIENTS-OWN";
/// Letters only, so that every encoding leaves it as it is.
const PLAIN: &str = "PlainValueOfTheProxy";

const SETTINGS: &str = "inject = [{ header = \"x-api-key\" }, { header = \"authorization\", prefix = \"token \" }, \
                        { query = \"key\" }, { cookie = \"sid\" }]\nstrip = [\"x-other-key\"]";

fn header_line() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(
        [
            "x-api-key",
            "X-API-Key",
            "x_api_key",
            "x-api_key",
            "authorization",
            "Authorization",
            "x-other-key",
            "x_other-key",
            "proxy-authorization",
        ]
        .as_slice(),
    );
    let value = proptest::sample::select(["", "Bearer ", "token ", "Basic "].as_slice());
    (name, value).prop_map(|(name, prefix)| format!("\n{name}: {prefix}{SENTINEL}"))
}

fn cookie_line() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(
        ["sid=CLIENTS-OWN", " sid=CLIENTS-OWN ", "sid = CLIENTS-OWN", "sid=", "sid", "a=1", "sidx=2", ""].as_slice(),
    );
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| format!("\ncookie: {}", pieces.join(";")))
}

fn query() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(
        ["key=CLIENTS-OWN", "k%65y=CLIENTS-OWN", "%6b%65%79=CLIENTS-OWN", "key", "key=", "a=1", "keys=2", "", "a=%2f+"]
            .as_slice(),
    );
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| match pieces.join("&") {
        none if none.is_empty() => none,
        some => format!("?{some}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_clients_own_never_survives(
        query in query(),
        headers in proptest::collection::vec(header_line(), 0..6),
        cookies in proptest::collection::vec(cookie_line(), 0..3),
        open in any::<bool>(),
    ) {
        let plan = plan(SETTINGS);
        let host = if open { "open" } else { "api" };
        let request = format!("GET https://{host}.test/v1{query}{}{}", headers.concat(), cookies.concat());
        let lease = (!open).then(|| Lease::for_test("key", &[("value", PLAIN)], &["api.test"]));
        let sent = text_of(send_with(lease, &plan, &request).unwrap());
        prop_assert!(!sent.contains(SENTINEL), "{}", sent);
        let at = |place: &str| sent.matches(place).count();
        let each = usize::from(!open);
        prop_assert_eq!(at(PLAIN), 4 * each, "{}", sent);
        for slot in ["\nx-api-key: PlainValueOfTheProxy", "\nauthorization: token PlainValueOfTheProxy",
                     "key=PlainValueOfTheProxy", "sid=PlainValueOfTheProxy"] {
            prop_assert_eq!(at(slot), each, "{} {}", slot, sent);
        }
        // What is no slot is left.
        prop_assert_eq!(at("keys=2"), request.matches("keys=2").count());
        prop_assert_eq!(at("sidx=2"), request.matches("sidx=2").count());
    }

    #[test]
    fn what_was_injected_is_what_a_server_reads(value in "[ -~]{0,10}[!-~]{13}[ -~]{0,10}[!-~]") {
        let value = value.trim().to_owned();
        let lease = || Some(Lease::for_test("key", &[("value", &value)], &["api.test"]));
        // Queries: by an independent reader.
        let sent = send_with(lease(), &plan("inject = [{ query = \"k &\" }]"), "GET https://api.test/?a=1").unwrap();
        let url = url::Url::parse(&sent.uri().to_string()).unwrap();
        let read: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(read, [("a".to_owned(), "1".to_owned()), ("k &".to_owned(), value.clone())]);
        // Paths.
        let sent = send_with(lease(), &plan("inject = [{ path = \"/x/{credential}\" }]"), "GET https://api.test/x/CLAVIGER/y").unwrap();
        let url = url::Url::parse(&sent.uri().to_string()).unwrap();
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 3);
        let decoded = url::form_urlencoded::parse(segments[1].replace('+', "%2B").replace('&', "%26").replace('=', "%3D").as_bytes()).next().unwrap().0.into_owned();
        prop_assert_eq!(&decoded, &value);
        // Headers, and what `presented_tokens` reads of them: the two are inverse.
        for settings in ["inject = \"bearer\"", "inject = [{ basic = \"user\" }]", "inject = [{ query = \"k\" }]"] {
            let plan = plan(settings);
            let (_, _, head, _) = send_with(lease(), &plan, "GET https://api.test/").unwrap().into_parts();
            let read: Vec<_> = plan.presented_tokens(&api(), &head).map(|token| token.into_owned()).collect();
            prop_assert_eq!(read, [value.clone().into_bytes()], "{}", settings);
        }
        let sent = send_with(lease(), &plan("inject = [{ basic = \"user\" }]"), "GET https://api.test/").unwrap();
        let encoded = sent.headers()["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        prop_assert_eq!(STANDARD.decode(encoded).unwrap(), format!("user:{value}").into_bytes());
    }

    #[test]
    fn json_changes_nothing_but_the_placeholder(
        document in json(4),
        value in "[ -~]{0,10}[!-~]{13}",
        spaced in any::<bool>(),
    ) {
        let value = value.trim().to_owned();
        let body = if spaced { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let lease = Lease::for_test("key", &[("value", &value)], &["api.test"]);
        let plan = plan("inject = [\"bearer\", { placeholder = \"CLAVIGER_KEY\", in = [\"body\"] }]");
        let request = format!("POST https://api.test/\ncontent-type: application/json\n\n{body}");
        let (.., sent) = send_with(Some(lease), &plan, &request).unwrap().into_parts();
        let sent = String::from_utf8(sent.unwrap().to_vec()).unwrap();
        // Read back: values are replaced, keys are not.
        let read: serde_json::Value = serde_json::from_str(&sent).unwrap();
        prop_assert_eq!(&read, &replaced(&document, &value));
        // As text: with the value put back, it is the body byte for byte.
        let escaped = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(sent.replace(&escaped[1..escaped.len() - 1], "CLAVIGER_KEY"), body);
    }

    #[test]
    fn no_request_makes_it_panic(
        path in "/[a-z0-9%.~_:=&;+-]{0,20}(\\?[a-zA-Z0-9%=&;+_.~-]{0,40})?",
        cookie in "[ -~]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..80),
        at in any::<proptest::sample::Index>(),
    ) {
        let mut body = body;
        body.splice(at.index(body.len() + 1).., *b"\"CLAVIGER_KEY\"");
        let plan = plan("inject = [\"bearer\", { query = \"key\" }, { cookie = \"a\", from = \"app\" }, { path = \"/a/{credential}\" }, \
                         { placeholder = \"CLAVIGER_KEY\", in = [\"body\", \"query\", \"header:x-a\"] }]");
        let uri = format!("https://api.test{path}");
        let Ok(request) = Request::builder().uri(&uri).header("cookie", cookie).header("content-type", "application/json").body(()) else {
            return Ok(());
        };
        let (head, ()) = request.into_parts();
        let authority = Authority::parse("api.test", 443).unwrap();
        let path = head.uri.path_and_query().unwrap().as_str();
        prop_assume!(POLICY.canonicalize(Scheme::Https, authority, path).is_ok());
        let grant = grant(&head.method, &head.uri);
        let _ = plan.presented_tokens(&api(), &head).count();
        let _ = inject(grant, Some(Arc::new(lease())), &plan, Box::new(head), Some(body.into()));
    }
}

fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let text = || {
        proptest::sample::select(
            [
                "CLAVIGER_KEY",
                "a CLAVIGER_KEY b",
                "\"CLAVIGER_KEY\\",
                "\nCLAVIGER_KEY",
                "\u{1}é",
                "{\"x\":\"y\"}",
                ":",
                "plain",
                "",
            ]
            .as_slice(),
        )
    };
    let leaf = prop_oneof![
        text().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(depth, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::vec((text(), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn replaced(document: &serde_json::Value, value: &str) -> serde_json::Value {
    use serde_json::Value;
    match document {
        Value::String(text) => Value::from(text.replace("CLAVIGER_KEY", value)),
        Value::Array(items) => items.iter().map(|item| replaced(item, value)).collect(),
        Value::Object(pairs) => pairs.iter().map(|(key, item)| (key.clone(), replaced(item, value))).collect(),
        other => other.clone(),
    }
}
