//! Several addresses, the first connection wins (a small form of RFC 8305).

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Alternates the families, beginning with the best address, so that one broken family costs one wait (RFC 8305 §4).
pub(super) fn interleave(ips: &[IpAddr]) -> Vec<IpAddr> {
    let v6_first = ips.first().is_some_and(IpAddr::is_ipv6);
    let (mut first, mut second) =
        (ips.iter().filter(|ip| ip.is_ipv6() == v6_first), ips.iter().filter(|ip| ip.is_ipv6() != v6_first));
    let mut ordered = Vec::with_capacity(ips.len());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// Starts one attempt after the other, each when the one before has failed or has taken `stagger`.
/// The losers are dropped. If all fail, the last failure is returned; `None` if there is no address.
pub(super) async fn first<A, F, T, E>(
    addresses: impl ExactSizeIterator<Item = A>,
    open: impl Fn(A) -> F,
    stagger: Duration,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = addresses;
    let mut attempts = FuturesUnordered::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(open(address));
        }
        let outcome = if waiting.len() == 0 {
            attempts.next().await
        } else {
            // Nothing in time: the attempt goes on, beside the next.
            match tokio::time::timeout(stagger, attempts.next()).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => continue,
            }
        };
        match outcome {
            Some(Err(_)) if !attempts.is_empty() || waiting.len() > 0 => {}
            outcome => return outcome,
        }
    }
}
