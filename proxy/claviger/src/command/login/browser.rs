//! A login by a browser on this machine.

use std::process::{Command, Stdio};

use claviger_credential::{Granted, Login, LoginError};

use super::redirect::Redirect;
use super::{LoginArgs, explained};
use crate::command::Failure;
use crate::console;

pub(super) async fn log_in(login: &Login, scope: Option<&str>, args: &LoginArgs) -> Result<Granted, Failure> {
    let redirect = Redirect::bind(args.port.unwrap_or(0)).await?;
    let (url, asked) = login.begin(&redirect.url(), scope).await.map_err(explained)?;
    let opened = !args.no_browser && open(url.as_str());
    let how = if opened { "a browser was opened; if it shows nothing, go to" } else { "log in at" };
    console::out(&format!("{how}:\n\n  {url}\n\nwaiting at {}", redirect.url()));
    loop {
        let visit = redirect.next().await?;
        match login.redeem(&asked, &visit.query).await {
            Ok(granted) => {
                visit.answer(true).await;
                return Ok(granted);
            }
            // Any page can send a browser here: what is not ours ends nothing.
            Err(LoginError::NotOurs) => visit.answer(false).await,
            Err(error) => {
                visit.answer(false).await;
                return Err(explained(error));
            }
        }
    }
}

/// Whether one was started. Where nobody looks at a screen, none is.
fn open(url: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let has_screen =
        cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    has_screen && command.spawn().is_ok()
}
