//! CONNECT: TLS is ended with a leaf for exactly the host that was named, and every request inside
//! goes through the pipeline like any other. Hosts that no service names are refused, or passed
//! untouched where the listener says so.

use std::rc::Rc;
use std::sync::Arc;

use claviger_contract::Attested;
use claviger_policy::{Authority, Principal};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::body::{AnswerBody, Sent};
use crate::canary::Canaries;
use crate::connection::{Connection, Inside, drained, serve};
use crate::generation::Generation;
use crate::head;
use crate::io::Stream;
use crate::keep_alive::Noting;
use crate::listener::{protocol_of, refused, shake_hands};
use crate::refusal::{Refusal, RefusalCode};
use crate::settings::{AuthenticateAt, Unmatched};
use crate::suspended::Using;
use crate::tls::Tls;
use crate::trail::{Ending, Trail};
use crate::upstream::dial_refusal;
use crate::watch::Over;

/// Answers a CONNECT of a forward listener.
pub(crate) async fn handle(
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let reservation = connection.core.ledger.reserve();
    let mut trail = Trail::begin(connection, generation, &head, reservation);
    match open(connection, generation, &mut trail, &head, upgrade).await {
        Ok(answer) => answer,
        Err(refusal) => trail.refuse(&refusal),
    }
}

async fn open(
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    trail: &mut Trail,
    head: &Parts,
    upgrade: OnUpgrade,
) -> Result<Response<AnswerBody>, Refusal> {
    trail.recordable()?;
    let authority = head::connect_authority(head)?;
    trail.host(&authority);
    let in_name = |canaries: &Canaries| canaries.spot_in_host(authority.host.as_str());
    let shown = generation.canaries.as_ref().map_or_else(Vec::new, in_name);
    let settings = &connection.listener_in(generation)?.settings;
    let known = generation.policy.knows(&authority);
    // Proof inside is only for hosts that are intercepted; a tunnel has no inside.
    let attested = if known && settings.authenticate_at == AuthenticateAt::Request {
        None
    } else {
        let attested = connection.attest(generation, head, std::iter::empty()).await;
        Some(attested.map_err(|refusal| trail.or_stolen(refusal, &shown))?.0)
    };
    if let Some(attested) = &attested {
        trail.attested(attested, &generation.policy);
        trail.unless_suspended(Using::caller(attested, None))?;
    }
    if known {
        let token = match attested {
            Some(_) => connection.proxy_token(head)?,
            None => None,
        };
        let connection = connection.clone();
        // Boxed: serving HTTP inside HTTP would be a future that contains itself.
        let inside: std::pin::Pin<Box<dyn Future<Output = ()>>> =
            Box::pin(intercept(connection, generation.clone(), authority, token, upgrade));
        tokio::task::spawn_local(inside);
        return Ok(established());
    }
    // What is inside is looked at there. Here nobody but the name's owner would see it.
    if let Some(stolen) = shown.first() {
        return Err(trail.stolen(stolen, None));
    }
    match (settings.unmatched, attested) {
        (Unmatched::Tunnel, Some(attested)) => {
            tunnel(connection, generation, trail, authority, &attested, upgrade).await
        }
        (Unmatched::Tunnel | Unmatched::Refuse, _) => {
            Err(Refusal::new(RefusalCode::UnknownService, format!("no service claims `{authority}`")))
        }
    }
}

fn established() -> Response<AnswerBody> {
    Response::new(AnswerBody::Full(None))
}

/// Ends the client's TLS and serves what is inside.
async fn intercept(
    outer: Rc<Connection>,
    generation: Arc<Generation>,
    authority: Authority,
    token: Option<Vec<u8>>,
    upgrade: OnUpgrade,
) {
    let core = outer.core.clone();
    let _open = core.count_connection();
    let name = outer.listener.settings.name.clone();
    let fail = |code, detail: String| refused(&core, &name, None, code, detail);
    let Ok(upgraded) = upgrade.await else { return };
    let leaf = match generation.interception.as_ref().map(|interception| interception.leaf(&authority.host)) {
        Some(Ok(leaf)) => leaf,
        Some(Err(error)) => return fail("leaf_failed", error.to_string()),
        None => return fail("leaf_failed", "there is no interception authority".to_owned()),
    };
    let handshake = Box::pin(shake_hands(leaf, below(upgraded)));
    let stream = match tokio::time::timeout(generation.limits.header_timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return fail("intercepted_tls_failed", format!("`{authority}`: {error}")),
        Err(_) => return fail("intercepted_tls_timeout", format!("`{authority}`")),
    };
    drop(generation);
    let protocol = protocol_of(stream.session().alpn_protocol());
    let connection = outer.within(Inside { authority, token });
    drop(outer);
    serve(connection, stream, protocol).await;
}

/// The client's stream without the layers of the HTTP connection that carried CONNECT, where that is possible.
fn below(upgraded: Upgraded) -> Stream {
    let upgraded = match upgraded.downcast::<TokioIo<Noting<Stream>>>() {
        Ok(parts) => return Stream::with_prefix(parts.read_buf, parts.io.into_inner().into_parts().0),
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Noting<Box<Tls<Stream>>>>>() {
        Ok(parts) => Stream::with_prefix(parts.read_buf, Stream::Tls(parts.io.into_inner().into_parts().0)),
        Err(upgraded) => Stream::Upgraded(TokioIo::new(upgraded)),
    }
}

/// Passes bytes between the client and a host that no service names.
async fn tunnel(
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    trail: &mut Trail,
    authority: Authority,
    attested: &Attested,
    upgrade: OnUpgrade,
) -> Result<Response<AnswerBody>, Refusal> {
    let core = &connection.core;
    let guard = connection.listener_in(generation)?.settings.tunnel_guard.clone();
    let upstream = core.resolver.dial(&authority, &guard, None, generation.limits.connect_timeout).await;
    let upstream = upstream.map_err(|error| dial_refusal(&error))?;
    let open = trail.allow(None)?;
    open.committed().await.map_err(|error| Refusal::new(RefusalCode::LedgerUnavailable, error.to_string()))?;
    let sent = Rc::new(Sent::default());
    let mut ending = trail.ending(open, sent.clone());
    ending.answered(StatusCode::OK.as_u16());
    let mut answer = established();
    ending.identify(answer.headers_mut());
    let leave = Leave { authority, principal: attested.principal.clone(), proof_ends: attested.proof.expires_at };
    tokio::task::spawn_local(pass_untouched(connection.clone(), upstream, upgrade, sent, ending, leave));
    Ok(answer)
}

/// What a tunnel was allowed by.
struct Leave {
    authority: Authority,
    principal: Arc<Principal>,
    proof_ends: Option<i64>,
}

impl Leave {
    /// Resolves when the proof has ended, the caller is suspended, or the configuration tunnels this host no longer.
    async fn ends(&self, connection: &Connection) -> Over {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        let core = &connection.core;
        let mut changes = core.suspended.changes();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // The publisher lives as long as the process.
                _ = changes.changed() => {}
            }
            let using = Using { principal: &self.principal.id, service: None, credential: None };
            if let Some(suspension) = core.suspended.find(using, || core.clock.now_ms()) {
                core.metrics.suspended(suspension.kind);
                return Over::Suspended(suspension);
            }
            let generation = core.generation();
            let tunnels = connection
                .listener_in(&generation)
                .is_ok_and(|listener| listener.settings.unmatched == Unmatched::Tunnel);
            let proven = self.proof_ends.is_none_or(|ends| core.clock.now() < ends);
            if !tunnels || !proven || generation.policy.knows(&self.authority) {
                return Over::Revoked;
            }
        }
    }
}

async fn pass_untouched(
    connection: Rc<Connection>,
    mut upstream: tokio::net::TcpStream,
    upgrade: OnUpgrade,
    sent: Rc<Sent>,
    mut ending: Ending,
    leave: Leave,
) {
    let _open = connection.core.count_connection();
    let mut drain = connection.core.drain.clone();
    let Ok(upgraded) = upgrade.await else { return };
    let mut client = below(upgraded);
    let copied = tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut client, &mut upstream) => copied,
        () = drained(&mut drain) => return ending.failed("drained"),
        over = leave.ends(&connection) => return ending.failed(over.code()),
    };
    match copied {
        Ok((up, down)) => {
            sent.bytes.set(up);
            ending.received(down);
            ending.ended_well();
        }
        Err(_) => ending.failed("broken"),
    }
}
