//! Whom a client wants, by its first words: SNI (RFC 6066 §3) or `Host`.

use rustls::server::Acceptor;

/// The name in what a client has sent so far. `None`: it may still come; `Some(None)`: there is none.
pub(super) fn name_in(words: &[u8], port: u16) -> Option<Option<String>> {
    if words.is_empty() {
        return None;
    }
    // A TLS handshake begins with 22, wherever it is sent.
    if words.first() == Some(&22) {
        return sni(words);
    }
    if port == 443 {
        return Some(None);
    }
    host(words)
}

fn sni(words: &[u8]) -> Option<Option<String>> {
    let mut acceptor = Acceptor::default();
    let mut left = words;
    while !left.is_empty() {
        match acceptor.read_tls(&mut left) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return Some(None),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Some(accepted.client_hello().server_name().map(str::to_owned)),
            Ok(None) => {}
            Err(_) => return Some(None),
        }
    }
    None
}

fn host(words: &[u8]) -> Option<Option<String>> {
    let text = String::from_utf8_lossy(words);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let host = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, value)| value.trim());
    // Without the port: that is known.
    let host =
        host.map(|host| host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |it| it.0));
    Some(host.filter(|host| !host.is_empty()).map(str::to_owned))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;

    use super::name_in;

    #[test]
    fn a_host_is_read_once_the_head_is_there() {
        for (words, expected) in [
            ("", None),
            ("GET / HTTP/1.1\r\nHost: a.test", None),
            ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Some(Some("a.test"))),
            ("GET / HTTP/1.1\r\nx: y\r\nhost:a.test:8080\r\n\r\n", Some(Some("a.test"))),
            ("GET / HTTP/1.0\r\n\r\n", Some(None)),
        ] {
            let expected = expected.map(|name| name.map(str::to_owned));
            assert_eq!(name_in(words.as_bytes(), 80), expected, "{words}");
        }
        assert_eq!(name_in(b"SSH-2.0-x\r\n", 443), Some(None));
    }

    #[test]
    fn a_server_name_is_read_byte_by_byte() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from("api.x.test").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        for end in 0..hello.len() {
            assert_eq!(name_in(&hello[..end], 443), None, "{end} of {}", hello.len());
        }
        assert_eq!(name_in(&hello, 443), Some(Some("api.x.test".to_owned())));
    }
}
