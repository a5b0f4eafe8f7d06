//! What a session and its stage say to each other.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::os::sandbox::{Covers, FileRules};

/// The word by which this program knows that it is to be a stage; after it comes the number of a socket.
pub(super) const STAGE: &str = "sandbox-stage";

/// To the stage: what to make.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Namespaces of its own.
    pub(super) namespaces: bool,
    /// The caller is root: it maps all ids.
    pub(super) root: bool,
    /// Ports at which the command is to find something of the machine.
    pub(super) local: Vec<u16>,
}

/// From the stage. It says nothing more once the command runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Its ids are to be mapped; it waits for [`Mapped`].
    MapMe,
    /// Made. With namespaces it brings sockets: see [`Brought`].
    Made(Brought),
    /// This step failed.
    Failed(Failed),
}

/// Which sockets came with [`Report::Made`], in this order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Brought {
    /// For `HTTPS_PROXY` and for base URLs.
    pub(super) session: usize,
    /// TCP, of every address: 443, 80.
    pub(super) catchers: Vec<u16>,
    /// UDP, of every address: names.
    pub(super) names: usize,
    /// One for each port of [`Order::local`].
    pub(super) local: Vec<u16>,
    /// What sees calls to other ports; none, where the kernel has no such sockets.
    pub(super) calls: usize,
    /// The namespaces of users and of the network.
    pub(super) namespaces: usize,
}

/// A step of the stage that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failed {
    /// What was being done.
    pub(super) step: String,
    /// The system's number for why.
    pub(super) errno: Option<i32>,
    /// Why.
    pub(super) why: String,
    /// It is the command itself that cannot be run.
    pub(super) is_command: bool,
}

/// To the stage: its ids are mapped, or not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mapped(pub(super) bool);

/// To the stage: hide this, restrict yourself and become the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The command.
    pub(super) program: OsString,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// All of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub(super) directory: Option<OsString>,
    /// Files and folders; only with namespaces.
    pub(super) covers: Option<Covers>,
    /// Landlock's rules; only without namespaces.
    pub(super) rules: Option<FileRules>,
}
