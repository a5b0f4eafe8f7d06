//! Throughput of the echo guard beside a plain copy.

use std::hint::black_box;

use bytes::Bytes;
use claviger_contract::Secret;
use claviger_credential::guard::EchoGuard;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BODY: usize = 1 << 20;
const CHUNK: usize = 16 << 10;

/// Bytes that no form of the value begins with by more than chance; a fixed generator, so that runs compare.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// Text as an API answers it.
fn text(length: usize) -> Vec<u8> {
    br#"{"id":"chatcmpl-9","object":"chat.completion.chunk","choices":[{"delta":{"content":"the quick brown fox "}}]}"#
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

fn key(length: usize) -> Secret {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random =
        noise(length).into_iter().map(|byte| alphabet.get(usize::from(byte) % alphabet.len()).copied().unwrap_or(b'-'));
    Secret::new(b"sk-proj-".iter().copied().chain(random).collect())
}

fn pass(guard: &EchoGuard, chunks: &[Bytes], out: &mut Vec<Bytes>) {
    let mut scanner = guard.scanner();
    for chunk in chunks {
        scanner.push(chunk.clone(), out);
        out.clear();
    }
    scanner.finish(out);
    out.clear();
}

fn guard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("guard");
    group.throughput(Throughput::Bytes(BODY as u64));
    let mut copy = vec![0; BODY];
    let source = noise(BODY);
    group.bench_function("memcpy", |bencher| bencher.iter(|| copy.copy_from_slice(black_box(&source))));
    for (kind, body) in [("noise", noise(BODY)), ("text", text(BODY))] {
        for (name, value) in [("56-byte-key", key(48)), ("1500-byte-token", key(1492))] {
            let guard = EchoGuard::new(&[&value]);
            for chunk in [CHUNK, 128] {
                let chunks: Vec<Bytes> = body.chunks(chunk).map(Bytes::copy_from_slice).collect();
                let mut out = Vec::with_capacity(4);
                group.bench_function(format!("{kind}/{name}/{chunk}"), |bencher| {
                    bencher.iter(|| pass(&guard, black_box(&chunks), &mut out));
                });
            }
        }
    }
    group.finish();

    let value = key(48);
    criterion
        .bench_function("guard/compile/56-byte-key", |bencher| bencher.iter(|| EchoGuard::new(&[black_box(&value)])));
    let guard = EchoGuard::new(&[&value]);
    let header = http::HeaderValue::from_static("req_0123456789abcdef0123456789abcdef0123456789abcdef");
    criterion.bench_function("guard/header/52-bytes", |bencher| bencher.iter(|| guard.mask_header(black_box(&header))));
}

criterion_group!(benches, guard);
criterion_main!(benches);
