//! `kind = "unix-peer"`: the kernel's word about the process at the other end of a Unix socket.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use claviger_contract::{Attested, Proof};
use claviger_policy::document::{Diagnostics, Item, Located, Table, Value};
use claviger_policy::{AttributeValue, Principal};

use super::{Attestor, Evidence, Verdict};
use crate::os::{self, UnixPeer};
use crate::token::template::Template;
use crate::{IdentityEnv, IdentityError, proof_digest};

#[derive(Debug)]
struct UnixPeers {
    name: Arc<str>,
    identity: Template<Variable>,
    require: Require,
}

/// What may stand in braces in `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Uid,
    Gid,
    User,
    ExeName,
}

const VARIABLES: &[(&str, Variable)] =
    &[("uid", Variable::Uid), ("gid", Variable::Gid), ("user", Variable::User), ("exe_name", Variable::ExeName)];

/// What the peer must be; `None`: anything.
#[derive(Clone, Debug, Default)]
struct Require {
    uid: Option<Vec<u32>>,
    gid: Option<Vec<u32>>,
    exe: Option<Vec<PathBuf>>,
}

pub(super) fn take(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    if !os::PEERS_ARE_KNOWN {
        out.error(&name.location, table.key(), "this system does not say who is at the other end of a Unix socket");
        return None;
    }
    let require = take_require(table, out);
    let written = table.required_string("identity", out)?;
    let variable = |text: &str| {
        let found = VARIABLES.iter().find(|(name, _)| *name == text).map(|(_, variable)| *variable);
        let all: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| format!("`{{{text}}}` is not known here; there are {}", all.join(", ")))
    };
    match Template::parse(&written.value, &env.trust_domain, variable) {
        Ok(identity) => Some(Arc::new(UnixPeers { name: name.value.as_str().into(), identity, require: require? })),
        Err(error) => {
            let help = format!("write it as `spiffe://{}/unix/{{uid}}`", env.trust_domain);
            out.error(&written.location, table.key_of("identity"), error).help(help);
            None
        }
    }
}

fn take_require(table: &mut Table, out: &mut Diagnostics) -> Option<Require> {
    let Some(mut table) = table.table("require", out) else { return Some(Require::default()) };
    let ids = |item: Item, out: &mut Diagnostics| {
        let (location, key) = (item.location.clone(), item.key.clone());
        let items = match item.value {
            Value::Array(items) => items.into_iter().map(|item| item.value).collect(),
            other => vec![other],
        };
        let ids: Option<Vec<u32>> = items
            .iter()
            .map(|value| if let Value::Integer(id) = value { u32::try_from(*id).ok() } else { None })
            .collect();
        ids.filter(|ids| !ids.is_empty()).or_else(|| {
            out.error(&location, key, "expected an id or a list of ids").help("write it as `[1000, 1001]`");
            None
        })
    };
    let mut is_good = true;
    let mut take_ids = |name, table: &mut Table, out: &mut Diagnostics| {
        let item = table.take(name)?;
        let found = ids(item, out);
        is_good &= found.is_some();
        found
    };
    let uid = take_ids("uid", &mut table, out);
    let gid = take_ids("gid", &mut table, out);
    let key = table.key_of("exe");
    let exe = table.strings("exe", out);
    for file in exe.iter().flatten().filter(|file| !file.value.starts_with('/')) {
        is_good = false;
        out.error(&file.location, key.clone(), format!("`{}` is not an absolute path", file.value));
    }
    let exe = exe.map(|files| files.into_iter().map(|file| PathBuf::from(file.value)).collect());
    table.finish(out);
    is_good.then_some(Require { uid, gid, exe })
}

#[async_trait]
impl Attestor for UnixPeers {
    fn evidence(&self) -> Evidence {
        Evidence::UnixPeer
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        ["unix.uid", "unix.gid", "unix.pid", "unix.exe"].map(Arc::from).to_vec()
    }

    fn identities(&self) -> Vec<String> {
        vec![self.identity.pattern()]
    }

    fn attest_peer(&self, peer: &UnixPeer) -> Verdict {
        self.attest(peer).into()
    }
}

impl UnixPeers {
    fn attest(&self, peer: &UnixPeer) -> Result<Attested, IdentityError> {
        let refused = |detail: String| IdentityError::Refused { attestor: self.name.clone(), detail: detail.into() };
        if let Some(unmet) = self.require.unmet(peer) {
            return Err(refused(format!("`{unmet}` is none of those that `require` names")));
        }
        let exe = peer.exe.as_ref().and_then(|path| path.to_str());
        let user =
            if self.identity.holes().any(|hole| *hole == Variable::User) { os::user_name(peer.uid) } else { None };
        let id = self
            .identity
            .expand(|variable| match variable {
                Variable::Uid => Some(Cow::from(peer.uid.to_string())),
                Variable::Gid => Some(Cow::from(peer.gid.to_string())),
                Variable::User => user.as_deref().map(Cow::from),
                Variable::ExeName => exe.and_then(|path| path.rsplit('/').next()).map(Cow::from),
            })
            .map_err(refused)?;
        let mut attributes: Vec<(&str, AttributeValue)> = vec![
            ("unix.uid", i64::from(peer.uid).into()),
            ("unix.gid", i64::from(peer.gid).into()),
            ("unix.pid", i64::from(peer.pid).into()),
        ];
        attributes.extend(exe.map(|path| ("unix.exe", path.into())));
        let principal = Principal { id, attributes: attributes.into_iter().collect(), attested_by: self.name.clone() };
        let mut digest = Context::new(&SHA256);
        digest.update(b"unix-peer\0");
        for number in [peer.uid.to_be_bytes(), peer.gid.to_be_bytes(), peer.pid.to_be_bytes()] {
            digest.update(&number);
        }
        digest.update(peer.exe.as_ref().map(|path| path.as_os_str().as_encoded_bytes()).unwrap_or_default());
        // It lasts as long as the connection: the kernel's word is about this socket.
        let proof = Proof { digest: proof_digest(&digest.finish()), expires_at: None, token: None };
        Ok(Attested { principal: Arc::new(principal), proof: Arc::new(proof) })
    }
}

impl Require {
    fn unmet(&self, peer: &UnixPeer) -> Option<&'static str> {
        let is_met = |list: &Option<Vec<u32>>, id: u32| list.as_ref().is_none_or(|list| list.contains(&id));
        if !is_met(&self.uid, peer.uid) {
            return Some("uid");
        }
        if !is_met(&self.gid, peer.gid) {
            return Some("gid");
        }
        // An executable that is not known for certain is none of those that are named.
        let exe_is_met = self.exe.as_ref().is_none_or(|list| peer.exe.as_ref().is_some_and(|exe| list.contains(exe)));
        (!exe_is_met).then_some("exe")
    }
}
