//! An issuer of identity tokens, such as a CI system is.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

/// Signs ES256 tokens; its key set goes into a file.
#[derive(Debug)]
pub struct TokenIssuer {
    pair: EcdsaKeyPair,
    kid: String,
    issuer: String,
}

impl TokenIssuer {
    /// A new key.
    pub fn new(issuer: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair, kid: "k1".to_owned(), issuer: issuer.to_owned() }
    }

    /// The JWK set (RFC 7517).
    pub fn jwks(&self) -> String {
        // Uncompressed point: 0x04, x, y.
        let point = self.pair.public_key().as_ref();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65]),
        }]})
        .to_string()
    }

    /// A token for `sub`, for audience `claviger`, that lasts ten minutes.
    pub fn token(&self, sub: &str) -> String {
        self.token_with(sub, json!({}))
    }

    /// A token whose claims are overridden; `null` removes one.
    pub fn token_with(&self, sub: &str, overrides: Value) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.issuer, "aud": "claviger", "sub": sub, "iat": now, "exp": now + 600});
        for (name, value) in overrides.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), &claims)
    }

    /// A projected service account token, as Kubernetes signs it; `overrides` as for [`token_with`](Self::token_with).
    pub fn projected(&self, namespace: &str, account: &str, overrides: Value) -> String {
        let sub = format!("system:serviceaccount:{namespace}:{account}");
        let claims = json!({"aud": ["claviger"], "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": "e6a8680e-d103-4cce-80ea-03acbbeacf7d"},
            "pod": {"name": format!("{account}-5d8f"), "uid": "0d8b260e-ef0e-45fb-be8e-ff44f97722e8"},
        }});
        self.token_with(&sub, merged(claims, overrides))
    }

    /// A token of a push to `main`, as GitHub Actions signs it for the owner 1234567.
    pub fn github_run(&self, repository: &str, overrides: Value) -> String {
        let owner = repository.split('/').next().unwrap();
        let claims = json!({
            "iss": "https://token.actions.githubusercontent.com", "repository": repository, "repository_id": "456789",
            "repository_owner": owner, "repository_owner_id": "1234567", "repository_visibility": "private",
            "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "event_name": "push",
            "head_ref": "", "base_ref": "", "actor": "octocat", "actor_id": "583231", "run_id": "13605384",
            "workflow_ref": format!("{repository}/.github/workflows/ci.yml@refs/heads/main"),
            "job_workflow_ref": format!("{repository}/.github/workflows/ci.yml@refs/heads/main"),
            "runner_environment": "github-hosted", "sha": "7f93a73b8273af5d35fcd70661704c1cadc57054",
        });
        self.token_with(&format!("repo:{repository}:ref:refs/heads/main"), merged(claims, overrides))
    }

    /// A token of a push to `main`, as GitLab CI signs it for the namespace 72.
    pub fn gitlab_job(&self, project: &str, overrides: Value) -> String {
        let (namespace, _) = project.rsplit_once('/').unwrap();
        let claims = json!({
            "iss": "https://gitlab.com", "project_path": project, "project_id": "20", "namespace_path": namespace,
            "namespace_id": "72", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
            "ref_protected": "true", "pipeline_source": "push", "pipeline_id": "574", "job_id": "302",
            "user_id": "1", "user_login": "sample", "runner_id": 1, "runner_environment": "gitlab-hosted",
        });
        self.token_with(&format!("project_path:{project}:ref_type:branch:ref:main"), merged(claims, overrides))
    }

    /// Signs any header and claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signature = self.pair.sign(&rng, signed.as_bytes()).unwrap();
        format!("{signed}.{}", B64.encode(signature.as_ref()))
    }
}

fn merged(mut claims: Value, overrides: Value) -> Value {
    let Value::Object(overrides) = overrides else { panic!("{overrides}") };
    claims.as_object_mut().unwrap().extend(overrides);
    claims
}
