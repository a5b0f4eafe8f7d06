//! Keys that a faulty generator made and that can be factored (CVE-2017-15361, "ROCA").

/// Primes modulo which the primes of such keys, and so their products, are powers of 65537.
const PRIMES: [u64; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// Whether an RSA modulus has the fingerprint. By chance one in about 2^27 has it.
pub(crate) fn has_fingerprint(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % prime);
        std::iter::successors(Some(1), |power| Some(power * 65_537 % prime))
            .take(usize::try_from(*prime).unwrap_or(0))
            .any(|power| power == residue)
    })
}
