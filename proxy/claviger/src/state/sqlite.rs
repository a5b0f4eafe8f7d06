//! The state in a file of one process: SQLite. All SQL stands here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::{SharedState, StateChange, StateChangeKind, StateError, Suspendable, Suspension};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::detail;

/// Each is applied once, in order; what stands here is never changed, only added to.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE suspension (
        kind     TEXT NOT NULL,
        name     TEXT NOT NULL,
        reason   TEXT,
        actor    TEXT NOT NULL,
        since_ms INTEGER NOT NULL,
        until_ms INTEGER,
        PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE TABLE change (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms  INTEGER NOT NULL,
        actor  TEXT NOT NULL,
        kind   TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT;
"];

/// How long a change waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(2);

/// The state of a state folder.
#[derive(Debug)]
pub(crate) struct SqliteState {
    file: PathBuf,
    open: tokio::sync::Mutex<Option<Open>>,
}

/// The file as it was opened.
#[derive(Debug)]
struct Open {
    connection: SqliteConnection,
    /// Device and inode: a file that was put in its place is another.
    identity: (u64, u64),
}

impl SqliteState {
    /// Opens the file; makes it, if it is not there.
    pub(crate) async fn open(file: &Path) -> Result<Self, StateError> {
        let (state, _) = Self::at(file)?;
        state.connect().await?;
        Ok(state)
    }

    /// The file, and whether it was not there before and was made. What is in it is not looked at.
    pub(crate) fn at(file: &Path) -> Result<(Self, bool), StateError> {
        let failed =
            |error: std::io::Error| StateError::Open { place: file.display().to_string(), why: error.to_string() };
        let is_new = create(file).map_err(failed)?;
        Ok((Self { file: file.to_owned(), open: tokio::sync::Mutex::default() }, is_new))
    }

    /// Connects to the file. Whoever does not is connected when something is asked for.
    pub(crate) async fn connect(&self) -> Result<(), StateError> {
        let mut open = self.open.lock().await;
        *open = Some(connect(&self.file).await?);
        Ok(())
    }

    /// The connection, of the file that is there now.
    async fn connected<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a mut SqliteConnection, StateError> {
        let now = identity(&self.file).map_err(|error| self.away(&error));
        if open.as_ref().map(|open| open.identity) != now.as_ref().ok().copied() {
            // A connection to a file that was removed would go on as if nothing had happened.
            *open = None;
        }
        now?;
        let open = match open {
            Some(open) => open,
            None => open.insert(connect(&self.file).await.map_err(|error| match error {
                StateError::Open { place, why } => StateError::Away { place, why },
                other => other,
            })?),
        };
        Ok(&mut open.connection)
    }

    fn away(&self, error: &dyn std::fmt::Display) -> StateError {
        StateError::Away { place: self.file.display().to_string(), why: error.to_string() }
    }

    fn broken(&self, error: &sqlx::Error) -> StateError {
        self.away(&words(error))
    }
}

/// A connection with all migrations applied.
async fn connect(file: &Path) -> Result<Open, StateError> {
    let place = || file.display().to_string();
    let failed = |why: String| StateError::Open { place: place(), why };
    let identity = identity(file).map_err(|error| failed(error.to_string()))?;
    let _turn = turn(file).await.map_err(|error| failed(error.to_string()))?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // A suspension that was acknowledged outlives the machine's power.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| failed(words(&error)))?;
    let found = migrate(&mut connection).await.map_err(|error| failed(words(&error)))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StateError::Newer { place: place(), found, known });
    }
    Ok(Open { connection, identity })
}

/// One process after the other: where two give a new file its journal, SQLite answers "busy" without waiting.
async fn turn(file: &Path) -> std::io::Result<std::fs::File> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")).to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let folder = std::fs::File::open(folder)?;
        folder.lock().map(|()| folder)
    });
    locked.await.map_err(std::io::Error::other)?
}

/// Applies what is missing, all or nothing; yields the version that the file had.
async fn migrate(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY) STRICT")
        .execute(&mut *transaction)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM migration").fetch_one(&mut *transaction).await?;
    let found: i64 = row.try_get(0)?;
    for (version, migration) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(migration).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO migration (version) VALUES (?)").bind(version).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(found)
}

#[async_trait]
impl SharedState for SqliteState {
    async fn suspensions(&self) -> Result<Vec<Suspension>, StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        let rows =
            sqlx::query("SELECT kind, name, reason, actor, since_ms, until_ms FROM suspension ORDER BY kind, name");
        let rows = rows.fetch_all(connection).await.map_err(|error| self.broken(&error))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| self.broken(&error))
    }

    async fn suspend(&self, suspension: &Suspension) -> Result<Option<Suspension>, StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        let change = Change {
            at_ms: suspension.since_ms,
            actor: &suspension.actor,
            kind: StateChangeKind::Suspended,
            detail: detail::of_suspended(suspension),
        };
        put(connection, suspension, change).await.map_err(|error| self.broken(&error))
    }

    async fn resume(
        &self,
        kind: Suspendable,
        name: &str,
        actor: &str,
        now_ms: i64,
    ) -> Result<Option<Suspension>, StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        let taken = take(connection, kind, name, actor, now_ms).await;
        taken.map_err(|error| self.broken(&error))
    }

    async fn expire(&self, now_ms: i64) -> Result<Vec<Suspension>, StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        expire(connection, now_ms).await.map_err(|error| self.broken(&error))
    }

    async fn unrecorded(&self) -> Result<Vec<StateChange>, StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        let rows = sqlx::query("SELECT number, at_ms, actor, kind, detail FROM change ORDER BY number LIMIT 1000");
        let rows = rows.fetch_all(connection).await.map_err(|error| self.broken(&error))?;
        rows.iter().map(read_change).collect::<Result<_, _>>().map_err(|error| self.broken(&error))
    }

    async fn recorded(&self, number: i64) -> Result<(), StateError> {
        let mut open = self.open.lock().await;
        let connection = self.connected(&mut open).await?;
        let done = sqlx::query("DELETE FROM change WHERE number <= ?").bind(number).execute(connection).await;
        done.map(drop).map_err(|error| self.broken(&error))
    }
}

/// A change that is written with what it changes, so that neither is there without the other.
struct Change<'a> {
    at_ms: i64,
    actor: &'a str,
    kind: StateChangeKind,
    detail: String,
}

impl Change<'_> {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO change (at_ms, actor, kind, detail) VALUES (?, ?, ?, ?)")
            .bind(self.at_ms)
            .bind(self.actor)
            .bind(self.kind.as_str())
            .bind(&self.detail)
            .execute(connection)
            .await
            .map(drop)
    }
}

async fn put(
    connection: &mut SqliteConnection,
    suspension: &Suspension,
    change: Change<'_>,
) -> Result<Option<Suspension>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let before = one(&mut transaction, suspension.kind, &suspension.name).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO suspension (kind, name, reason, actor, since_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(suspension.kind.as_str())
    .bind(&*suspension.name)
    .bind(suspension.reason.as_deref())
    .bind(&*suspension.actor)
    .bind(suspension.since_ms)
    .bind(suspension.until_ms)
    .execute(&mut *transaction)
    .await?;
    change.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(before)
}

async fn take(
    connection: &mut SqliteConnection,
    kind: Suspendable,
    name: &str,
    actor: &str,
    now_ms: i64,
) -> Result<Option<Suspension>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let Some(before) = one(&mut transaction, kind, name).await? else { return Ok(None) };
    delete(&mut transaction, &before).await?;
    let detail = detail::of_resumed(&before);
    Change { at_ms: now_ms, actor, kind: StateChangeKind::Resumed, detail }.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Some(before))
}

async fn expire(connection: &mut SqliteConnection, now_ms: i64) -> Result<Vec<Suspension>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let rows = sqlx::query(
        "SELECT kind, name, reason, actor, since_ms, until_ms FROM suspension WHERE until_ms <= ? ORDER BY until_ms",
    );
    let rows = rows.bind(now_ms).fetch_all(&mut *transaction).await?;
    let ended: Vec<Suspension> = rows.iter().map(read).collect::<Result<_, _>>()?;
    for one in &ended {
        delete(&mut transaction, one).await?;
        let detail = detail::of_expired(one);
        let change = Change { at_ms: now_ms, actor: detail::BY_ITSELF, kind: StateChangeKind::Resumed, detail };
        change.write(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(ended)
}

async fn one(
    connection: &mut SqliteConnection,
    kind: Suspendable,
    name: &str,
) -> Result<Option<Suspension>, sqlx::Error> {
    let row =
        sqlx::query("SELECT kind, name, reason, actor, since_ms, until_ms FROM suspension WHERE kind = ? AND name = ?");
    let row = row.bind(kind.as_str()).bind(name).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

async fn delete(connection: &mut SqliteConnection, suspension: &Suspension) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM suspension WHERE kind = ? AND name = ?")
        .bind(suspension.kind.as_str())
        .bind(&*suspension.name)
        .execute(connection)
        .await
        .map(drop)
}

fn read(row: &SqliteRow) -> Result<Suspension, sqlx::Error> {
    // A word that this version does not know is an error: not to know what is suspended is not to serve.
    let kind = row.try_get::<String, _>(0)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Suspension {
        kind,
        name: row.try_get::<String, _>(1)?.into(),
        reason: row.try_get::<Option<String>, _>(2)?.map(Arc::from),
        actor: row.try_get::<String, _>(3)?.into(),
        since_ms: row.try_get(4)?,
        until_ms: row.try_get(5)?,
    })
}

fn read_change(row: &SqliteRow) -> Result<StateChange, sqlx::Error> {
    let kind = match row.try_get::<String, _>(3)?.as_str() {
        "suspended" => StateChangeKind::Suspended,
        "resumed" => StateChangeKind::Resumed,
        other => return Err(sqlx::Error::Protocol(format!("a change of an unknown kind `{other}`"))),
    };
    Ok(StateChange {
        number: row.try_get(0)?,
        at_ms: row.try_get(1)?,
        actor: row.try_get::<String, _>(2)?.into(),
        kind,
        detail: row.try_get::<String, _>(4)?.into(),
    })
}

/// The file with its mode, and the folder above it: SQLite would make it as readable as the umask lets it. Yields whether
/// it was not there.
///
/// Deliberately not through a link: whoever owns the folder could have an administrator's command change, or give to
/// the folder's owner, a file that is somewhere else.
fn create(file: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        // Made by an administrator, it is to be read by the process whose folder it is. SQLite gives its other files the
        // same owner.
        Ok(made) if rustix::process::geteuid().is_root() => {
            let owner = std::fs::metadata(file.parent().unwrap_or(Path::new(".")))?;
            std::os::unix::fs::fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
            Ok(true)
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            let there = std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(flags.bits().cast_signed())
                .open(file)
                .map_err(|error| if is_link(file) { std::io::Error::other("it is a link") } else { error })?;
            let found = there.metadata()?;
            if !found.is_file() || found.nlink() > 1 {
                return Err(std::io::Error::other("it is not a file of its own"));
            }
            if found.mode() & 0o777 != 0o600 {
                there.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn is_link(file: &Path) -> bool {
    file.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

fn identity(file: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What SQLite says, without sqlx's preamble.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
