//! Machines: what the tenant asks for, and what is shown.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteStore, failed, rows, trust};
use crate::enrolment::{Expected, identify};
use crate::refusal::Refusal;
use crate::state::{self, Event, State};
use crate::store::{
    Agent, Assignment, Audit, Change, EkIdentity, EventRecord, Filter, FindingGroup, FindingRecord, Mode, Names,
    Progress, Provision, Standing, StoreError,
};
use crate::time::Time;
use crate::uuid::Uuid;

/// Milliseconds between machines that are moved together, so that they do not all answer at once: 200 a second.
const APART: i64 = 5;

/// Examples shown of a group of findings.
const EXAMPLES: u32 = 5;

/// Parameters 1 to 6 are those of [`Filter`].
macro_rules! filtered {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " (?1 IS NULL OR uuid IN (SELECT value FROM json_each(?1)))",
            " AND (?2 IS NULL OR state IN (SELECT value FROM json_each(?2)))",
            " AND (?3 IS NULL OR policy = ?3)",
            " AND (?4 IS NULL OR policy_name = ?4)",
            " AND (?5 IS NULL OR EXISTS (SELECT 1 FROM findings WHERE findings.uuid = agents.uuid AND findings.name = ?5",
            " AND (?6 IS NULL OR findings.found = ?6))) ",
            $after
        )
    };
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

fn filtered<'q>(sql: &'static str, filter: &'q Filter) -> Query<'q> {
    let uuids = filter.uuids.as_ref().map(|uuids| rows::json(uuids.iter().map(Uuid::as_str)));
    let states = filter.states.as_ref().map(|states| rows::json(states.iter().map(|state| state.word())));
    sqlx::query(sql)
        .bind(uuids)
        .bind(states)
        .bind(filter.policy.map(|policy| policy.to_bytes().to_vec()))
        .bind(filter.policy_name.as_ref().map(|name| name.as_str().to_owned()))
        .bind(filter.finding.as_ref().map(|finding| finding.name.clone()))
        .bind(filter.finding.as_ref().and_then(|finding| finding.found.clone()))
}

impl SqliteStore {
    pub(super) async fn read_agent(&self, uuid: &Uuid) -> Result<Option<Agent>, StoreError> {
        let row = sqlx::query("SELECT * FROM agents WHERE uuid = ?").bind(uuid.as_str());
        row.fetch_optional(&self.reader).await.map_err(failed)?.as_ref().map(rows::agent).transpose()
    }

    pub(super) async fn read_agents(
        &self,
        filter: &Filter,
        after: Option<&Uuid>,
        limit: u32,
    ) -> Result<Vec<Agent>, StoreError> {
        let sql = filtered!("SELECT * FROM agents WHERE", "AND (?7 IS NULL OR uuid > ?7) ORDER BY uuid LIMIT ?8");
        let query = filtered(sql, filter).bind(after.map(Uuid::as_str)).bind(limit);
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::agent).collect()
    }

    pub(super) async fn count_agents(&self, filter: &Filter) -> Result<Vec<(State, u64)>, StoreError> {
        let sql = filtered!("SELECT state, COUNT(*) AS machines FROM agents WHERE", "GROUP BY state ORDER BY state");
        let read = |row: &SqliteRow| Ok((rows::word(row, "state", State::from_word)?, rows::count(row, "machines")?));
        filtered(sql, filter).fetch_all(&self.reader).await.map_err(failed)?.iter().map(read).collect()
    }

    pub(super) async fn provision_agent(
        &self,
        uuid: &Uuid,
        provision: &Provision,
        at: Time,
        actor: &str,
    ) -> Result<Agent, StoreError> {
        let mut transaction = self.begin().await?;
        let known = find(&mut transaction, uuid).await?;
        let (identity, from) = match &known {
            Some(Agent { provision: Some(_), .. }) => {
                return Err(Refusal::new(
                    "exists",
                    format!("{uuid} is polled already"),
                    "change its list with `goldseal tenant update`, or delete it first",
                )
                .into());
            }
            Some(Agent { enrolment: Some(enrolment), standing, .. }) => {
                let expected = Expected::of(provision.named_ek_sha256.as_ref(), provision.trust_first);
                let certified = enrolment.identity == EkIdentity::Certificate;
                (Some(identify(expected, &enrolment.ek_sha256, certified)?), Some(standing.state))
            }
            _ => (None, None),
        };
        let state = match from {
            Some(state) => state::next(state, Event::Provisioned)?,
            None => State::Provisioned,
        };
        let Provision { address, protocol, policy, interval, keep_polling, named_ek_sha256, trust_first, .. } =
            provision;
        sqlx::query(
            "INSERT INTO agents (uuid, generation, address, protocol, policy, policy_name, interval_ms, keep_polling, \
             named_ek_sha256, trust_first, provisioned_at, state, since, reason, detail) \
             VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'provisioned', '') \
             ON CONFLICT (uuid) DO UPDATE SET generation = generation + 1, address = excluded.address, \
             protocol = excluded.protocol, policy = excluded.policy, policy_name = excluded.policy_name, \
             interval_ms = excluded.interval_ms, keep_polling = excluded.keep_polling, \
             named_ek_sha256 = excluded.named_ek_sha256, trust_first = excluded.trust_first, \
             provisioned_at = excluded.provisioned_at",
        )
        .bind(uuid.as_str())
        .bind(address)
        .bind(protocol.word())
        .bind(policy.identity.to_bytes().to_vec())
        .bind(policy.name.as_str())
        .bind(interval.map(|interval| i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)))
        .bind(keep_polling)
        .bind(named_ek_sha256.map(Vec::from))
        .bind(trust_first)
        .bind(at.millis())
        .bind(state.word())
        .bind(at.millis())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if let Some(identity) = identity {
            let identified = sqlx::query("UPDATE agents SET identity = ? WHERE uuid = ?");
            let identified = identified.bind(identity.word()).bind(uuid.as_str());
            identified.execute(&mut *transaction).await.map_err(failed)?;
        }
        let change = Change::plain(Event::Provisioned, "provisioned");
        let due = state.is_polled().then_some(at);
        set_standing(&mut transaction, uuid, from, state, &change, at, due).await?;
        let detail = format!(
            "at {}, by {} {}, EK {}",
            provision.address,
            policy.name,
            policy.identity,
            match (named_ek_sha256, trust_first) {
                (Some(_), _) => "named",
                (None, true) => "first seen",
                (None, false) => "certified",
            }
        );
        let audit = Audit { at, actor: actor.to_owned(), action: "agent-added", subject: uuid.to_string(), detail };
        trust::insert_audit(&mut transaction, &audit).await?;
        let agent = find(&mut transaction, uuid).await?.ok_or(StoreError::NotFound)?;
        transaction.commit().await.map_err(failed)?;
        Ok(agent)
    }

    pub(super) async fn delete_agent(&self, uuid: &Uuid, at: Time, actor: &str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let agent = find(&mut transaction, uuid).await?.ok_or(StoreError::NotFound)?;
        for sql in [
            "DELETE FROM agents WHERE uuid = ?",
            "DELETE FROM events WHERE uuid = ?",
            "DELETE FROM findings WHERE uuid = ?",
            "DELETE FROM registrations WHERE uuid = ?",
        ] {
            sqlx::query(sql).bind(uuid.as_str()).execute(&mut *transaction).await.map_err(failed)?;
        }
        let detail = format!("it was {}", agent.standing.state);
        let audit = Audit { at, actor: actor.to_owned(), action: "agent-deleted", subject: uuid.to_string(), detail };
        trust::insert_audit(&mut transaction, &audit).await?;
        transaction.commit().await.map_err(failed)
    }

    pub(super) async fn assign_policy(
        &self,
        filter: &Filter,
        policy: &Assignment,
        names: Names,
        mode: Mode,
        at: Time,
        actor: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut transaction = self.begin().await?;
        let mut moved = Vec::new();
        for agent in find_all(&mut transaction, filter).await? {
            let Some(provision) = &agent.provision else { continue };
            if provision.policy.identity == policy.identity && agent.standing.state != State::Failed {
                continue;
            }
            if provision.policy.name != policy.name && names == Names::Keep {
                return Err(Refusal::new(
                    "wrong-name",
                    format!("{} is judged by lists named {}, not {}", agent.uuid, provision.policy.name, policy.name),
                    "give it a list of that name, or say that the name may change: --change-name",
                )
                .into());
            }
            moved.push(agent);
        }
        if mode == Mode::DryRun {
            return Ok(moved.into_iter().map(|agent| agent.uuid).collect());
        }
        for (agent, nth) in moved.iter().zip(0..) {
            let before = agent.provision.as_ref().map(|provision| &provision.policy);
            let change = Change {
                detail: format!("{} {}", policy.name, policy.identity),
                ..Change::plain(Event::PolicyAssigned, "policy-assigned")
            };
            start_anew(&mut transaction, agent, &change, at, nth).await?;
            let assigned = sqlx::query("UPDATE agents SET policy = ?, policy_name = ? WHERE uuid = ?")
                .bind(policy.identity.to_bytes().to_vec())
                .bind(policy.name.as_str())
                .bind(agent.uuid.as_str());
            assigned.execute(&mut *transaction).await.map_err(failed)?;
            let renamed = before.filter(|before| before.name != policy.name);
            let audit = Audit {
                at,
                actor: actor.to_owned(),
                action: if renamed.is_some() { "policy-name-changed" } else { "policy-assigned" },
                subject: agent.uuid.to_string(),
                detail: match before {
                    Some(before) => {
                        format!("from {} {} to {} {}", before.name, before.identity, policy.name, policy.identity)
                    }
                    None => format!("to {} {}", policy.name, policy.identity),
                },
            };
            trust::insert_audit(&mut transaction, &audit).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(moved.into_iter().map(|agent| agent.uuid).collect())
    }

    pub(super) async fn reactivate_agents(
        &self,
        filter: &Filter,
        mode: Mode,
        at: Time,
        actor: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut transaction = self.begin().await?;
        let agents = find_all(&mut transaction, filter).await?;
        let agents: Vec<Agent> = agents.into_iter().filter(|agent| agent.provision.is_some()).collect();
        if mode == Mode::Do {
            for (agent, nth) in agents.iter().zip(0..) {
                let change = Change::plain(Event::Reactivated, "reactivated");
                start_anew(&mut transaction, agent, &change, at, nth).await?;
                let audit = Audit {
                    at,
                    actor: actor.to_owned(),
                    action: "agent-reactivated",
                    subject: agent.uuid.to_string(),
                    detail: format!("it was {}: {}", agent.standing.state, agent.standing.reason),
                };
                trust::insert_audit(&mut transaction, &audit).await?;
            }
            transaction.commit().await.map_err(failed)?;
        }
        Ok(agents.into_iter().map(|agent| agent.uuid).collect())
    }

    pub(super) async fn read_events(
        &self,
        uuid: &Uuid,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let query = sqlx::query("SELECT * FROM events WHERE uuid = ? AND id < ? ORDER BY id DESC LIMIT ?")
            .bind(uuid.as_str())
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit);
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::event).collect()
    }

    pub(super) async fn read_findings(&self, uuid: &Uuid) -> Result<Vec<FindingRecord>, StoreError> {
        let query = sqlx::query("SELECT * FROM findings WHERE uuid = ? ORDER BY number").bind(uuid.as_str());
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(rows::finding).collect()
    }

    pub(super) async fn group_findings(&self, limit: u32) -> Result<Vec<FindingGroup>, StoreError> {
        let query = sqlx::query(
            "SELECT word, name, found, COUNT(DISTINCT uuid) AS machines, MIN(first_seen) AS first_seen, \
             (SELECT json_group_array(uuid) FROM (SELECT DISTINCT uuid FROM findings AS same \
              WHERE same.word = findings.word AND same.name IS findings.name AND same.found IS findings.found \
              ORDER BY uuid LIMIT ?)) AS examples \
             FROM findings GROUP BY word, name, found ORDER BY machines DESC, first_seen, name LIMIT ?",
        )
        .bind(EXAMPLES)
        .bind(limit);
        query.fetch_all(&self.reader).await.map_err(failed)?.iter().map(group).collect()
    }
}

fn group(row: &SqliteRow) -> Result<FindingGroup, StoreError> {
    let examples: String = row.try_get("examples").map_err(failed)?;
    let examples: Vec<String> = serde_json::from_str(&examples).unwrap_or_default();
    Ok(FindingGroup {
        word: rows::value(row, "word")?,
        name: rows::value(row, "name")?,
        found: rows::value(row, "found")?,
        machines: rows::count(row, "machines")?,
        first_seen: rows::time(row, "first_seen")?,
        examples: examples.iter().filter_map(|uuid| Uuid::new(uuid)).collect(),
    })
}

pub(super) async fn find(connection: &mut SqliteConnection, uuid: &Uuid) -> Result<Option<Agent>, StoreError> {
    let row = sqlx::query("SELECT * FROM agents WHERE uuid = ?").bind(uuid.as_str());
    row.fetch_optional(connection).await.map_err(failed)?.as_ref().map(rows::agent).transpose()
}

async fn find_all(connection: &mut SqliteConnection, filter: &Filter) -> Result<Vec<Agent>, StoreError> {
    let sql = filtered!("SELECT * FROM agents WHERE", "ORDER BY uuid");
    filtered(sql, filter).fetch_all(connection).await.map_err(failed)?.iter().map(rows::agent).collect()
}

/// From the first entry again, as the `nth` of several.
async fn start_anew(
    transaction: &mut Transaction<'_, Sqlite>,
    agent: &Agent,
    change: &Change,
    at: Time,
    nth: i64,
) -> Result<(), StoreError> {
    let state = state::next(agent.standing.state, change.event)?;
    // The boot stays, so that a reboot meanwhile is noticed.
    let Progress { boot, clock, attested_at, contact_at, .. } = &agent.progress;
    let progress = Progress {
        boot: *boot,
        clock: *clock,
        attested_at: *attested_at,
        contact_at: *contact_at,
        counts: "{}".to_owned(),
        ..Progress::default()
    };
    set_progress(transaction, &agent.uuid, &progress).await?;
    set_findings(transaction, &agent.uuid, &[]).await?;
    let due = state.is_polled().then(|| Time::from_millis(at.millis().saturating_add(nth.saturating_mul(APART))));
    set_standing(transaction, &agent.uuid, Some(agent.standing.state), state, change, at, due).await
}

/// The state, and the event that led to it. The generation rises.
pub(super) async fn set_standing(
    transaction: &mut Transaction<'_, Sqlite>,
    uuid: &Uuid,
    from: Option<State>,
    to: State,
    change: &Change,
    at: Time,
    due: Option<Time>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET generation = generation + 1, since = CASE WHEN ?2 THEN since ELSE ?3 END, state = ?4, \
         reason = ?5, detail = ?6, evidence = ?7, due = ?8 WHERE uuid = ?1",
    )
    .bind(uuid.as_str())
    .bind(from == Some(to))
    .bind(at.millis())
    .bind(to.word())
    .bind(&change.reason)
    .bind(&change.detail)
    .bind(change.evidence.map(Vec::from))
    .bind(due.map(Time::millis))
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    insert_event(transaction, uuid, from, to, change, at).await
}

pub(super) async fn insert_event(
    transaction: &mut Transaction<'_, Sqlite>,
    uuid: &Uuid,
    from: Option<State>,
    to: State,
    change: &Change,
    at: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO events (uuid, at, event, from_state, to_state, reason, detail, evidence, blind_from, blind_until) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(uuid.as_str())
    .bind(at.millis())
    .bind(change.event.word())
    .bind(from.map(State::word))
    .bind(to.word())
    .bind(&change.reason)
    .bind(&change.detail)
    .bind(change.evidence.map(Vec::from))
    .bind(change.blind.map(|(from, _)| from.millis()))
    .bind(change.blind.map(|(_, until)| until.millis()))
    .execute(&mut **transaction)
    .await
    .map(drop)
    .map_err(failed)
}

pub(super) async fn set_progress(
    transaction: &mut Transaction<'_, Sqlite>,
    uuid: &Uuid,
    progress: &Progress,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET checkpoint = ?, reset_count = ?, restart_count = ?, tpm_clock = ?, tpm_clock_safe = ?, \
         entries = ?, seen = ?, counts = ?, boot_state = ?, attested_at = ?, contact_at = ?, lagging_since = ?, \
         failures = ?, findings = ? WHERE uuid = ?",
    )
    .bind(&progress.checkpoint)
    .bind(progress.boot.map(|boot| boot.reset_count))
    .bind(progress.boot.map(|boot| boot.restart_count))
    .bind(progress.clock.map(|clock| clock.millis.cast_signed()))
    .bind(progress.clock.map(|clock| clock.safe))
    .bind(rows::signed(progress.entries))
    .bind(rows::signed(progress.seen))
    .bind(&progress.counts)
    .bind(&progress.boot_state)
    .bind(progress.attested_at.map(Time::millis))
    .bind(progress.contact_at.map(Time::millis))
    .bind(progress.lagging_since.map(Time::millis))
    .bind(progress.failures)
    .bind(rows::signed(progress.findings))
    .bind(uuid.as_str())
    .execute(&mut **transaction)
    .await
    .map(drop)
    .map_err(failed)
}

/// Replaces the findings. What was found before keeps the time it was first seen.
pub(super) async fn set_findings(
    transaction: &mut Transaction<'_, Sqlite>,
    uuid: &Uuid,
    findings: &[FindingRecord],
) -> Result<(), StoreError> {
    let known = sqlx::query("SELECT * FROM findings WHERE uuid = ?").bind(uuid.as_str());
    let known = known.fetch_all(&mut **transaction).await.map_err(failed)?;
    if known.is_empty() && findings.is_empty() {
        return Ok(());
    }
    let known: Vec<FindingRecord> = known.iter().map(rows::finding).collect::<Result<_, _>>()?;
    let first_seen = |finding: &FindingRecord| {
        let same = |other: &&FindingRecord| {
            (&other.word, &other.name, &other.found) == (&finding.word, &finding.name, &finding.found)
        };
        known.iter().find(same).map_or(finding.first_seen, |known| known.first_seen)
    };
    let forgotten = sqlx::query("DELETE FROM findings WHERE uuid = ?").bind(uuid.as_str());
    forgotten.execute(&mut **transaction).await.map_err(failed)?;
    for (finding, number) in findings.iter().zip(0_i64..) {
        sqlx::query(
            "INSERT INTO findings (uuid, number, entry, word, name, found, expected, text, first_seen) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(uuid.as_str())
        .bind(number)
        .bind(finding.entry.map(rows::signed))
        .bind(&finding.word)
        .bind(&finding.name)
        .bind(&finding.found)
        .bind(rows::json(finding.expected.iter().map(String::as_str)))
        .bind(&finding.text)
        .bind(first_seen(finding).millis())
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

impl Change {
    /// A change that its reason explains.
    pub fn plain(event: Event, reason: &str) -> Self {
        Self { event, reason: reason.to_owned(), detail: String::new(), evidence: None, blind: None }
    }
}

impl Standing {
    /// Whether this is how a change leaves it, so that there is nothing new to say.
    pub(super) fn says(&self, to: State, change: &Change) -> bool {
        self.state == to && self.reason == change.reason
    }
}
