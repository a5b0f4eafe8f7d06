//! What is added to a pod: the sidecar, its volumes, and the variables of the other containers.

use super::emit::{Value, boolean, number, text, texts};
use super::{InjectArgs, Mode};

/// The name of the sidecar, and the beginning of the names of its volumes.
pub(super) const NAME: &str = "claviger";

/// On the pod: which variables were added to which containers, so that they can be told from the user's.
pub(super) const INJECTED: &str = "claviger.dev/injected";

/// On the pod, by its owner: `"false"` leaves it alone.
pub(super) const OPT_OUT: &str = "claviger.dev/inject";

/// Where the CA certificates are, in every container.
pub(super) const CA_FOLDER: &str = "/run/claviger/ca";

/// Where a workload that calls a gateway finds its own token.
pub(super) const TOKEN_FOLDER: &str = "/var/run/secrets/claviger";

/// Where the sidecar keeps its state.
const STATE_FOLDER: &str = "/var/lib/claviger";

/// Where the sidecar alone finds the values of a secret.
const CREDENTIALS_FOLDER: &str = "/var/run/secrets/claviger-credentials";

/// Where the sidecar finds its configuration.
const CONFIG_FOLDER: &str = "/etc/claviger";

/// The volumes that [`volumes`] makes, in either mode.
pub(super) const VOLUMES: &[&str] =
    &["claviger-config", "claviger-token", "claviger-ca", "claviger-state", "claviger-credentials"];

/// Replace the system's roots, so they need the public ones as well.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "npm_config_cafile",
];

/// Add to the system's roots.
const ADDITIVE_VARIABLES: &[&str] = &["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Every variable with its value, in the order in which they are written.
pub(super) fn variables(args: &InjectArgs) -> Vec<(&'static str, String)> {
    let proxy = args.proxy_url();
    let no_proxy = no_proxy(args);
    let mut all = Vec::new();
    // Both cases: curl reads http_proxy in lower case only, others the upper case only.
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        all.push((name, proxy.clone()));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        all.push((name, no_proxy.clone()));
    }
    all.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    all.extend(BUNDLE_VARIABLES.iter().map(|name| (*name, format!("{CA_FOLDER}/bundle.pem"))));
    all.extend(ADDITIVE_VARIABLES.iter().map(|name| (*name, format!("{CA_FOLDER}/ca.pem"))));
    all
}

/// What must not go through the proxy: the pod itself, the cluster's services, its API server (which clients call by
/// address) and the node's metadata service.
fn no_proxy(args: &InjectArgs) -> String {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1", ".svc"].map(str::to_owned).to_vec();
    all.push(format!(".{}", args.cluster_domain));
    all.extend(["kubernetes", "kubernetes.default", "$(KUBERNETES_SERVICE_HOST)"].map(str::to_owned));
    all.extend(["169.254.169.254", "metadata.google.internal"].map(str::to_owned));
    all.extend(args.no_proxy.iter().cloned());
    all.join(",")
}

/// One entry of `env`.
pub(super) fn variable(name: &str, value: &str) -> Value {
    Value::Map(vec![("name", text(name)), ("value", text(value))])
}

/// What every other container mounts.
pub(super) fn mounts(mode: Mode) -> Vec<Value> {
    match mode {
        Mode::Sidecar => vec![mount("claviger-ca", CA_FOLDER, true)],
        Mode::Gateway => vec![mount("claviger-ca", CA_FOLDER, true), mount("claviger-token", TOKEN_FOLDER, true)],
    }
}

fn mount(name: &'static str, path: &'static str, is_read_only: bool) -> Value {
    let mut entries = vec![("name", text(name)), ("mountPath", text(path))];
    if is_read_only {
        entries.push(("readOnly", boolean(true)));
    }
    Value::Map(entries)
}

/// The pod's new volumes.
pub(super) fn volumes(args: &InjectArgs) -> Vec<Value> {
    let token = Value::Map(vec![
        ("name", text("claviger-token")),
        (
            "projected",
            Value::Map(vec![(
                "sources",
                Value::List(vec![Value::Map(vec![(
                    "serviceAccountToken",
                    Value::Map(vec![
                        ("path", text("token")),
                        ("audience", text(&args.audience)),
                        ("expirationSeconds", number(3600)),
                    ]),
                )])]),
            )]),
        ),
    ]);
    let of_config_map = |name: &'static str, config_map: &str| {
        Value::Map(vec![("name", text(name)), ("configMap", Value::Map(vec![("name", text(config_map))]))])
    };
    let empty = |name: &'static str, limit: &str| {
        Value::Map(vec![("name", text(name)), ("emptyDir", Value::Map(vec![("sizeLimit", text(limit))]))])
    };
    let secret = args.secret.as_ref().map(|secret| {
        let source = Value::Map(vec![("secretName", text(secret))]);
        Value::Map(vec![("name", text("claviger-credentials")), ("secret", source)])
    });
    match args.mode {
        Mode::Sidecar => {
            let own = [empty("claviger-ca", "1Mi"), empty("claviger-state", "2Gi")];
            let given = [of_config_map("claviger-config", &args.config_map), token];
            given.into_iter().chain(own).chain(secret).collect()
        }
        Mode::Gateway => vec![of_config_map("claviger-ca", &args.ca_config_map), token],
    }
}

/// The sidecar: an init container that stays (Kubernetes 1.29 and newer), so that it serves before the first of the
/// pod's own containers starts, and ends after the last.
pub(super) fn sidecar(args: &InjectArgs) -> Value {
    let admin = format!("127.0.0.1:{}", args.admin_port);
    let probe = |arguments: &[&str], rest: &[(&'static str, u32)]| {
        let command = [&["/claviger", "health", "--address", &admin], arguments].concat();
        let mut entries = vec![("exec", Value::Map(vec![("command", texts(&command))]))];
        entries.extend(rest.iter().map(|(key, value)| (*key, number(*value))));
        Value::Map(entries)
    };
    let mut mounts = vec![
        mount("claviger-config", CONFIG_FOLDER, true),
        mount("claviger-token", TOKEN_FOLDER, true),
        mount("claviger-ca", CA_FOLDER, false),
        mount("claviger-state", STATE_FOLDER, false),
    ];
    mounts.extend(args.secret.as_ref().map(|_| mount("claviger-credentials", CREDENTIALS_FOLDER, true)));
    Value::Map(vec![
        ("name", text(NAME)),
        ("image", text(&args.image)),
        ("restartPolicy", text("Always")),
        ("args", texts(&["run", "--config", "/etc/claviger/claviger.toml", "--ca-dir", CA_FOLDER])),
        ("startupProbe", probe(&["--ready"], &[("periodSeconds", 1), ("timeoutSeconds", 5), ("failureThreshold", 60)])),
        ("readinessProbe", probe(&["--ready"], &[("periodSeconds", 5), ("timeoutSeconds", 5)])),
        ("livenessProbe", probe(&[], &[("periodSeconds", 10), ("timeoutSeconds", 5)])),
        (
            "resources",
            Value::Map(vec![
                ("requests", Value::Map(vec![("cpu", text("20m")), ("memory", text("48Mi"))])),
                ("limits", Value::Map(vec![("memory", text("512Mi"))])),
            ]),
        ),
        (
            "securityContext",
            Value::Map(vec![
                ("runAsNonRoot", boolean(true)),
                ("runAsUser", number(65532)),
                ("runAsGroup", number(65532)),
                ("readOnlyRootFilesystem", boolean(true)),
                ("allowPrivilegeEscalation", boolean(false)),
                ("capabilities", Value::Map(vec![("drop", texts(&["ALL"]))])),
                ("seccompProfile", Value::Map(vec![("type", text("RuntimeDefault"))])),
            ]),
        ),
        ("volumeMounts", Value::List(mounts)),
    ])
}
