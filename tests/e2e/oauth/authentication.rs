//! npm's oidc-provider, to which a client proves itself in each way, and an API behind Envoy that verifies what was
//! injected by the provider's keys.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claviger_tests::World;
use claviger_tests::peers::{JwtApi, OidcProvider, Sees};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::{Value, json};

use crate::scene::{configure, credential, failure, get};

const AUDIENCE: &str = "https://api.test";

/// The public half of a client's key (RFC 7517, RFC 8037).
fn jwk(key: &KeyPair, kid: &str) -> Value {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key.public_key_raw() {
        raw if raw.len() == 32 => {
            json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": part(raw) })
        }
        raw => json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": part(&raw[1..33]), "y": part(&raw[33..65]),
        }),
    }
}

fn signing(id: &str, alg: &str, key: &KeyPair) -> Value {
    json!({ "id": id, "metadata": {
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": alg,
        "jwks": { "keys": [jwk(key, "k1")] },
    }})
}

struct Setting {
    world: World,
    oidc: OidcProvider,
    api: JwtApi,
    /// The `host:port` of the provider.
    at: String,
}

/// Clients by every authentication, with their secrets and keys in the folder.
async fn setting() -> Setting {
    let world = World::new();
    let (ec, ed) = (KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let own = KeyPair::generate().unwrap();
    let own_certificate = CertificateParams::new(vec!["own.client".to_owned()]).unwrap().self_signed(&own).unwrap();
    let mut own_jwk = jwk(&own, "own");
    own_jwk["x5c"] = json!([STANDARD.encode(own_certificate.der())]);
    let secret = format!("{}%+& =:/~", world.canary);
    let clients = [
        json!({ "id": "basic", "secret": secret }),
        json!({ "id": "post", "secret": secret, "metadata": { "token_endpoint_auth_method": "client_secret_post" } }),
        signing("ec", "ES256", &ec),
        signing("ed", "EdDSA", &ed),
        json!({ "id": "mtls", "metadata": {
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "claviger.client",
        }}),
        json!({ "id": "own", "metadata": {
            "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": { "keys": [own_jwk] },
        }}),
    ];
    let oidc = OidcProvider::start_for(&world.ca, "localhost", AUDIENCE, 300, &clients).await;
    let api = JwtApi::start(&world.ca, "api.test", &oidc).await;
    let at = oidc.endpoint().authority();
    world.seal("secret", &secret, &[&at]);
    for (name, key) in [("ec", &ec), ("ed", &ed), ("other", &KeyPair::generate().unwrap())] {
        world.seal(name, &key.serialize_pem(), &[&at]);
    }
    for (name, client) in [("mtls", "claviger.client"), ("stranger", "stranger.client")] {
        let files = world.ca.issue_client(&[client]);
        world.write(&format!("{name}.pem"), std::fs::read(files.cert).unwrap());
        world.seal(&format!("{name}-key"), &std::fs::read_to_string(files.key).unwrap(), &[&at]);
    }
    world.write("own.pem", own_certificate.pem());
    world.seal("own-key", &own.serialize_pem(), &[&at]);
    Setting { world, oidc, api, at }
}

impl Setting {
    fn configure(&self, credentials: &[(&str, String)]) {
        let all: String = credentials.iter().map(|(name, keys)| credential(name, keys)).collect();
        configure(&self.world, "https://ci.test", self.api.endpoint().addr.port(), &all);
    }

    /// The keys of a credential whose endpoint is written down, or found by the issuer's name.
    fn keys(&self, id: &str, discovered: bool, more: &str) -> String {
        let server = match discovered {
            true => format!("issuer = \"https://{}\"", self.at),
            false => format!("token_url = \"https://{}/token\"", self.at),
        };
        format!("{server}\nclient_id = \"{id}\"\nscope = \"read\"\n{more}\n")
    }
}

const SECRET: &str = "client_secret = \"secret://sealed/secret\"";

fn signed(key: &str, alg: &str, more: &str) -> String {
    format!("client_assertion = {{ key = \"secret://sealed/{key}\", alg = \"{alg}\", kid = \"k1\"{more} }}")
}

fn shown(name: &str) -> String {
    format!("client_certificate = {{ certificate = \"{name}.pem\", key = \"secret://sealed/{name}-key\" }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_authentication_yields_a_token_that_the_api_takes() {
    let setting = setting().await;
    let post = format!("auth = \"client_secret_post\"\n{SECRET}");
    let own = format!("auth = \"self_signed_tls_client_auth\"\n{}", shown("own"));
    let all = [
        ("basic", "basic", "basic", setting.keys("basic", false, SECRET)),
        ("basic-found", "basic", "basic", setting.keys("basic", true, SECRET)),
        ("post", "post", "client_secret_post", setting.keys("post", false, &post)),
        ("ec", "ec", "private_key_jwt", setting.keys("ec", true, &signed("ec", "ES256", ""))),
        ("ed", "ed", "private_key_jwt", setting.keys("ed", true, &signed("ed", "EdDSA", ", audience = \"issuer\""))),
        ("mtls", "mtls", "tls_client_auth", setting.keys("mtls", true, &shown("mtls"))),
        ("own", "own", "self_signed_tls_client_auth", setting.keys("own", false, &own)),
    ];
    let credentials: Vec<_> = all.iter().map(|(name, _, _, keys)| (*name, keys.clone())).collect();
    setting.configure(&credentials);
    let proxy = setting.world.start();
    let proof = setting.world.token("app");
    for (name, id, _, _) in &all {
        for _ in 0..2 {
            let (status, body) = get(&proxy, &proof, name).await;
            assert_eq!(status, 200, "{name}: {body}\n{}\n{}", proxy.output(), setting.oidc.log());
            assert_eq!((&body["client"], &body["audience"]), (&(*id).into(), &AUDIENCE.into()), "{name}");
        }
    }
    for (name, id, auth, _) in &all {
        let credentials = all.iter().filter(|(_, other, _, _)| other == id).count();
        assert_eq!(setting.oidc.granted_by(id, auth), credentials, "{name}: one token, kept\n{}", setting.oidc.log());
    }
    assert!(proxy.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_the_server_refuses() {
    let setting = setting().await;
    let all = [
        ("other-key", setting.keys("ec", true, &signed("other", "ES256", ""))),
        ("other-audience", setting.keys("ec", true, &signed("ec", "ES256", ", audience = \"https://other.test\""))),
        ("stranger", setting.keys("mtls", false, &shown("stranger"))),
        ("other-client", setting.keys("own", false, &shown("mtls"))),
        ("no-proof", setting.keys("ec", false, "auth = \"none\"")),
    ];
    setting.configure(&all);
    let proxy = setting.world.start();
    let proof = setting.world.token("app");
    for (name, _) in &all {
        let (status, body) = get(&proxy, &proof, name).await;
        assert_eq!((status, body["error"]["code"].as_str()), (503, Some("credential_unavailable")), "{name}: {body}");
        let expected = format!("`https://{}/token` answered 401 with `invalid_client`", setting.at);
        assert_eq!(failure(&proxy, name), expected, "{name}\n{}", setting.oidc.log());
    }
    let tokens = setting.oidc.log().lines().filter(|line| line.starts_with("granted")).count();
    assert_eq!(tokens, 0, "{}", setting.oidc.log());
    assert!(proxy.stop().success());
}

/// The files change while Claviger runs: the next call shows the new certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_used_at_once() {
    let setting = setting().await;
    let key_of = |files: &str| format!("client_certificate = {{ certificate = \"shown.pem\", key = \"{files}\" }}");
    // Those of another client first; then both are replaced.
    let files = setting.world.ca.issue_client(&["claviger.client"]);
    let wrong = setting.world.ca.issue_client(&["stranger.client"]);
    let write = |files: &claviger_tests::peers::IssuedFiles| {
        setting.world.write("shown.key", std::fs::read(&files.key).unwrap());
        setting.world.write("shown.pem", std::fs::read(&files.cert).unwrap());
    };
    write(&wrong);
    std::fs::set_permissions(
        setting.world.path().join("shown.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    setting.configure(&[("mtls", setting.keys("mtls", true, &key_of("shown.key")))]);
    let proxy = setting.world.start();
    let proof = setting.world.token("app");
    assert_eq!(get(&proxy, &proof, "mtls").await.0, 503);
    write(&files);
    let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
    // A failure is remembered for a moment.
    while get(&proxy, &proof, "mtls").await.0 != 200 {
        assert!(std::time::Instant::now() < deadline, "{}", setting.oidc.log());
    }
    assert_eq!(setting.oidc.granted_by("mtls", "tls_client_auth"), 1);
    assert!(proxy.stop().success());
}
