//! Stands between a client and the proxy, passes all bytes on, and tells how far the client came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How far a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Met {
    /// It never asked the proxy.
    Nothing,
    /// It asked without a proof, and got 407.
    NoProof,
    /// It got its tunnel, and nothing came through.
    NoTrust,
    /// Its request came to the origin.
    Request,
}

pub(crate) struct Relay {
    address: SocketAddr,
    met: Arc<Mutex<Met>>,
}

impl Relay {
    pub(crate) async fn start(proxy: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, met) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Met::Nothing)));
        let (proxy, noted) = (proxy.to_owned(), met.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, proxy.clone(), noted.clone()));
            }
        });
        Self { address, met }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `came`: whether the origin saw a request.
    pub(crate) fn met(&self, came: bool) -> Met {
        if came { Met::Request } else { *self.met.lock().unwrap() }
    }
}

async fn pass(client: TcpStream, proxy: String, noted: Arc<Mutex<Met>>) {
    let Ok(upstream) = TcpStream::connect(&proxy).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_proxy, mut to_proxy) = upstream.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_proxy).await;
        let _ = to_proxy.shutdown().await;
    });
    let mut first = true;
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from_proxy.read(&mut buffer).await {
        if std::mem::take(&mut first) {
            let head = String::from_utf8_lossy(&buffer[..read.min(16)]).into_owned();
            let met = if head.contains(" 407") { Met::NoProof } else { Met::NoTrust };
            let mut noted = noted.lock().unwrap();
            *noted = met.max(*noted);
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to_client.shutdown().await;
    up.abort();
}
