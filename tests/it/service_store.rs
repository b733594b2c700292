//! The database: full, held, of the first version; and a service that is killed at any point.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goldseal_tests::forge::machine::Machine;
use goldseal_tests::swarm::site::run;
use goldseal_tests::swarm::{Behaviour, Site, SoftAgent};
use goldseal_tests::{output_of, verifier};
use goldseal_verifier::state::{Event, State};
use goldseal_verifier::store::sqlite::SqliteStore;
use goldseal_verifier::store::{
    Audit, Change, Filter, FindingRecord, Mode, Progress, Protocol, Report, Store, StoreError,
};
use goldseal_verifier::time::Time;
use goldseal_verifier::uuid::Uuid;

fn audit(detail: String) -> Audit {
    Audit { at: Time::now(), actor: "test".to_owned(), action: "noted", subject: "disk".to_owned(), detail }
}

/// A report that fails a machine, with a page of findings.
fn rejection(uuid: &Uuid, generation: i64) -> Report {
    let finding = FindingRecord {
        entry: Some(4),
        word: "not-in-whitelist".to_owned(),
        name: Some(vec![b'x'; 4_000]),
        found: None,
        expected: Vec::new(),
        text: "x".repeat(4_000),
        first_seen: Time::now(),
    };
    Report {
        uuid: uuid.clone(),
        generation,
        at: Time::now(),
        changes: vec![Change::plain(Event::Rejected, "rejected")],
        progress: Progress { counts: "{}".to_owned(), ..Progress::default() },
        findings: Some(vec![finding; 50]),
        due: Time::now(),
    }
}

/// Neither a half of a report nor a half of anything else is stored.
#[test]
fn a_full_disk_leaves_no_half_state() {
    run(async {
        let mut site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        site.stop().await;

        let pages = |pragma: &str| -> u32 {
            let asked = output_of(Command::new("sqlite3").arg(site.config.database()).arg(format!("PRAGMA {pragma}")));
            String::from_utf8(asked).unwrap().trim().parse().unwrap()
        };
        let count = pages("page_count").to_string();
        let database = site.config.database();
        let full = SqliteStore::open_with(&database, |options| options.pragma("max_page_count", count.clone()));
        let store = full.await.unwrap();
        let before = store.agent(&uuid).await.unwrap().unwrap();
        let events = store.events(&uuid, None, 100).await.unwrap();
        let error = store.report(&[rejection(&uuid, before.generation)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Full) && error.is_temporary(), "{error:?}");
        let error = store.add_audit(&audit("x".repeat(100_000))).await;
        assert!(matches!(error, Err(StoreError::Full)), "{error:?}");
        assert_eq!(store.agent(&uuid).await.unwrap().unwrap(), before);
        assert_eq!(store.events(&uuid, None, 100).await.unwrap(), events);
        assert_eq!(store.findings(&uuid).await.unwrap(), []);
        store.close().await;

        // With room again the same report is stored.
        let store = SqliteStore::open(&site.config.database()).await.unwrap();
        let answers = store.report(&[rejection(&uuid, before.generation)]).await.unwrap();
        assert_eq!(answers[0].as_ref().map(|reported| reported.to).ok(), Some(State::Failed));
        assert_eq!(store.findings(&uuid).await.unwrap().len(), 50);
    });
}

#[test]
fn a_held_database_is_busy_and_stays_whole() {
    run(async {
        let site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        let mut holder = Command::new("sqlite3")
            .arg(site.config.database())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = holder.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b".timeout 10000\nBEGIN IMMEDIATE;\nSELECT 'held';\n").unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "held\n");
        let error = site.store().add_audit(&audit("held".to_owned())).await.unwrap_err();
        assert!(matches!(error, StoreError::Busy) && error.is_temporary(), "{error:?}");
        // Reading goes on, and what polls come to waits.
        assert_eq!(site.look(&uuid).await.standing.state, State::Accepted);
        agent.run("/root/evil.sh", b"#!/bin/sh");
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::io::Write::write_all(&mut input, b"ROLLBACK;\n.quit\n").unwrap();
        drop(input);
        holder.wait().unwrap();
        site.until(&uuid, State::Failed).await;
        assert_eq!(site.store().findings(&uuid).await.unwrap().len(), 1);
    });
}

/// A database that the first version made, with a machine in it (testdata/service/README.md).
#[test]
fn a_database_of_the_first_version_still_opens() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("verifier.db");
        let dump = include_str!("../../testdata/service/first.sql");
        let mut sqlite = Command::new("sqlite3").arg(&database).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut sqlite.stdin.take().unwrap(), dump.as_bytes()).unwrap();
        assert!(sqlite.wait().unwrap().success());
        let store = SqliteStore::open(&database).await.unwrap();
        let agents = store.agents(&Filter::default(), None, 10).await.unwrap();
        let states: Vec<_> = agents.iter().map(|agent| (agent.uuid.as_str(), agent.standing.state)).collect();
        assert_eq!(states, [("neptune", State::Failed), ("venus", State::Accepted)]);
        assert!(agents[1].progress.checkpoint.is_some() && agents[1].enrolment.is_some());
        assert_eq!(store.findings(&agents[0].uuid).await.unwrap().len(), 1);
        assert_eq!(store.policies().await.unwrap().len(), 1);
        assert!(store.audit(None, 10).await.unwrap().len() >= 3);
        let moved = store.reactivate(&Filter::default(), Mode::DryRun, Time::now(), "test").await.unwrap();
        assert_eq!(moved.len(), 2);
    });
}

/// Makes that database anew, with the version that is at hand: see testdata/service/README.md.
#[test]
fn the_database_of_this_version_can_be_dumped() {
    run(async {
        let mut site = Site::start().await;
        let (good, evil) = (site.agent(Machine::perfect()).await, site.agent(Machine::perfect()).await);
        let venus = site.add("venus", &good, Protocol::Goldseal).await;
        let neptune = site.add("neptune", &evil, Protocol::Keylime).await;
        site.until(&neptune, State::Accepted).await;
        evil.run("/root/evil.sh", b"#!/bin/sh");
        site.until(&neptune, State::Failed).await;
        site.until(&venus, State::Accepted).await;
        site.stop().await;
        let dump = output_of(Command::new("sqlite3").arg(site.config.database()).arg(".dump"));
        assert!(dump.ends_with(b"COMMIT;\n"));
        if let Some(path) = std::env::var_os("GOLDSEAL_DUMP_DATABASE") {
            std::fs::write(path, dump).unwrap();
        }
    });
}

/// Two services on one database would undo each other's work.
#[test]
fn a_second_service_does_not_start() {
    run(async {
        let site = Site::start().await;
        match site.try_start().await {
            Err(StoreError::Refused(refusal)) => assert_eq!(refusal.reason, "busy"),
            other => panic!("{other:?}"),
        }
    });
}

/// The service as a process.
struct Process(Child);

impl Process {
    fn start(site: &Site) -> Self {
        let config = site.world.file("verifier.toml", site.config.print());
        let mut command = Command::new(verifier());
        command.arg("--config").arg(config).arg("serve").stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Killed at points that nobody chose, the service loses no machine, and no verdict changes without evidence.
#[test]
fn a_service_that_is_killed_loses_nothing() {
    const MACHINES: usize = 8;
    let kills = if std::env::var_os("GOLDSEAL_FULL").is_some() { 100 } else { 12 };
    run(async {
        let mut site = Site::start().await;
        let mut agents: Vec<(Uuid, SoftAgent)> = Vec::new();
        for number in 0..MACHINES {
            let agent = site.agent(Machine::perfect()).await;
            let uuid = site.add(&format!("m{number}"), &agent, Protocol::Goldseal).await;
            agents.push((uuid, agent));
        }
        site.stop().await;
        let (evil_uuid, evil) = &agents[0];
        let (quiet_uuid, quiet) = &agents[1];
        let mut failed_since = None;
        for kill in 0..kills {
            let process = Process::start(&site);
            // Machines go on working, reboot, and one of them runs what nobody listed.
            for (number, (_, agent)) in agents.iter().enumerate() {
                match (kill + number) % 5 {
                    0 => agent.run("/usr/bin/bash", b"bash"),
                    1 if number > 1 => agent.state().machine.reboot(),
                    _ => {}
                }
            }
            if kill == kills / 3 {
                evil.run("/root/evil.sh", b"#!/bin/sh");
            }
            quiet.behave(if kill % 3 == 1 { Behaviour::Vanish } else { Behaviour::Honest });
            // From before it listens to after several polls.
            let wait = Duration::from_millis(50 + (u64::try_from(kill).unwrap() * 7_919) % 2_500);
            tokio::time::sleep(wait).await;
            process.kill();
            failed_since = check(&site, evil_uuid, failed_since, MACHINES).await;
        }
        quiet.behave(Behaviour::Honest);
        site.restart().await;
        site.until(evil_uuid, State::Failed).await;
        for (uuid, agent) in agents.iter().skip(1) {
            let entries = agent.state().machine.list.len();
            let stands = site.until_so(uuid, "accepted", |agent| {
                agent.standing.state == State::Accepted && agent.progress.entries == u64::try_from(entries).unwrap()
            });
            stands.await;
        }
        site.until(quiet_uuid, State::Accepted).await;
    });
}

/// What holds of the database whenever the service was killed.
async fn check(site: &Site, evil: &Uuid, failed_since: Option<Time>, machines: usize) -> Option<Time> {
    let integrity = output_of(Command::new("sqlite3").arg(site.config.database()).arg("PRAGMA integrity_check"));
    assert_eq!(integrity, b"ok\n");
    let store = SqliteStore::open(&site.config.database()).await.unwrap();
    let agents = store.agents(&Filter::default(), None, 100).await.unwrap();
    assert_eq!(agents.len(), machines);
    let mut failed = None;
    for agent in &agents {
        let state = agent.standing.state;
        assert!(state.is_polled(), "{agent:?}");
        assert_eq!(agent.due.is_none(), state == State::Failed, "{agent:?}");
        let is_verdict = |state| matches!(state, State::Accepted | State::StalePolicy | State::Failed | State::Lagging);
        assert!(!is_verdict(state) || agent.standing.evidence.is_some(), "{agent:?}");
        let mut events = store.events(&agent.uuid, None, 10_000).await.unwrap();
        events.reverse();
        // Each state follows on the one before, and the last is the one it is in.
        for pair in events.windows(2) {
            assert_eq!(pair[1].from, Some(pair[0].to), "{pair:?}");
        }
        assert_eq!(events.last().map(|event| event.to), Some(state), "{agent:?}");
        for event in &events {
            assert!(!is_verdict(event.to) || event.change.evidence.is_some(), "{event:?}");
            assert!(event.to != State::Failed || agent.uuid == *evil, "{event:?}");
        }
        if agent.uuid == *evil && state == State::Failed {
            failed = Some(agent.standing.since);
            assert_eq!(store.findings(evil).await.unwrap().len(), 1);
            assert_eq!(agent.progress.checkpoint, None);
        }
    }
    store.close().await;
    assert!(failed_since.is_none() || failed == failed_since, "a verdict was taken back: {failed:?}");
    failed
}
