//! mitmproxy, which intercepts.

use std::process::Command;

use super::{Doors, forward};
use crate::door::Problem;
use crate::scene::{Scene, free_port};
use crate::server::{Server, program};

/// CONNECT, intercepted. It has one thread, as Python has.
pub(crate) fn launch(scene: &Scene) -> Result<(Server, Doors), Problem> {
    let port = free_port();
    let mitmdump = program("mitmdump")?;
    let server = Server::spawn(|folder| {
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
    })?;
    Ok((server, forward(scene, port, 443)))
}
