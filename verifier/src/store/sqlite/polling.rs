//! The queue of what is due, and what polls came to.

use super::agents::{find, insert_event, set_findings, set_progress};
use super::{SqliteStore, failed, rows};
use crate::state::{self, Event, State};
use crate::store::{Agent, Report, Reported, StoreError};
use crate::time::Time;

use sqlx::{Row, Sqlite, Transaction};

impl SqliteStore {
    pub(super) async fn claim_due(&self, now: Time, lease: Time, limit: u32) -> Result<Vec<Agent>, StoreError> {
        // Asked of the readers first: mostly nothing is due, and the writer is left alone.
        if self.read_next_due().await?.is_none_or(|due| due > now) {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin().await?;
        let query = sqlx::query(
            "UPDATE agents SET due = ?2 WHERE uuid IN \
             (SELECT uuid FROM agents WHERE due IS NOT NULL AND due <= ?1 ORDER BY due LIMIT ?3) RETURNING *",
        )
        .bind(now.millis())
        .bind(lease.millis())
        .bind(limit);
        let rows = query.fetch_all(&mut *transaction).await.map_err(failed)?;
        let agents = rows.iter().map(rows::agent).collect::<Result<Vec<_>, _>>()?;
        transaction.commit().await.map_err(failed)?;
        Ok(agents)
    }

    pub(super) async fn read_next_due(&self) -> Result<Option<Time>, StoreError> {
        let row = sqlx::query("SELECT MIN(due) AS due FROM agents WHERE due IS NOT NULL");
        let row = row.fetch_one(&self.reader).await.map_err(failed)?;
        let due: Option<i64> = row.try_get("due").map_err(failed)?;
        Ok(due.map(Time::from_millis))
    }

    pub(super) async fn store_reports(
        &self,
        reports: &[Report],
    ) -> Result<Vec<Result<Reported, StoreError>>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut answers = Vec::with_capacity(reports.len());
        for report in reports {
            match store_report(&mut transaction, report).await {
                // Nothing of this report was written, and the others stand.
                Err(error @ (StoreError::Fenced | StoreError::NotFound | StoreError::Illegal(_))) => {
                    answers.push(Err(error));
                }
                Err(error) => return Err(error),
                Ok(reported) => answers.push(Ok(reported)),
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(answers)
    }

    pub(super) async fn drop_checkpoints(&self) -> Result<u64, StoreError> {
        // The generation rises, so that a poll under way brings none back.
        let query =
            sqlx::query("UPDATE agents SET checkpoint = NULL, generation = generation + 1 WHERE address IS NOT NULL");
        Ok(query.execute(&self.writer).await.map_err(failed)?.rows_affected())
    }
}

async fn store_report(transaction: &mut Transaction<'_, Sqlite>, report: &Report) -> Result<Reported, StoreError> {
    let agent = find(transaction, &report.uuid).await?.ok_or(StoreError::NotFound)?;
    if agent.generation != report.generation {
        return Err(StoreError::Fenced);
    }
    // All steps are held to be legal before the first is written.
    let from = agent.standing.state;
    let mut state = from;
    let mut steps = Vec::with_capacity(report.changes.len());
    for change in &report.changes {
        let next = state::next(state, change.event)?;
        steps.push((state, next, change));
        state = next;
    }
    let mut standing = agent.standing;
    for (before, after, change) in &steps {
        let is_news = before != after || change.event == Event::NewBoot || !standing.says(*after, change);
        if is_news {
            insert_event(transaction, &report.uuid, Some(*before), *after, change, report.at).await?;
        }
        if before != after {
            standing.since = report.at;
        }
        standing.state = *after;
        standing.reason.clone_from(&change.reason);
        standing.detail.clone_from(&change.detail);
        standing.evidence = change.evidence;
    }
    let keeps_on = agent.provision.is_some_and(|provision| provision.keep_polling);
    let due = (state != State::Failed || keeps_on).then_some(report.due);
    let query = sqlx::query(
        "UPDATE agents SET generation = generation + 1, state = ?, since = ?, reason = ?, detail = ?, evidence = ?, \
         due = ? WHERE uuid = ?",
    )
    .bind(standing.state.word())
    .bind(standing.since.millis())
    .bind(&standing.reason)
    .bind(&standing.detail)
    .bind(standing.evidence.map(Vec::from))
    .bind(due.map(Time::millis))
    .bind(report.uuid.as_str());
    query.execute(&mut **transaction).await.map_err(failed)?;
    set_progress(transaction, &report.uuid, &report.progress).await?;
    match &report.findings {
        Some(findings) => set_findings(transaction, &report.uuid, findings).await?,
        None if from == State::Failed && state != State::Failed => {
            set_findings(transaction, &report.uuid, &[]).await?;
        }
        None => {}
    }
    Ok(Reported { from, to: state, due })
}
