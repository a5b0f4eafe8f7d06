//! What SPIFFE demands of one certificate (X509-SVID §2 to §4), beyond its place in a path.

use claviger_policy::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;

/// A certificate that may authenticate, as far as itself shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Whom it names.
    pub(crate) id: SpiffeId,
    /// Its serial number in hexadecimal.
    pub(crate) serial: String,
    /// When it ends, in seconds since the Unix epoch.
    pub(crate) not_after: i64,
}

/// A certificate that may sign others, as far as itself shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signer {
    /// The trust domain that it names, if it is an SVID itself.
    pub(crate) trust_domain: Option<String>,
    /// How many intermediate certificates may follow it.
    pub(crate) path_len_max: Option<u32>,
    /// When it begins and ends, in seconds since the Unix epoch.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Leaf {
    /// Checks a leaf. The error says which demand is not met.
    pub(crate) fn check(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = parse(der)?;
        if is_ca(&certificate)? {
            return Err("a signing certificate never authenticates (cA is true)");
        }
        let usage = key_usage(&certificate)?;
        if usage.key_cert_sign() || usage.crl_sign() {
            return Err("a leaf has neither keyCertSign nor cRLSign");
        }
        if !usage.digital_signature() {
            return Err("a leaf has digitalSignature");
        }
        let extended = certificate.extended_key_usage().map_err(|_| "the extended key usage cannot be read")?;
        if extended.is_some_and(|usage| !(usage.value.server_auth && usage.value.client_auth)) {
            return Err("an extended key usage has both serverAuth and clientAuth");
        }
        let id = spiffe_id(&certificate)?.ok_or("there is no URI name")?;
        if id.path().is_empty() {
            return Err("the SPIFFE ID of a leaf has a path");
        }
        let serial: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self { id, serial, not_after })
    }
}

impl Signer {
    /// Checks a certificate that signs others. The error says which demand is not met.
    pub(crate) fn check(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = parse(der)?;
        if !is_ca(&certificate)? {
            return Err("a signing certificate has cA");
        }
        if !key_usage(&certificate)?.key_cert_sign() {
            return Err("a signing certificate has keyCertSign");
        }
        // A root that came with an organisation may name no trust domain; one that does, names nothing else.
        let id = spiffe_id(&certificate)?;
        if id.as_ref().is_some_and(|id| !id.path().is_empty()) {
            return Err("the SPIFFE ID of a signing certificate has no path");
        }
        let constraints = certificate.basic_constraints().map_err(|_| UNREADABLE)?;
        Ok(Self {
            trust_domain: id.map(|id| id.trust_domain().to_owned()),
            path_len_max: constraints.and_then(|constraints| constraints.value.path_len_constraint),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

const UNREADABLE: &str = "the certificate cannot be read";

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, &'static str> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(UNREADABLE),
    }
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, &'static str> {
    let constraints = certificate.basic_constraints().map_err(|_| "the basic constraints cannot be read")?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn key_usage<'c>(certificate: &'c X509Certificate<'_>) -> Result<&'c x509_parser::extensions::KeyUsage, &'static str> {
    let usage = certificate.key_usage().map_err(|_| "the key usage cannot be read")?.ok_or("there is no key usage")?;
    if !usage.critical {
        return Err("the key usage is critical");
    }
    Ok(usage.value)
}

/// The one URI name, if there is any. Names of other types may stand beside it (X509-SVID §2).
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>, &'static str> {
    const NAMES_UNREADABLE: &str = "the subject's alternative names cannot be read";
    let extension = certificate.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME).map_err(|_| NAMES_UNREADABLE)?;
    let Some(extension) = extension else { return Ok(None) };
    let names = certificate.subject_alternative_name().map_err(|_| NAMES_UNREADABLE)?.ok_or(NAMES_UNREADABLE)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let Some(uri) = uris.next() else { return Ok(None) };
    if uris.next().is_some() {
        return Err("there is more than one URI name");
    }
    let subject_is_empty = certificate.subject().iter().next().is_none();
    if subject_is_empty && !extension.critical {
        return Err("the alternative names are critical where the subject is empty");
    }
    let id = SpiffeId::parse(uri).map_err(|_| "the URI name is not a SPIFFE ID")?;
    // Configuration may write a trust domain in any case; a certificate may not (SPIFFE-ID §2.1).
    if uri.get("spiffe://".len()..).is_none_or(|rest| !rest.starts_with(id.trust_domain())) {
        return Err("the trust domain is in lower case");
    }
    Ok(Some(id))
}
