//! Registrations: pending until their tag is right, then the machine's own.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row, Sqlite, Transaction};

use super::agents::{find, insert_event, set_standing};
use super::{SqliteStore, failed, rows};
use crate::enrolment;
use crate::refusal::Refusal;
use crate::state::{self, Event, State};
use crate::store::{Agent, Change, EkIdentity, Pending, PendingLimits, StoreError};
use crate::time::Time;
use crate::uuid::Uuid;

impl SqliteStore {
    pub(super) async fn store_pending(&self, pending: &Pending, limits: &PendingLimits) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let expired = sqlx::query("DELETE FROM registrations WHERE expires <= ?").bind(pending.created.millis());
        expired.execute(&mut *transaction).await.map_err(failed)?;
        // Only what came from the same place gives way: a stranger's registrations never push out the machine's.
        sqlx::query(
            "DELETE FROM registrations WHERE id IN (SELECT id FROM registrations WHERE uuid = ? AND source = ? \
             ORDER BY id DESC LIMIT -1 OFFSET ?)",
        )
        .bind(pending.uuid.as_str())
        .bind(&pending.source)
        .bind(limits.per_uuid_and_source.saturating_sub(1))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        let row = sqlx::query("SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE source = ?) AS own FROM registrations");
        let row = row.bind(&pending.source).fetch_one(&mut *transaction).await.map_err(failed)?;
        let limited = [("total", limits.total), ("own", limits.per_source)];
        if limited.into_iter().any(|(name, max)| row.get::<u32, _>(name) >= max) {
            return Err(Refusal::new(
                "busy",
                "too many registrations wait for their tags",
                "try again later; they expire by themselves",
            )
            .into());
        }
        insert(&mut transaction, pending).await?;
        transaction.commit().await.map_err(failed)
    }

    pub(super) async fn read_pending(&self, uuid: &Uuid, now: Time) -> Result<Vec<(i64, Pending)>, StoreError> {
        let query = sqlx::query("SELECT * FROM registrations WHERE uuid = ? AND expires > ? ORDER BY id DESC");
        let query = query.bind(uuid.as_str()).bind(now.millis());
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::pending).collect()
    }

    pub(super) async fn register_pending(&self, pending: i64, at: Time) -> Result<Agent, StoreError> {
        let mut transaction = self.begin().await?;
        let row =
            sqlx::query("SELECT * FROM registrations WHERE id = ? AND expires > ?").bind(pending).bind(at.millis());
        let row = row.fetch_optional(&mut *transaction).await.map_err(failed)?.ok_or(StoreError::NotFound)?;
        let (_, pending) = rows::pending(&row)?;
        let uuid = &pending.uuid;
        let known = find(&mut transaction, uuid).await?;
        let identity = enrolment::admit(known.as_ref(), &pending)?;
        enrol(&mut transaction, known.is_some(), &pending, identity, at).await?;
        let change = Change {
            detail: format!("identity: {}", identity.word()),
            ..Change::plain(Event::Registered, "registered")
        };
        match &known {
            // The same AK again, as after a restart of the agent: at most its certificate is new.
            Some(agent @ Agent { enrolment: Some(_), .. }) => {
                let state = agent.standing.state;
                insert_event(&mut transaction, uuid, Some(state), state, &change, at).await?;
            }
            Some(agent) => {
                let (from, to) = (agent.standing.state, state::next(agent.standing.state, Event::Registered)?);
                let due = to.is_polled().then_some(at);
                set_standing(&mut transaction, uuid, Some(from), to, &change, at, due).await?;
            }
            None => set_standing(&mut transaction, uuid, None, State::Registered, &change, at, None).await?,
        }
        let done = sqlx::query("DELETE FROM registrations WHERE uuid = ?").bind(uuid.as_str());
        done.execute(&mut *transaction).await.map_err(failed)?;
        let agent = find(&mut transaction, uuid).await?.ok_or(StoreError::NotFound)?;
        transaction.commit().await.map_err(failed)?;
        Ok(agent)
    }

    pub(super) async fn forget_old(&self, now: Time, events_kept: u32) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let expired = sqlx::query("DELETE FROM registrations WHERE expires <= ?").bind(now.millis());
        let expired = expired.execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        let old = sqlx::query(
            "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, ROW_NUMBER() OVER \
             (PARTITION BY uuid ORDER BY id DESC) AS place FROM events) WHERE place > ?)",
        );
        old.bind(events_kept).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(expired)
    }
}

async fn enrol(
    transaction: &mut Transaction<'_, Sqlite>,
    known: bool,
    pending: &Pending,
    identity: EkIdentity,
    at: Time,
) -> Result<(), StoreError> {
    if !known {
        let row = sqlx::query(
            "INSERT INTO agents (uuid, generation, state, since, reason, detail) \
             VALUES (?, 0, 'registered', ?, 'registered', '')",
        );
        let row = row.bind(pending.uuid.as_str()).bind(at.millis());
        row.execute(&mut **transaction).await.map_err(failed)?;
    }
    sqlx::query(
        "UPDATE agents SET generation = generation + 1, ak = ?, ek = ?, ek_certificate = ?, ek_sha256 = ?, \
         tls_certificate = ?, identity = ?, registered_at = ? WHERE uuid = ?",
    )
    .bind(&pending.ak)
    .bind(&pending.ek)
    .bind(&pending.ek_certificate)
    .bind(pending.ek_sha256.to_vec())
    .bind(&pending.tls_certificate)
    .bind(identity.word())
    .bind(at.millis())
    .bind(pending.uuid.as_str())
    .execute(&mut **transaction)
    .await
    .map(drop)
    .map_err(failed)
}

async fn insert(connection: &mut SqliteConnection, pending: &Pending) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO registrations (uuid, source, ak, ek, ek_certificate, ek_sha256, tls_certificate, certified, tag, \
         created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(pending.uuid.as_str())
    .bind(&pending.source)
    .bind(&pending.ak)
    .bind(&pending.ek)
    .bind(&pending.ek_certificate)
    .bind(pending.ek_sha256.to_vec())
    .bind(&pending.tls_certificate)
    .bind(pending.certified)
    .bind(&pending.tag)
    .bind(pending.created.millis())
    .bind(pending.expires.millis())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}
