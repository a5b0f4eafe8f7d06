//! mitmproxy, which intercepts.

use std::process::Command;

use super::{Leg, door};
use crate::door::{Layer, Problem};
use crate::scene::{Scene, free_port};
use crate::server::{Server, program};

/// CONNECT, intercepted.
pub(crate) fn start(scene: &Scene) -> Result<Leg, Problem> {
    let port = free_port();
    let layer = Layer::Connect { port: 443, proof: None, tls: scene.intercepted() };
    let server = forward(scene, port)?.listening(port)?;
    Ok(Leg {
        name: "mitmproxy",
        running: Box::new(server),
        clear: None,
        mutual: None,
        mutual_h2: None,
        connect: door(port, layer, ""),
    })
}

/// Starts it at this port. It has one thread, as Python has.
fn forward(scene: &Scene, port: u16) -> Result<Server, Problem> {
    let mitmdump = program("mitmdump")?;
    Server::spawn(|folder| {
        let read = |path| std::fs::read_to_string(path).unwrap();
        let authority = read(&scene.authority.1) + &read(&scene.authority.0);
        std::fs::write(folder.join("mitmproxy-ca.pem"), authority).unwrap();
        let addon =
            format!("def server_connect(data):\n    data.server.address = (\"127.0.0.1\", {})\n", scene.upstream);
        std::fs::write(folder.join("addon.py"), addon).unwrap();
        let mut command = Command::new(mitmdump);
        command.args(["--listen-host", "127.0.0.1", "--listen-port", &port.to_string(), "--script"]);
        command.arg(folder.join("addon.py"));
        command.args(["--set", &format!("confdir={}", folder.display())]);
        command.args(["--set", &format!("ssl_verify_upstream_trusted_ca={}", scene.world.ca.path().display())]);
        command.args(["--set", "connection_strategy=lazy", "--set", "flow_detail=1"]);
        command.args(["--set", &format!("modify_headers=/~q/Authorization/{}", scene.authorization())]);
        command
    })
}
