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
        // Not by `server_connect`: an upstream whose address is changed there is never used again, and after five of them
        // a client's connection waits for ever.
        let addon = format!(
            "import asyncio\n\nconnect = asyncio.open_connection\n\n\n\
             async def to_upstream(*_, **more):\n    return await connect(\"127.0.0.1\", {}, **more)\n\n\n\
             asyncio.open_connection = to_upstream\n",
            scene.upstream
        );
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
