//! What a request's head says about its target, and what must not travel on.

mod hop;

use claviger_contract::Secret;
use claviger_policy::{Authority, Policy, Scheme, Target};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{Method, Uri, Version};

pub(crate) use self::hop::{Marks, strip_own, strip_request, strip_response, strip_shared_origin};
use crate::refusal::{Refusal, RefusalCode};
use crate::settings::Mode;

/// Headers by which frameworks and gateways take another method or path than the request's own.
const OVERRIDES: [&str; 6] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
];

/// Where `_` and `-` mean the same (CGI, RFC 3875 §4.1.18), so must they here.
fn normal(name: &HeaderName) -> std::borrow::Cow<'_, str> {
    match name.as_str().contains('_') {
        true => name.as_str().replace('_', "-").into(),
        false => name.as_str().into(),
    }
}

/// Path with query and `Host`, if these are all that the request says about where it wants to go.
pub(crate) fn written(head: &Parts) -> Option<(&str, &str)> {
    let path = head.uri.path_and_query().filter(|_| head.uri.authority().is_none())?;
    Some((path.as_str(), single_host(head).ok()??))
}

/// Where the request says it wants to go, before policy knows it. Its framing was [checked](check_framing).
pub(crate) fn target(
    head: &Parts,
    mode: Mode,
    intercepted: Option<&Authority>,
    policy: &Policy,
) -> Result<Target, Refusal> {
    match (intercepted, mode) {
        (Some(authority), _) => inside_connect(head, authority, policy),
        (None, Mode::Forward) => absolute_form(head, policy),
        (None, Mode::Gateway) => gateway(head, policy),
    }
}

/// The authority of a CONNECT request (RFC 9110 §9.3.6): host and port, both.
pub(crate) fn connect_authority(head: &Parts) -> Result<Authority, Refusal> {
    let authority = head.uri.authority().ok_or_else(|| bad("CONNECT without an authority"))?;
    if authority.port_u16().is_none() {
        return Err(bad("CONNECT without a port"));
    }
    let authority = Authority::parse(authority.as_str(), 443).map_err(target_error)?;
    check_host(head, &authority, 443)?;
    Ok(authority)
}

/// What a request names, where no policy is at hand to read it in canonical form: whoever judges it does that.
pub(crate) fn named_target(head: &Parts, inside: Option<&Authority>) -> Result<(Scheme, Authority), Refusal> {
    check_framing(head, Marks::of(&head.headers))?;
    if let Some(authority) = inside {
        agrees(head, authority)?;
        return Ok((Scheme::Https, authority.clone()));
    }
    Ok((Scheme::Http, absolute_authority(head)?))
}

/// Inside an intercepted connection everything must name the host that was connected to.
fn inside_connect(head: &Parts, authority: &Authority, policy: &Policy) -> Result<Target, Refusal> {
    agrees(head, authority)?;
    let path = path_and_query(&head.uri)?;
    policy.canonicalize(Scheme::Https, authority.clone(), path).map_err(target_error)
}

fn agrees(head: &Parts, authority: &Authority) -> Result<(), Refusal> {
    if let Some(named) = head.uri.authority() {
        let named = Authority::parse(named.as_str(), 443).map_err(target_error)?;
        if named != *authority || head.uri.scheme_str().is_some_and(|scheme| scheme != "https") {
            return Err(misdirected(&named, authority));
        }
    }
    check_host(head, authority, 443)
}

/// `GET http://host/path`: a client that speaks clear text to the proxy for an `http://` URL.
fn absolute_form(head: &Parts, policy: &Policy) -> Result<Target, Refusal> {
    let authority = absolute_authority(head)?;
    policy.canonicalize(Scheme::Http, authority, path_and_query(&head.uri)?).map_err(target_error)
}

fn absolute_authority(head: &Parts) -> Result<Authority, Refusal> {
    let authority = head.uri.authority().filter(|_| head.uri.scheme_str() == Some("http"));
    let Some(authority) = authority else {
        return Err(bad("a forward listener takes CONNECT and absolute http:// URLs"));
    };
    let authority = Authority::parse(authority.as_str(), 80).map_err(target_error)?;
    check_host(head, &authority, 80)?;
    Ok(authority)
}

/// `/<service>/…`, or a service's own host name in `Host`.
fn gateway(head: &Parts, policy: &Policy) -> Result<Target, Refusal> {
    let host = match (head.uri.authority(), single_host(head)?) {
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            return Err(Refusal::new(RefusalCode::Misdirected, "authority and Host differ"));
        }
        (Some(authority), _) => Some(authority.as_str()),
        (None, host) => host,
    };
    let path = path_and_query(&head.uri)?;
    if let Some(named) = host
        && let Some((scheme, authority)) = own_host(named, policy)
    {
        return policy.canonicalize(scheme, authority, path).map_err(target_error);
    }
    let (name, rest) = split_service(path);
    let service = policy.service(name).ok_or_else(|| {
        // The segment itself is not repeated: it may be a key that belongs into another path.
        Refusal::new(RefusalCode::UnknownService, "the path begins with no service's name, and Host names none either")
    })?;
    let authority = service.primary().ok_or_else(|| {
        let detail = format!("service `{name}` has only wildcard hosts: the Host header must name the host");
        Refusal::new(RefusalCode::UnknownService, detail)
    })?;
    // `/service` and `/service?x` mean the root of the service.
    let rooted;
    let rest = if rest.starts_with('/') {
        rest
    } else {
        rooted = format!("/{rest}");
        &rooted
    };
    policy.canonicalize(service.scheme(), authority.clone(), rest).map_err(target_error)
}

fn own_host(named: &str, policy: &Policy) -> Option<(Scheme, Authority)> {
    // Mostly it is the gateway's own name.
    if !policy.could_know(named) {
        return None;
    }
    [Scheme::Https, Scheme::Http].into_iter().find_map(|scheme| {
        let authority = Authority::parse(named, scheme.default_port()).ok()?;
        policy.knows(&authority).then_some((scheme, authority)).filter(|(scheme, authority)| {
            policy.service_for(authority, "/").is_none_or(|service| service.scheme() == *scheme)
        })
    })
}

/// Whether the request reached its service by a path prefix, so that all services share one origin in
/// the client's eyes.
pub(crate) fn is_prefixed(head: &Parts, target: &Target) -> bool {
    path_and_query(&head.uri).is_ok_and(|path| path != target.path_and_query())
}

fn split_service(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_at(path.find(['/', '?']).unwrap_or(path.len()))
}

/// Host, if given, must name the same place as the authority that was already understood.
fn check_host(head: &Parts, authority: &Authority, default_port: u16) -> Result<(), Refusal> {
    let Some(host) = single_host(head)? else {
        // RFC 9112 §3.2: an HTTP/1.1 request without Host is malformed; h2 has `:authority`.
        return if head.version == Version::HTTP_2 || head.uri.authority().is_some() {
            Ok(())
        } else {
            Err(bad("no Host header"))
        };
    };
    let named = Authority::parse(host, default_port).map_err(target_error)?;
    if named == *authority { Ok(()) } else { Err(misdirected(&named, authority)) }
}

fn single_host(head: &Parts) -> Result<Option<&str>, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(bad("more than one Host header"));
    }
    host.to_str().map(Some).map_err(|_| bad("the Host header is not ASCII"))
}

/// hyper reads one message from ambiguous framing; here it is refused, so that no upstream could read two.
pub(crate) fn check_framing(head: &Parts, marks: Marks) -> Result<(), Refusal> {
    // TRACE would reflect the injected credential (RFC 9110 §9.3.8); CONNECT is for this proxy alone.
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Refusal::new(RefusalCode::Unsupported, head.method.as_str()));
    }
    if marks.has(Marks::LENGTH | Marks::CODING) {
        check_length(&head.headers)?;
    }
    // Upstream would do something else than what policy judged.
    if marks.has(Marks::EXTENSION)
        && let Some(name) = head.headers.keys().find(|name| OVERRIDES.contains(&normal(name).as_ref()))
    {
        return Err(Refusal::new(RefusalCode::Unsupported, format!("the header `{name}` overrides method or path")));
    }
    // These authenticate the connection, which is shared with other callers (RFC 4559 §6).
    let binds_connection = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"negotiate") || scheme.eq_ignore_ascii_case(b"ntlm")
    };
    if marks.has(Marks::AUTHORIZATION) && head.headers.get_all(AUTHORIZATION).iter().any(binds_connection) {
        return Err(Refusal::new(RefusalCode::Unsupported, "an authentication that binds the connection"));
    }
    if marks.has(Marks::UPGRADE)
        && head.headers.get(UPGRADE).is_some_and(|to| !to.as_bytes().eq_ignore_ascii_case(b"h2c"))
    {
        return Err(Refusal::new(RefusalCode::Unsupported, "Upgrade"));
    }
    Ok(())
}

/// One length, or one `chunked`, and not both (RFC 9112 §6.3).
fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad("more than one Content-Length"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() || length.is_some() {
        return Err(bad("a Transfer-Encoding other than one `chunked`, or with a Content-Length"));
    }
    Ok(())
}

fn path_and_query(uri: &Uri) -> Result<&str, Refusal> {
    match uri.path_and_query() {
        Some(path) if !path.as_str().is_empty() => Ok(path.as_str()),
        _ => Ok("/"),
    }
}

/// The token in `Proxy-Authorization`: a bearer token, or the password of Basic (clients that take a
/// proxy URL can only send Basic).
pub(crate) fn proxy_token(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = headers.get_all(PROXY_AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Present but unreadable is not absent: no other attestor is asked.
    match token_of(value).filter(|_| values.next().is_none()) {
        Some(token) => Ok(Some(token)),
        None => Err(Refusal::because(
            RefusalCode::InvalidIdentity,
            "identity_malformed",
            "Proxy-Authorization is neither one Bearer token nor one Basic pair",
        )),
    }
}

/// Moves the first segment of the path to `Proxy-Authorization`, if it is a token: `/TOKEN/service/v1` becomes
/// `/service/v1`. What a client wrote there itself gives way: this URL was given to it for the session.
pub(crate) fn take_path_token(head: &mut Parts, is_token: impl Fn(&[u8]) -> bool) {
    let Some(path) = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str) else { return };
    let Some(rest) = path.strip_prefix('/') else { return };
    let (first, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_token(first.as_bytes()) {
        return;
    }
    let Ok(mut proof) = HeaderValue::from_str(&format!("Bearer {first}")) else { return };
    proof.set_sensitive(true);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut uri = head.uri.clone().into_parts();
    uri.path_and_query = rest.parse().ok();
    // What was a URI with one more segment is one without it.
    if let Ok(uri) = Uri::from_parts(uri) {
        head.uri = uri;
        head.headers.insert(PROXY_AUTHORIZATION, proof);
    }
}

/// Removes the client's own proof wherever else it stands, so that upstream cannot act as the workload.
// The token is compared with what the client itself sent; nothing of it leaves this function.
#[allow(clippy::disallowed_methods, reason = "searched for, so that it can be removed")]
pub(crate) fn strip_proof(headers: &mut HeaderMap, proof: Option<&Secret>) {
    let Some(proof) = proof.map(Secret::expose).filter(|proof| !proof.is_empty()) else { return };
    // Most values are shorter than a token; one that holds it mostly ends with it.
    let holds = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.len() >= proof.len() && (value.ends_with(proof) || memchr::memmem::find(value, proof).is_some())
    };
    let names: Vec<HeaderName> =
        headers.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// The token in a Bearer or Basic value.
fn token_of(value: &HeaderValue) -> Option<Vec<u8>> {
    use base64::Engine;
    let text = value.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        return pair.get(colon + 1..).map(<[u8]>::to_vec);
    }
    None
}

fn bad(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, detail)
}

fn misdirected(named: &Authority, meant: &Authority) -> Refusal {
    Refusal::new(RefusalCode::Misdirected, format!("the request names `{named}` on a connection to `{meant}`"))
}

fn target_error(error: claviger_policy::TargetError) -> Refusal {
    Refusal::because(RefusalCode::BadTarget, error.code(), error.to_string())
}
