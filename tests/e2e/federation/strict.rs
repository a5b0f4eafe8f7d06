//! The doubles by themselves: what the providers' documents ask for is taken, and each near miss is refused. What the other
//! tests show means something only because of this.

use claviger_tests::World;
use claviger_tests::issuer::TokenIssuer;
use serde_json::{Map, Value, json};

use crate::double::{Double, Wants};
use crate::providers::{anthropic, openai, openrouter};

const ISSUER: &str = "https://ci.test";

/// One request of a token: its fields, its headers, and the token itself.
struct Request {
    fields: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
    content_type: &'static str,
}

impl Request {
    fn new(wants: &Wants, token: &str) -> Self {
        let field = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), json!(value.unwrap_or(token)));
        Self {
            fields: wants.fields.iter().map(field).collect(),
            headers: wants.headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            content_type: wants.content_type,
        }
    }

    async fn send(self, world: &World, double: &Double, path: &str) -> u16 {
        let url = format!("https://127.0.0.1:{}{path}", double.port());
        let mut request = world.ca.http().build().unwrap().post(url);
        request = match self.content_type {
            "application/json" => request.body(Value::Object(self.fields).to_string()),
            _ => {
                let pairs: Vec<_> = self.fields.iter().map(|(name, value)| (name, value.as_str().unwrap())).collect();
                request.form(&pairs)
            }
        };
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.header("content-type", self.content_type).send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_parameter_and_each_claim_is_checked() {
    for wants in [anthropic(), openai(), openrouter()] {
        let (world, path, is_single) = (World::new(), wants.token_path, wants.single_use);
        let double = Double::start(&world.ca, wants.clone()).await;
        double.trust(ISSUER, &world.issuer.jwks());
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let issued = |with: Value| {
            let mut claims = json!({ "aud": wants.audience });
            claims.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
            world.issuer.token_with("app", claims)
        };
        let good = || Request::new(&wants, &issued(json!({})));
        assert_eq!(good().send(&world, &double, path).await, 200, "{path}");
        // Each field: gone, and another one. (The token's own place is below.)
        for (name, value) in wants.fields {
            let mut gone = good();
            gone.fields.remove(*name);
            assert_eq!(gone.send(&world, &double, path).await, 400, "{path}: without {name}");
            if value.is_some() {
                let mut other = good();
                other.fields.insert((*name).to_owned(), json!("another"));
                assert_eq!(other.send(&world, &double, path).await, 400, "{path}: another {name}");
            }
        }
        let mut more = good();
        more.fields.insert("client_secret".to_owned(), json!("x"));
        assert_eq!(more.send(&world, &double, path).await, 400, "{path}: a field that nobody asked for");
        let mut authorized = good();
        authorized.headers.push(("authorization", "Bearer x".to_owned()));
        assert_eq!(authorized.send(&world, &double, path).await, 400, "{path}: with an Authorization");
        for (name, _) in wants.headers {
            let mut gone = good();
            gone.headers.retain(|(known, _)| known != name);
            assert_eq!(gone.send(&world, &double, path).await, 400, "{path}: without header {name}");
        }
        let mut other = good();
        other.content_type = if other.content_type == "application/json" {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        assert_eq!(other.send(&world, &double, path).await, 400, "{path}: as {}", wants.content_type);
        // Each claim, and the signature.
        let stranger = TokenIssuer::new(ISSUER).token_with("app", json!({ "aud": wants.audience }));
        let cut = issued(json!({})).rsplit_once('.').unwrap().0.to_owned() + ".AAAA";
        for (why, token) in [
            ("another audience", issued(json!({ "aud": "https://other.test" }))),
            ("no audience", issued(json!({ "aud": null }))),
            ("another issuer", issued(json!({ "iss": "https://other.test" }))),
            ("an ended token", issued(json!({ "iat": now - 700, "exp": now - 100 }))),
            ("one from the future", issued(json!({ "iat": now + 600, "exp": now + 900 }))),
            ("one that lasts too long", issued(json!({ "exp": now + 7_200 }))),
            ("no subject", issued(json!({ "sub": null }))),
            ("no end", issued(json!({ "exp": null }))),
            ("another's key", stranger),
            ("a cut signature", cut),
            ("no JWT", "x".to_owned()),
        ] {
            let status = Request::new(&wants, &token).send(&world, &double, path).await;
            assert_eq!(status, 401, "{path}: {why}: {:?}", double.refused());
        }
        let once = issued(json!({ "jti": "one" }));
        assert_eq!(Request::new(&wants, &once).send(&world, &double, path).await, 200, "{path}");
        let again = Request::new(&wants, &once).send(&world, &double, path).await;
        assert_eq!(again, if is_single { 401 } else { 200 }, "{path}: a jti that comes twice");
    }
}
