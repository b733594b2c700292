//! The store in SQLite: one file, one writer at a time, nothing to install.
//!
//! Write-ahead log, so that readers never wait for the writer; `synchronous=FULL`, so that what was answered survives a
//! power cut; every write begins as `BEGIN IMMEDIATE`, so that it never fails half-way for want of the lock.

mod agents;
mod polling;
mod registrations;
mod rows;
mod trust;

use std::path::Path;
use std::time::Duration;

use goldseal_verifier_core::envelope::Identity;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, Transaction};

use super::{
    Accepted, Agent, Answer, Assignment, Audit, AuditRecord, EventRecord, Filter, FindingGroup, FindingRecord, Mode,
    Names, NewPolicy, Pending, PendingLimits, PolicyRecord, Provision, Report, Reported, Store, StoreError,
    TrustRecord,
};
use crate::state::State;
use crate::time::Time;
use crate::uuid::Uuid;

/// How long a write waits for another process, such as a backup, before it is [`StoreError::Busy`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers at once: as many as answer a page each without taking the machine.
const READERS: u32 = 4;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    reader: SqlitePool,
    writer: SqlitePool,
}

impl SqliteStore {
    /// Opens the database, makes it if it is not there, and brings it to this version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, |options| options).await
    }

    /// The same with further options: for tests of what a database may run into.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_with(
        path: &Path,
        change: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions,
    ) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let options = change(options);
        let pool = |connections| {
            let pool = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_TIMEOUT * 2);
            pool.before_acquire(|connection, _| Box::pin(is_usable(connection)))
        };
        let writer = pool(1).connect_with(options.clone().create_if_missing(true)).await.map_err(failed)?;
        MIGRATIONS.run(&writer).await.map_err(not_migrated)?;
        let reader = pool(READERS).connect_with(options.pragma("query_only", "on")).await.map_err(failed)?;
        let store = Self { reader, writer };
        store.first_trust().await?;
        Ok(store)
    }

    /// Waits for what is under way, and closes the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}

/// SQLite ends a transaction by itself when the disk is full or fails (sqlite.org/lang_transaction.html, Response To Errors
/// Within A Transaction). The driver does not hear of it, rolls back in vain, and would begin no other: such a connection is
/// closed, and another made.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback that waits is done before the answer.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// What went wrong, as callers tell it apart. Codes are SQLite's (sqlite.org/rescode.html), the extended ones included.
fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => match database.code().and_then(|code| code.parse::<i32>().ok()) {
            Some(code) => match code & 0xff {
                BUSY | LOCKED => StoreError::Busy,
                FULL => StoreError::Full,
                CORRUPT | NOT_A_DATABASE => StoreError::Damaged { what: database.to_string() },
                _ => StoreError::Database(database.to_string()),
            },
            None => StoreError::Database(database.to_string()),
        },
        sqlx::Error::PoolTimedOut => StoreError::Busy,
        sqlx::Error::RowNotFound => StoreError::NotFound,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Damaged { what: error.to_string() },
        _ => StoreError::Database(error.to_string()),
    }
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;

fn not_migrated(error: sqlx::migrate::MigrateError) -> StoreError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => failed(error),
        sqlx::migrate::MigrateError::ExecuteMigration(error, _) => failed(error),
        error => StoreError::Damaged { what: error.to_string() },
    }
}

impl Store for SqliteStore {
    fn agent<'a>(&'a self, uuid: &'a Uuid) -> Answer<'a, Option<Agent>> {
        Box::pin(self.read_agent(uuid))
    }

    fn agents<'a>(&'a self, filter: &'a Filter, after: Option<&'a Uuid>, limit: u32) -> Answer<'a, Vec<Agent>> {
        Box::pin(self.read_agents(filter, after, limit))
    }

    fn count<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Vec<(State, u64)>> {
        Box::pin(self.count_agents(filter))
    }

    fn provision<'a>(
        &'a self,
        uuid: &'a Uuid,
        provision: &'a Provision,
        at: Time,
        actor: &'a str,
    ) -> Answer<'a, Agent> {
        Box::pin(self.provision_agent(uuid, provision, at, actor))
    }

    fn delete<'a>(&'a self, uuid: &'a Uuid, at: Time, actor: &'a str) -> Answer<'a, ()> {
        Box::pin(self.delete_agent(uuid, at, actor))
    }

    fn assign<'a>(
        &'a self,
        filter: &'a Filter,
        policy: &'a Assignment,
        names: Names,
        mode: Mode,
        at: Time,
        actor: &'a str,
    ) -> Answer<'a, Vec<Uuid>> {
        Box::pin(self.assign_policy(filter, policy, names, mode, at, actor))
    }

    fn reactivate<'a>(&'a self, filter: &'a Filter, mode: Mode, at: Time, actor: &'a str) -> Answer<'a, Vec<Uuid>> {
        Box::pin(self.reactivate_agents(filter, mode, at, actor))
    }

    fn events<'a>(&'a self, uuid: &'a Uuid, before: Option<i64>, limit: u32) -> Answer<'a, Vec<EventRecord>> {
        Box::pin(self.read_events(uuid, before, limit))
    }

    fn findings<'a>(&'a self, uuid: &'a Uuid) -> Answer<'a, Vec<FindingRecord>> {
        Box::pin(self.read_findings(uuid))
    }

    fn finding_groups(&self, limit: u32) -> Answer<'_, Vec<FindingGroup>> {
        Box::pin(self.group_findings(limit))
    }

    fn claim(&self, now: Time, lease: Time, limit: u32) -> Answer<'_, Vec<Agent>> {
        Box::pin(self.claim_due(now, lease, limit))
    }

    fn next_due(&self) -> Answer<'_, Option<Time>> {
        Box::pin(self.read_next_due())
    }

    fn report<'a>(&'a self, reports: &'a [Report]) -> Answer<'a, Vec<Result<Reported, StoreError>>> {
        Box::pin(self.store_reports(reports))
    }

    fn forget_checkpoints(&self) -> Answer<'_, u64> {
        Box::pin(self.drop_checkpoints())
    }

    fn add_pending<'a>(&'a self, pending: &'a Pending, limits: &'a PendingLimits) -> Answer<'a, ()> {
        Box::pin(self.store_pending(pending, limits))
    }

    fn pending<'a>(&'a self, uuid: &'a Uuid, now: Time) -> Answer<'a, Vec<(i64, Pending)>> {
        Box::pin(self.read_pending(uuid, now))
    }

    fn register(&self, pending: i64, at: Time) -> Answer<'_, Agent> {
        Box::pin(self.register_pending(pending, at))
    }

    fn tidy(&self, now: Time, events_kept: u32) -> Answer<'_, u64> {
        Box::pin(self.forget_old(now, events_kept))
    }

    fn trust(&self) -> Answer<'_, TrustRecord> {
        Box::pin(self.read_trust())
    }

    fn set_trust<'a>(
        &'a self,
        known: &'a TrustRecord,
        next: &'a Accepted,
        audit: &'a Audit,
    ) -> Answer<'a, TrustRecord> {
        Box::pin(self.store_trust(known, next, None, audit))
    }

    fn add_policy<'a>(
        &'a self,
        policy: &'a NewPolicy,
        known: &'a TrustRecord,
        next: &'a Accepted,
        audit: &'a Audit,
    ) -> Answer<'a, TrustRecord> {
        Box::pin(self.store_trust(known, next, Some(policy), audit))
    }

    fn policies(&self) -> Answer<'_, Vec<PolicyRecord>> {
        Box::pin(self.read_policies())
    }

    fn policy_bytes<'a>(&'a self, identity: &'a Identity) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.read_policy_bytes(identity))
    }

    fn add_audit<'a>(&'a self, audit: &'a Audit) -> Answer<'a, ()> {
        Box::pin(self.store_audit(audit))
    }

    fn audit(&self, before: Option<i64>, limit: u32) -> Answer<'_, Vec<AuditRecord>> {
        Box::pin(self.read_audit(before, limit))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async {
            sqlx::query("SELECT mark FROM trust").fetch_one(&self.reader).await.map(drop).map_err(failed)
        })
    }
}
