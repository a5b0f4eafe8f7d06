//! Records on standard output.

use std::io::{self, Write as _};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How long a reader that does not read may hold up the writer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes whole lines; after a line that was cut, it starts a new one.
#[derive(Debug, Default)]
pub(crate) struct StdoutSink {
    torn: bool,
}

impl StdoutSink {
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        // Whole lines in one go: Rust's buffer passes them on without holding them.
        let mut stdout = io::stdout().lock();
        if self.torn {
            write_all(&mut stdout, b"\n").map_err(|(error, _)| error)?;
            self.torn = false;
        }
        let written = write_all(&mut stdout, lines);
        self.torn = matches!(written, Err((_, written)) if written > 0);
        written.map_err(|(error, _)| error)?;
        stdout.flush().inspect_err(|_| self.torn = true)
    }
}

/// As `Write::write_all`, but it says how much was written, and waits for a full pipe that does not block.
fn write_all(out: &mut impl io::Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    let mut waiting: Option<Instant> = None;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(count) => {
                written += count;
                waiting = None;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if waiting.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err((error, written));
                }
                park_timeout(Duration::from_millis(1));
            }
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
}
