//! A door before an issuer, which can lead elsewhere or be shut.

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A port of loopback whose connections lead to another one; while they lead nowhere, they are refused.
pub(crate) struct Front {
    pub(crate) port: u16,
    leads: watch::Sender<Option<u16>>,
}

impl Front {
    pub(crate) fn start(to: Option<u16>) -> Self {
        let reserved = reserve(0);
        let port = reserved.local_addr().unwrap().port();
        let (leads, led) = watch::channel(to);
        tokio::spawn(serve(reserved, port, led));
        Self { port, leads }
    }

    /// New connections lead there from now on; those that there are end.
    pub(crate) fn lead(&self, to: Option<u16>) {
        self.leads.send_replace(to);
    }
}

/// The port, which is ours while nobody listens on it.
fn reserve(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    socket
}

async fn serve(reserved: TcpSocket, port: u16, mut led: watch::Receiver<Option<u16>>) {
    let mut shut = reserved;
    loop {
        let to = *led.borrow_and_update();
        let Some(to) = to else {
            if led.changed().await.is_err() {
                return;
            }
            continue;
        };
        if !pass(shut.listen(64).unwrap(), to, &mut led).await {
            return;
        }
        shut = reserve(port);
    }
}

/// Until it is to lead elsewhere; whether anybody is left who could say so.
async fn pass(listener: TcpListener, to: u16, led: &mut watch::Receiver<Option<u16>>) -> bool {
    let mut passing = JoinSet::new();
    loop {
        tokio::select! {
            changed = led.changed() => return changed.is_ok(),
            accepted = listener.accept() => {
                let (mut inner, _) = accepted.unwrap();
                passing.spawn(async move {
                    let mut outer = TcpStream::connect(("127.0.0.1", to)).await?;
                    tokio::io::copy_bidirectional(&mut inner, &mut outer).await
                });
            }
        }
    }
}
