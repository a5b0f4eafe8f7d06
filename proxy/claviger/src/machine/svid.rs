//! An X.509-SVID and its key in two files, which are renewed one after the other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use claviger_contract::Secret;
use claviger_wire::MachineProof;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// How often the files are looked at.
const FRESH: Duration = Duration::from_secs(1);

pub(super) struct SvidFiles {
    certificate: PathBuf,
    key: PathBuf,
    at_hand: Mutex<AtHand>,
}

struct AtHand {
    number: u64,
    pair: Arc<CertifiedKey>,
    looked: Instant,
}

impl SvidFiles {
    pub(super) fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, String> {
        let at_hand = AtHand { number: 1, pair: Arc::new(read(&certificate, &key)?), looked: Instant::now() };
        Ok(Self { certificate, key, at_hand: Mutex::new(at_hand) })
    }
}

/// What parsers say could hold a line of the key.
fn read(certificate: &PathBuf, key: &PathBuf) -> Result<CertifiedKey, String> {
    let text =
        |file: &PathBuf| std::fs::read(file).map_err(|error| format!("failed to read `{}`: {error}", file.display()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| format!("`{}` holds no certificate in PEM", certificate.display()))?;
    let private = zeroize::Zeroizing::new(text(key)?);
    let private = PrivateKeyDer::from_pem_slice(&private)
        .map_err(|_| format!("`{}` holds no private key in PEM", key.display()))?;
    CertifiedKey::from_der(chain, private, &default_provider())
        .map_err(|_| format!("the key in `{}` is not that of `{}`", key.display(), certificate.display()))
}

#[async_trait]
impl MachineProof for SvidFiles {
    async fn token(&self) -> Result<Option<Arc<Secret>>, String> {
        Ok(None)
    }

    fn certificate(&self) -> (u64, Option<Arc<CertifiedKey>>) {
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if at_hand.looked.elapsed() >= FRESH {
            at_hand.looked = Instant::now();
            // Between the renewal of one file and the other they do not fit: the last pair serves.
            if let Ok(pair) = read(&self.certificate, &self.key)
                && pair.cert != at_hand.pair.cert
            {
                at_hand.number += 1;
                at_hand.pair = Arc::new(pair);
            }
        }
        (at_hand.number, Some(at_hand.pair.clone()))
    }
}
