//! Lists, what was accepted of them, and who decided what.

use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::trust::TrustState;
use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, failed, rows};
use crate::store::{Accepted, Audit, AuditRecord, NewPolicy, StoreError, TrustRecord};

impl SqliteStore {
    /// A database that is new has accepted nothing.
    pub(super) async fn first_trust(&self) -> Result<(), StoreError> {
        let database =
            sqlx::query("INSERT OR IGNORE INTO trust (id, database, mark, state) VALUES (1, randomblob(16), 0, ?)");
        let database = database.bind(TrustState::new().print());
        database.execute(&self.writer).await.map(drop).map_err(failed)
    }

    pub(super) async fn read_trust(&self) -> Result<TrustRecord, StoreError> {
        let row = sqlx::query("SELECT * FROM trust").fetch_one(&self.reader).await.map_err(failed)?;
        Ok(TrustRecord {
            database: rows::array(&row, "database")?,
            mark: rows::value(&row, "mark")?,
            accepted: Accepted { state: rows::value(&row, "state")?, root: rows::value(&row, "root")? },
        })
    }

    pub(super) async fn store_trust(
        &self,
        known: &TrustRecord,
        next: &Accepted,
        policy: Option<&NewPolicy>,
        audit: &Audit,
    ) -> Result<TrustRecord, StoreError> {
        let mut transaction = self.begin().await?;
        let raised = sqlx::query("UPDATE trust SET mark = mark + 1, state = ?, root = ? WHERE mark = ? AND state = ?")
            .bind(&next.state)
            .bind(&next.root)
            .bind(known.mark)
            .bind(&known.accepted.state);
        if raised.execute(&mut *transaction).await.map_err(failed)?.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
        if let Some(policy) = policy {
            insert_policy(&mut transaction, policy).await?;
        }
        insert_audit(&mut transaction, audit).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(TrustRecord { database: known.database, mark: known.mark.saturating_add(1), accepted: next.clone() })
    }

    pub(super) async fn read_policies(&self) -> Result<Vec<crate::store::PolicyRecord>, StoreError> {
        let query = sqlx::query(
            "SELECT identity, name, version, created, expires, entries, size, signers, uploaded_at, uploaded_by \
             FROM policies ORDER BY name, version DESC, uploaded_at DESC",
        );
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::policy).collect()
    }

    pub(super) async fn read_policy_bytes(&self, identity: &Identity) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query("SELECT bytes FROM policies WHERE identity = ?").bind(identity.to_bytes().to_vec());
        let row = query.fetch_optional(&self.reader).await.map_err(failed)?;
        row.as_ref().map(|row| rows::value(row, "bytes")).transpose()
    }

    pub(super) async fn store_audit(&self, audit: &Audit) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        insert_audit(&mut transaction, audit).await?;
        transaction.commit().await.map_err(failed)
    }

    pub(super) async fn read_audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let query = sqlx::query("SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?")
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit);
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::audit).collect()
    }
}

async fn insert_policy(connection: &mut SqliteConnection, policy: &NewPolicy) -> Result<(), StoreError> {
    let NewPolicy { record, bytes } = policy;
    sqlx::query(
        "INSERT INTO policies (identity, name, version, created, expires, entries, size, signers, uploaded_at, \
         uploaded_by, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (identity) DO UPDATE SET bytes = excluded.bytes, \
         size = excluded.size, signers = excluded.signers, uploaded_at = excluded.uploaded_at, \
         uploaded_by = excluded.uploaded_by",
    )
    .bind(record.identity.to_bytes().to_vec())
    .bind(record.name.as_str())
    .bind(rows::signed(record.version))
    .bind(&record.created)
    .bind(&record.expires)
    .bind(rows::signed(record.entries))
    .bind(rows::signed(record.size))
    .bind(rows::json(record.signers.iter().map(String::as_str)))
    .bind(record.uploaded_at.millis())
    .bind(&record.uploaded_by)
    .bind(bytes)
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}

pub(super) async fn insert_audit(connection: &mut SqliteConnection, audit: &Audit) -> Result<(), StoreError> {
    let Audit { at, actor, action, subject, detail } = audit;
    sqlx::query("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)")
        .bind(at.millis())
        .bind(actor)
        .bind(*action)
        .bind(subject)
        .bind(detail)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed)
}
