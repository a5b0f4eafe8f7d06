//! The keys by which a server is reached: `address`, `namespace`, `auth`, `ca`, `allow_addresses`.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use claviger_contract::{Reach, path};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{Attributes, Authority, PathMode, Principal, Scheme, SpiffeId, Target};
use http::HeaderValue;
use tokio::sync::Mutex;

use super::login::{JwtFrom, Login, SecretId, Text, check_binding};
use super::{Around, Vault};
use crate::binding::BoundHost;
use crate::digest::Digester;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::client_certificate::CertificateSource;
use crate::source::warn;
use crate::store::{SecretHandle, Stores};

/// Where Kubernetes puts the token of a pod's service account.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What a table is read with.
struct Reader<'a> {
    stores: &'a Stores,
    target: &'a Target,
    address: &'a str,
    /// Whether there is an `[issuer]`.
    has_issuer: bool,
    digester: Digester,
}

/// Takes the keys of a server. The digester goes on with all that they say.
pub(crate) fn take(
    table: &mut Table,
    stores: &Stores,
    around: Around,
    digester: Digester,
    out: &mut Diagnostics,
) -> Option<(Vault, Digester)> {
    let reach = Reach::take(table, out);
    let address = take_address(table, &reach, out);
    let namespace = take_namespace(table, out);
    let auth_key = table.key_of("auth");
    if !table.has("auth") {
        table
            .missing("auth", out)
            .help("write `auth = { jwt = { role = \"…\", token = \"issuer\", … } }`, or another way to log in");
    }
    let auth = table.table("auth", out);
    let (Some((address, target)), Some(auth), Ok(namespace)) = (address, auth, namespace) else { return None };
    let digester = digester
        .field("address", address.as_str())
        .field("namespace", namespace.as_ref().map_or(&b""[..], HeaderValue::as_bytes))
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default());
    let has_issuer = around.tokens.issuer().is_some();
    let mut reader = Reader { stores, target: &target, address: address.as_str(), has_issuer, digester };
    let login = reader.take_login(auth, &auth_key, out)?;
    let digester = reader.digester;
    let around = ArcSwap::from_pointee(around);
    Some((Vault { address, target, namespace, reach, login, around, state: Mutex::default() }, digester))
}

fn take_address(table: &mut Table, reach: &Reach, out: &mut Diagnostics) -> Option<(url::Url, Target)> {
    let key = table.key_of("address");
    let text = table.required_string("address", out)?;
    match parse_address(&text.value, reach) {
        Ok(found) => Some(found),
        Err(message) => {
            out.error(&text.location, key, message).help("write `https://HOST:8200`");
            None
        }
    }
}

fn parse_address(text: &str, reach: &Reach) -> Result<(url::Url, Target), String> {
    let url = url::Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("an address has no user, no password, no query and no fragment".to_owned());
    }
    if url.path().trim_end_matches('/').ends_with("/v1") {
        return Err("an address ends before `/v1`".to_owned());
    }
    let scheme = match (url.scheme(), url.host()) {
        ("https", _) => Scheme::Https,
        ("http", Some(url::Host::Ipv4(ip))) if is_listed(ip.into(), reach) => Scheme::Http,
        ("http", Some(url::Host::Ipv6(ip))) if is_listed(ip.into(), reach) => Scheme::Http,
        _ => return Err(
            "a server is called over https:// only (http:// only at a loopback address that `allow_addresses` lists)"
                .to_owned(),
        ),
    };
    let host = url.host_str().ok_or("the URL has no host")?;
    let authority = Authority::parse(host, scheme.default_port())
        .map(|authority| Authority { port: url.port().unwrap_or(scheme.default_port()), ..authority })
        .map_err(|error| format!("the host cannot be used: {error}"))?;
    let target = Target::parse(scheme, authority, "/", PathMode::Strict).map_err(|error| error.to_string())?;
    Ok((url, target))
}

/// As the outbound guard has it.
fn is_listed(ip: std::net::IpAddr, reach: &Reach) -> bool {
    ip.is_loopback() && reach.allow_addresses.iter().any(|network| network.contains(&ip))
}

fn take_namespace(table: &mut Table, out: &mut Diagnostics) -> Result<Option<HeaderValue>, ()> {
    let key = table.key_of("namespace");
    let Some(text) = table.string("namespace", out) else { return Ok(None) };
    let trimmed = text.value.trim_matches('/');
    match HeaderValue::from_str(trimmed) {
        Ok(value) if is_path(trimmed) => Ok(Some(value)),
        Ok(_) | Err(_) => {
            out.error(&text.location, key, format!("`{}` is not a namespace", text.value)).help("write `team/app`");
            Err(())
        }
    }
}

/// Segments of visible characters that mean themselves in a URL or are encoded by it.
pub(crate) fn is_path(text: &str) -> bool {
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#' | b'\\'))
    };
    text.split('/').all(is_segment)
}

impl Reader<'_> {
    fn note(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let digester = std::mem::replace(&mut self.digester, Digester::new(""));
        self.digester = digester.field(name, value);
    }

    fn take_login(&mut self, mut auth: Table, key: &str, out: &mut Diagnostics) -> Option<Login> {
        type Take<'a> = fn(&mut Reader<'a>, Table, &mut Diagnostics) -> Option<Login>;
        let ways: [(&'static str, Take<'_>); 4] = [
            ("jwt", Self::take_jwt),
            ("kubernetes", Self::take_kubernetes),
            ("approle", Self::take_approle),
            ("cert", Self::take_cert),
        ];
        let place = auth.location().clone();
        let written =
            |auth: &Table| ways.iter().map(|(way, _)| *way).chain(["token"]).filter(|way| auth.has(way)).collect();
        let written: Vec<&str> = written(&auth);
        if let [_, second, ..] = written.as_slice() {
            let place = auth.place_of(second).unwrap_or(&place).clone();
            out.error(&place, auth.key_of(second), "there is one way to log in, and another is written already")
                .help("leave one of them");
            return None;
        }
        let mut login = None;
        for (way, take) in ways {
            if auth.has(way) {
                login = auth.table(way, out).and_then(|table| take(self, table, out));
            } else {
                // For "did you mean".
                auth.take(way);
            }
        }
        let token_key = auth.key_of("token");
        if let Some(text) = auth.string("token", out) {
            login = self.find(&text, &token_key, out).map(Login::Token);
        }
        if written.is_empty() && auth.clone().into_entries().is_empty() {
            out.error(&place, key, "it names no way to log in")
                .help("write one of `jwt`, `kubernetes`, `approle`, `cert`, `token`");
        }
        auth.finish(out);
        login
    }

    fn take_jwt(&mut self, mut table: Table, out: &mut Diagnostics) -> Option<Login> {
        let role = table.required_string("role", out);
        let path = self.take_mount(&mut table, "jwt", out);
        let key = table.key_of("token");
        let place = table.place_of("token").unwrap_or(table.location()).clone();
        let token = table.string("token", out);
        let token = match token {
            Some(text) if text.value.starts_with("secret://") => {
                for name in ["subject", "audience"] {
                    let written = table.place_of(name).cloned();
                    // Known here, also where it is not written.
                    table.take(name);
                    if let Some(place) = written {
                        out.error(&place, table.key_of(name), "a token that is read says already what it says")
                            .help("leave it out, or write `token = \"issuer\"`");
                    }
                }
                self.find(&text, &key, out).map(JwtFrom::Secret)
            }
            Some(text) if text.value != "issuer" => {
                out.error(&text.location, key, "expected `issuer` or a reference, `secret://STORE/NAME`")
                    .help("write `secret://file/PATH` for a token in a file");
                None
            }
            Some(_) | None if !self.has_issuer => {
                ["subject", "audience"].into_iter().for_each(|name| drop(table.take(name)));
                out.error(&place, key, "there is no `[issuer]` that would mint the token").help(
                    "add `[issuer]`, or name a token that somebody else issues: `token = \"secret://file/PATH\"`",
                );
                None
            }
            Some(_) | None => self.take_issuer(&mut table, out),
        };
        table.finish(out);
        let role = role?.value;
        self.note("role", &role);
        Some(Login::Jwt { path: path?, role, token: token? })
    }

    /// `token = "issuer"`, which is the default: the token says who Claviger is, and whom it is for.
    fn take_issuer(&mut self, table: &mut Table, out: &mut Diagnostics) -> Option<JwtFrom> {
        if !table.has("subject") {
            table
                .missing("subject", out)
                .help("write who Claviger is at the server, as `spiffe://TRUST-DOMAIN/claviger`");
        }
        let subject = table.parsed("subject", out, SpiffeId::parse);
        let audience = table.strings("audience", out);
        let audience: Vec<String> = match audience {
            Some(texts) => texts.into_iter().map(|text| text.value).collect(),
            None => vec![self.address.trim_end_matches('/').to_owned()],
        };
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            out.error(table.location(), table.key_of("audience"), "a token is for somebody")
                .help("leave it out for the address of the server, or write what the role has as `bound_audiences`");
            return None;
        }
        let own = Principal { id: subject?.value, attributes: Attributes::default(), attested_by: "claviger".into() };
        self.note("subject", own.id.as_str());
        audience.iter().for_each(|audience| self.note("audience", audience));
        Some(JwtFrom::Issuer { own, audience })
    }

    fn take_kubernetes(&mut self, mut table: Table, out: &mut Diagnostics) -> Option<Login> {
        let role = table.required_string("role", out);
        let path = self.take_mount(&mut table, "kubernetes", out);
        let file =
            table.string("token_file", out).map_or_else(|| PathBuf::from(POD_TOKEN), |text| path::resolve(&text));
        table.finish(out);
        let role = role?.value;
        self.note("role", &role);
        self.note("token_file", file.to_string_lossy().as_bytes());
        Some(Login::Jwt { path: path?, role, token: JwtFrom::File(file) })
    }

    fn take_approle(&mut self, mut table: Table, out: &mut Diagnostics) -> Option<Login> {
        let path = self.take_mount(&mut table, "approle", out);
        let keys = (table.key_of("role_id"), table.key_of("secret_id"));
        let role_id = table.required_string("role_id", out).and_then(|text| {
            if text.value.starts_with("secret://") {
                return self.find(&text, &keys.0, out).map(Text::Secret);
            }
            self.note("role_id", &text.value);
            Some(Text::Plain(text.value))
        });
        let written = table.has("secret_id");
        let handle = table.string("secret_id", out).and_then(|text| self.find(&text, &keys.1, out));
        let place = table.place_of("wrapped").cloned();
        let wrapped = table.boolean("wrapped", out).is_some_and(|wrapped| wrapped.value);
        if wrapped && !written {
            let place = place.unwrap_or_else(|| table.location().clone());
            out.error(&place, table.key_of("wrapped"), "there is no `secret_id` that could be wrapped");
        }
        table.finish(out);
        self.note("wrapped", [u8::from(wrapped)]);
        let wrapped = wrapped.then(|| Mutex::new(None));
        let secret_id = match (written, handle) {
            (true, None) => return None,
            (_, handle) => handle.map(|handle| SecretId { handle, wrapped }),
        };
        Some(Login::AppRole { path: path?, role_id: role_id?, secret_id })
    }

    fn take_cert(&mut self, mut table: Table, out: &mut Diagnostics) -> Option<Login> {
        let path = self.take_mount(&mut table, "cert", out);
        let name = table.string("name", out).map(|name| name.value);
        for half in ["certificate", "key"] {
            let written = table.clone().string(half, &mut Diagnostics::default());
            if written.is_some_and(|text| self.is_elsewhere(&text, &table.key_of(half), out)) {
                return None;
            }
        }
        let pair = CertificateSource::take(&mut table, self.stores, out, |handle, written, key, out| {
            self.check(handle, written, key, out)
        });
        table.finish(out);
        let (path, pair) = (path?, pair?);
        self.note("name", name.as_deref().unwrap_or_default());
        self.note("certificate", self.stores.digest_of(&pair.certificate));
        self.note("key", self.stores.digest_of(&pair.key));
        Some(Login::Cert { path, name, pair })
    }

    /// `mount`: where the way to log in is mounted, below `auth/`.
    fn take_mount(&mut self, table: &mut Table, usual: &str, out: &mut Diagnostics) -> Option<String> {
        let key = table.key_of("mount");
        let mount = match table.string("mount", out) {
            Some(text) if is_path(&text.value) => text.value,
            Some(text) => {
                out.error(&text.location, key, format!("`{}` is not a mount path", text.value))
                    .help(format!("write it without `auth/` and slashes around it, as `{usual}`"));
                return None;
            }
            None => usual.to_owned(),
        };
        let path = format!("auth/{mount}/login");
        self.note("login", &path);
        Some(path)
    }

    /// A secret of the login: it is there, and may go to the server. The same is checked at each login.
    fn find(&mut self, text: &Located<String>, key: &str, out: &mut Diagnostics) -> Option<SecretHandle> {
        // Before it is looked for: those stores are not there yet.
        if self.is_elsewhere(text, key, out) {
            return None;
        }
        let handle = self.stores.find(text, key, out)?;
        self.check(&handle, text, key, out)?;
        let digest = self.stores.digest_of(&handle);
        self.note("secret", digest);
        Some(handle)
    }

    fn check(&self, handle: &SecretHandle, text: &Located<String>, key: &str, out: &mut Diagnostics) -> Option<()> {
        let Some(read) = handle.read_now() else { return Some(()) };
        if let Ok(stored) = &read {
            warn(stored, text, key, out);
        }
        let Err(error) = read.and_then(|stored| check_binding(handle, &stored, self.target)) else { return Some(()) };
        let (name, host) = (handle.reference.name(), BoundHost::of_target(self.target));
        let help = match &error {
            SourceError::Binding { .. } => format!(
                "bind it there: `claviger secret set {name} --host {host}`, or `bindings` of a store that has them"
            ),
            _ => handle.advice(&format!("--host {host}")),
        };
        out.error(&text.location, key, error.to_string()).help(help);
        None
    }

    /// What is asked for over a network may itself need a login.
    fn is_elsewhere(&self, text: &Located<String>, key: &str, out: &mut Diagnostics) -> bool {
        let is_remote = |reference: SecretReference| self.stores.is_remote(reference.store());
        if !SecretReference::parse(&text.value).is_ok_and(is_remote) {
            return false;
        }
        out.error(&text.location, key, "what a login needs stands in a store that needs no login")
            .help("write a reference to `sealed`, `env` or `file`");
        true
    }
}
