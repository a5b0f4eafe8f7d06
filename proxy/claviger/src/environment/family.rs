//! The variables of each family of clients: a table, which `make` follows and `doctor` reads. `docs/clients.md` says it to
//! people.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Environment, Inherited};

/// Clients that look at the same variables.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its variables.
    pub(crate) variables: &'static [Variable],
}

/// A variable, and what a client process gets in it.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) holds: Holds,
}

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The URL of the proxy, with the session's proof.
    Proxy,
    /// The same, but only where the caller had something there: it would go before the usual variables.
    ProxyIfInherited,
    /// What is reached without the proxy.
    Direct,
    /// The same, but only where the caller had something there.
    DirectIfInherited,
    /// The file with the roots of the system and ours: the variable replaces what the client trusts.
    Bundle,
    /// The same, but only where the caller had something there.
    BundleIfInherited,
    /// The file with our certificate: the variable adds to what the client trusts.
    Additive,
    /// This text.
    Constant(&'static str),
    /// Nothing: what the caller had there would lead around the proxy, or away from its certificate.
    Nothing,
    /// A file or a text that code makes, in addition to what the caller had there.
    Chained,
}

/// What the kinds of [`Holds`] are in one session.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) proxy: String,
    pub(super) direct: String,
    pub(super) bundle: PathBuf,
    pub(super) additive: PathBuf,
}

const fn holds(name: &'static str, holds: Holds) -> Variable {
    Variable { name, holds }
}

use Holds::{
    Additive, Bundle, BundleIfInherited, Chained, Constant, Direct, DirectIfInherited, Nothing, Proxy, ProxyIfInherited,
};

/// All families: what is common first, then one client or language after the other. A variable stands once.
pub(crate) static FAMILIES: &[Family] = &[
    Family {
        // All clients that take a proxy.
        variables: &[
            holds("HTTPS_PROXY", Proxy),
            holds("https_proxy", Proxy),
            // curl reads the lower case only here; programs that run as CGI must not read the upper case.
            holds("HTTP_PROXY", Proxy),
            holds("http_proxy", Proxy),
            holds("ALL_PROXY", Proxy),
            holds("all_proxy", Proxy),
            holds("NO_PROXY", Direct),
            holds("no_proxy", Direct),
            holds("FTP_PROXY", ProxyIfInherited),
            holds("ftp_proxy", ProxyIfInherited),
            holds("SOCKS_PROXY", Nothing),
            holds("socks_proxy", Nothing),
            holds("WS_PROXY", ProxyIfInherited),
            holds("ws_proxy", ProxyIfInherited),
            holds("WSS_PROXY", ProxyIfInherited),
            holds("wss_proxy", ProxyIfInherited),
        ],
    },
    Family {
        // OpenSSL, Go, rustls' native certificates, httpx, uv, Ruby, .NET.
        variables: &[
            holds("SSL_CERT_FILE", Bundle),
            holds("SSL_CERT_DIR", Nothing),
            holds("NIX_SSL_CERT_FILE", BundleIfInherited),
        ],
    },
    Family { variables: &[holds("CURL_CA_BUNDLE", Bundle), holds("CURL_HOME", Chained)] },
    Family { variables: &[holds("WGETRC", Chained)] },
    Family {
        // git.
        variables: &[
            holds("GIT_SSL_CAINFO", Bundle),
            holds("GIT_SSL_CAPATH", Nothing),
            holds("GIT_PROXY_SSL_CAINFO", Nothing),
            holds("GIT_PROXY_SSL_CERT", Nothing),
            holds("GIT_PROXY_SSL_KEY", Nothing),
            holds("GIT_PROXY_SSL_CERT_PASSWORD_PROTECTED", Nothing),
            holds("GIT_HTTP_PROXY_AUTHMETHOD", Nothing),
            holds("GIT_CONFIG_COUNT", Chained),
        ],
    },
    Family {
        // cargo.
        variables: &[
            holds("CARGO_HTTP_CAINFO", Bundle),
            // Goes before a proxy of the user's `config.toml`, which goes before HTTPS_PROXY.
            holds("CARGO_HTTP_PROXY", Proxy),
        ],
    },
    Family {
        // pip.
        variables: &[holds("PIP_CERT", Bundle), holds("PIP_PROXY", Proxy), holds("PIP_CLIENT_CERT", Nothing)],
    },
    Family {
        // python.
        variables: &[
            holds("REQUESTS_CA_BUNDLE", Bundle),
            holds("HTTPLIB2_CA_CERTS", Bundle),
            holds("PYTHONPATH", Chained),
        ],
    },
    Family {
        // npm.
        variables: &[
            holds("npm_config_cafile", Bundle),
            holds("npm_config_proxy", Proxy),
            holds("npm_config_https_proxy", Proxy),
            holds("npm_config_noproxy", Direct),
            holds("npm_config_ca", Nothing),
            holds("npm_config_userconfig", Chained),
            holds("NPM_CONFIG_CAFILE", Nothing),
            holds("NPM_CONFIG_PROXY", Nothing),
            holds("NPM_CONFIG_HTTPS_PROXY", Nothing),
            holds("NPM_CONFIG_NOPROXY", Nothing),
            holds("NPM_CONFIG_USERCONFIG", Nothing),
            holds("YARN_HTTPS_CA_FILE_PATH", BundleIfInherited),
            holds("YARN_HTTP_PROXY", ProxyIfInherited),
            holds("YARN_HTTPS_PROXY", ProxyIfInherited),
        ],
    },
    Family {
        // node.
        variables: &[
            holds("NODE_EXTRA_CA_CERTS", Additive),
            // Node 24 and newer, also where a program drops NODE_OPTIONS.
            holds("NODE_USE_ENV_PROXY", Constant("1")),
            holds("NODE_OPTIONS", Chained),
            holds("GLOBAL_AGENT_HTTP_PROXY", ProxyIfInherited),
            holds("GLOBAL_AGENT_HTTPS_PROXY", ProxyIfInherited),
            holds("GLOBAL_AGENT_NO_PROXY", DirectIfInherited),
        ],
    },
    Family { variables: &[holds("DENO_CERT", Additive)] },
    Family {
        // java.
        variables: &[
            holds("JAVA_TOOL_OPTIONS", Chained),
            // Only if inherited: they go before JAVA_TOOL_OPTIONS.
            holds("JDK_JAVA_OPTIONS", Chained),
            holds("_JAVA_OPTIONS", Chained),
        ],
    },
    Family { variables: &[holds("AWS_CA_BUNDLE", Bundle)] },
    Family {
        // gcloud.
        variables: &[
            holds("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Bundle),
            holds("CLOUDSDK_PROXY_TYPE", Nothing),
            holds("CLOUDSDK_PROXY_ADDRESS", Nothing),
            holds("CLOUDSDK_PROXY_PORT", Nothing),
            holds("CLOUDSDK_PROXY_USERNAME", Nothing),
            holds("CLOUDSDK_PROXY_PASSWORD", Nothing),
        ],
    },
    Family {
        // grpc.
        variables: &[
            holds("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Bundle),
            holds("grpc_proxy", ProxyIfInherited),
            holds("no_grpc_proxy", DirectIfInherited),
        ],
    },
    Family {
        // Each has its own name for a file that replaces the roots; set where the machine has something else there.
        variables: &[
            holds("VAULT_CACERT", BundleIfInherited),
            holds("VAULT_CAPATH", Nothing),
            holds("VAULT_PROXY_ADDR", ProxyIfInherited),
            holds("VAULT_HTTP_PROXY", ProxyIfInherited),
            holds("BAO_CACERT", BundleIfInherited),
            holds("BAO_CAPATH", Nothing),
            holds("PERL_LWP_SSL_CA_FILE", BundleIfInherited),
            holds("HTTPS_CA_FILE", BundleIfInherited),
            holds("HEX_CACERTS_PATH", BundleIfInherited),
            holds("BUNDLE_SSL_CA_CERT", BundleIfInherited),
            holds("COMPOSER_CAFILE", BundleIfInherited),
            holds("JULIA_SSL_CA_ROOTS_PATH", BundleIfInherited),
            holds("CODEX_CA_CERTIFICATE", BundleIfInherited),
        ],
    },
];

impl Variable {
    /// Sets or removes it.
    pub(super) fn apply(&self, values: &Values, inherited: Inherited<'_>, made: &mut Environment) {
        let had = || inherited(self.name).is_some();
        let value: OsString = match self.holds {
            Holds::Proxy => values.proxy.clone().into(),
            Holds::ProxyIfInherited if had() => values.proxy.clone().into(),
            Holds::Direct => values.direct.clone().into(),
            Holds::DirectIfInherited if had() => values.direct.clone().into(),
            Holds::Bundle => values.bundle.clone().into(),
            Holds::BundleIfInherited if had() => values.bundle.clone().into(),
            Holds::Additive => values.additive.clone().into(),
            Holds::Constant(text) => text.into(),
            Holds::Nothing => return made.remove(self.name),
            Holds::Chained | Holds::ProxyIfInherited | Holds::DirectIfInherited | Holds::BundleIfInherited => return,
        };
        made.set(self.name, value);
    }
}
