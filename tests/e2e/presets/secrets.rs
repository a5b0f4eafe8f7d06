//! Stores of secrets.

use serde_json::json;

use crate::proof::{Place, Proof, Route};

/// <https://developer.hashicorp.com/vault/api-docs>: a token in a header of its own, or as a bearer token, and
/// `X-Vault-Request` from every client of its maker's.
pub(crate) fn vault() -> Proof {
    let key = [Place::Header("x-vault-token", "{key}")];
    let route = |call: &'static str| Route::new(call).key(&key).header("x-vault-request", "true");
    let metadata = json!({"version": 1, "created_time": "2026-11-22T06:00:00Z", "deletion_time": "", "destroyed": false, "custom_metadata": null});
    let framed = |data: serde_json::Value| json!({"request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data, "warnings": null, "auth": null});
    Proof::new("vault", "hvs.{}00000000000000000000")
        .settings("hosts = [\"vault.acme.test\"]")
        .refuses(403, &json!({"errors": ["permission denied"]}))
        .route(
            route("GET vault.acme.test/v1/secret/data/app")
                .json(&framed(json!({"data": {"user": "app"}, "metadata": metadata.clone()}))),
        )
        .route(route("POST vault.acme.test/v1/secret/data/app").body("\"user\"").json(&framed(metadata)))
        .route(
            route("GET vault.acme.test/v1/database/creds/app")
                .json(&framed(json!({"username": "v-app-1", "password": "made"}))),
        )
        .driver("vault_calls.py")
        .route(Route::new("GET vault.acme.test/v1/auth/token/lookup-self").key(&key).json(&framed(json!({"ttl": 60}))))
        .set(
            "login",
            "POST https://vault.acme.test/v1/auth/approle/login",
            "POST https://vault.acme.test/v1/auth/token/create",
        )
        .set(
            "read",
            "GET https://vault.acme.test/v1/kv/data/app",
            "GET https://vault.acme.test/v1/sys/policies/acl/app",
        )
        .set("write", "POST https://vault.acme.test/v1/kv/data/app", "DELETE https://vault.acme.test/v1/kv/data/app")
        .set(
            "creds",
            "GET https://vault.acme.test/v1/aws/creds/app",
            "POST https://vault.acme.test/v1/sys/mounts/creds",
        )
}
