//! `claviger quickstart`: the whole thing at work, on this machine alone, with nothing configured.
//!
//! What is shown is real: this very program runs as the proxy, an ordinary client is the app, and the
//! API refuses whoever has no key. Only the API is bundled, so that no network and no account is needed.

mod authority;
mod child;
mod client;
mod key;
mod origin;
mod scan;
mod show;
mod stage;
mod story;

use std::process::ExitCode;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use crate::app;
use crate::command::quickstart::show::Show;
use crate::command::quickstart::stage::Stage;
use crate::command::quickstart::story::Story;
use crate::command::{Done, Failure};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Write the demo secret into the child's output on purpose, to see that the scan finds it
    #[arg(long, hide = true)]
    pub(crate) plant_leak: bool,
    /// Act as the bundled client (used by the command itself where no other client is installed)
    #[arg(long, hide = true, num_args = 3, value_names = ["METHOD", "URL", "VIA"])]
    pub(crate) client: Option<Vec<String>>,
}

/// What a shell reports for a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// How to go on, valid as it is.
const REAL: &str = include_str!("quickstart/real.toml");

/// The same for an app.
const OPENAI: &str = r#"OpenAI(base_url="http://localhost/openai/v1", api_key="none",
       http_client=httpx.Client(transport=httpx.HTTPTransport(uds="claviger.sock")))"#;

pub(crate) fn run(args: &QuickstartArgs) -> Done {
    if let Some(client) = &args.client {
        return client::bundled::run(client);
    }
    let began = Instant::now();
    let runtime = app::control_runtime()?;
    let stage = Stage::make()?;
    let mut story = Story::new();
    // Whichever way this ends, all children have ended then: they do not outlive the future that owns them.
    let played = runtime.block_on(async {
        tokio::select! {
            played = play(&stage, &mut story, args.plant_leak) => Some(played),
            () = interrupted() => None,
        }
    });
    match played {
        Some(Ok(())) => {
            stage.remove()?;
            go_on(&mut story);
            story.blank();
            let seconds = began.elapsed().as_secs_f32();
            story.heading(&format!("Done in {seconds:.1} s. Every file that this made is removed again."));
            Ok(ExitCode::SUCCESS)
        }
        Some(Err(failure)) => {
            let folder = stage.keep();
            Err(Failure::Other(format!(
                "quickstart failed: {}\n  all files and logs of this run are kept in {}",
                failure.to_string().trim_start_matches("claviger: "),
                folder.display()
            )))
        }
        None => {
            stage.remove()?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

async fn play(stage: &Stage, story: &mut Story, plant_leak: bool) -> Result<(), Failure> {
    story.heading("Claviger quickstart: an app calls an API that wants a key, and the app never has the key.");
    let mut show = Show::set_up(stage, story).await?;
    show.without_claviger().await?;
    let allowed = show.allowed().await?;
    show.denied().await?;
    show.echoed().await?;
    show.ledger().await?;
    if plant_leak {
        show.plant_leak(&allowed)?;
    }
    show.scan()
}

/// The user or the system asks to stop.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// What to type for a real API.
fn go_on(story: &mut Story) {
    let uid = rustix::process::getuid().as_raw().to_string();
    story.step("Now with a real API: save this as claviger.toml …");
    story.block(&REAL.replace("@UID@", &uid));
    story.blank();
    story.say("… and type these three lines: the first asks for your key and seals it, the second goes on running.");
    story.command("claviger secret set openai --for openai --config claviger.toml");
    story.command("claviger run --config claviger.toml");
    story.command("curl --unix-socket claviger.sock http://localhost/openai/v1/models");
    if let Some(here) = std::env::current_exe().ok().filter(|_| client::on_path("claviger").is_empty()) {
        story.say(&format!("(`claviger` is {}: put it on your PATH)", here.display()));
    }
    story.blank();
    story.say("An app needs nothing but a base URL; with the OpenAI library in Python, for one:");
    story.block(OPENAI);
}
