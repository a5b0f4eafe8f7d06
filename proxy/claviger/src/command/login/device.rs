//! A login with a code that is typed in on another device (RFC 8628).

use claviger_credential::{Granted, Login, Polled};

use super::explained;
use crate::command::Failure;
use crate::console;

pub(super) async fn log_in(login: &Login, scope: Option<&str>) -> Result<Granted, Failure> {
    let mut code = login.begin_device(scope).await.map_err(explained)?;
    let shown = console::visible(&code.user_code);
    console::out(&format!("go to {} and enter the code:\n\n  {shown}\n", code.verification_url));
    if let Some(url) = &code.complete_url {
        console::out(&format!("or go to {url}\n"));
    }
    loop {
        tokio::time::sleep(code.interval).await;
        match login.poll(&mut code).await.map_err(explained)? {
            Polled::Pending => {}
            Polled::Granted(granted) => return Ok(*granted),
        }
    }
}
