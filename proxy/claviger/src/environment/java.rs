//! Java: `JAVA_TOOL_OPTIONS` with a trust store and the proxy's properties. Nothing else in its environment counts.
//!
//! The trust store is a JKS file, whose format is a list of certificates and a digest, so that no `keytool` is needed.

use std::io;

use super::roots::Roots;
use super::{Endpoint, Environment, Inherited};

/// Guards nothing: it holds certificates only. The format wants one, of six characters or more.
const PASSWORD: &str = "changeit";

/// Sets `JAVA_TOOL_OPTIONS`, after what the user has there: the last value of a property counts. `JDK_JAVA_OPTIONS` and
/// `_JAVA_OPTIONS` go before it, so they are extended too where they are in use.
pub(super) fn options(
    endpoint: &Endpoint,
    roots: &Roots,
    inherited: Inherited<'_>,
    made: &mut Environment,
) -> io::Result<()> {
    let store = endpoint.write("truststore.jks", jks(roots))?;
    let mut ours = format!(
        "\"-Djavax.net.ssl.trustStore={}\" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword={PASSWORD}",
        store.display()
    );
    for scheme in ["http", "https"] {
        ours.push_str(&format!(" -D{scheme}.proxyHost={} -D{scheme}.proxyPort={}", endpoint.host, endpoint.port));
    }
    // Also for https; the usual value, so that a longer one of the user's leads nothing around.
    ours.push_str(" \"-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]\"");
    for name in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"] {
        let own = inherited(name).filter(|value| !value.is_empty());
        if let Some(mut own) = own {
            own.push(" ");
            own.push(&ours);
            made.set(name, own);
        } else if name == "JAVA_TOOL_OPTIONS" {
            made.set(name, ours.clone());
        }
    }
    Ok(())
}

/// A Java key store of trusted certificates: magic, version 2, the entries, and SHA-1 over the password in UTF-16, the
/// phrase that the format prescribes, and all before it.
fn jks(roots: &Roots) -> Vec<u8> {
    let mut store = Vec::with_capacity(roots.all().len() * 1500);
    store.extend(0xFEED_FEED_u32.to_be_bytes());
    store.extend(2_u32.to_be_bytes());
    store.extend(length(roots.all().len()).to_be_bytes());
    for (number, certificate) in roots.all().iter().enumerate() {
        // 2: a trusted certificate, without a key.
        store.extend(2_u32.to_be_bytes());
        text(&mut store, &format!("root-{number}"));
        // Its date of entry, which nothing reads.
        store.extend(0_u64.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()).to_be_bytes());
        store.extend_from_slice(certificate);
    }
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(&PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// ASCII, after its length.
fn text(store: &mut Vec<u8>, ascii: &str) {
    store.extend(u16::try_from(ascii.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend_from_slice(ascii.as_bytes());
}
