//! Lists in the service: which are taken, which go on judging, and what a root or a backup changes.

use std::fs;
use std::process::Command;

use goldseal_tests::forge::golden::Golden;
use goldseal_tests::forge::machine::Machine;
use goldseal_tests::forge::{Forge, time, version};
use goldseal_tests::output_of;
use goldseal_tests::swarm::Site;
use goldseal_tests::swarm::site::run;
use goldseal_verifier::policies::{Mark, NoPolicy, Policies};
use goldseal_verifier::state::{Event, State};
use goldseal_verifier::store::sqlite::SqliteStore;
use goldseal_verifier::store::{Assignment, Filter, Mode, Names, Protocol, StoreError};
use goldseal_verifier::time::Time;
use goldseal_verifier_core::header::{Expiry, ListName};

fn reason<T: std::fmt::Debug>(result: Result<T, StoreError>) -> &'static str {
    match result.unwrap_err() {
        StoreError::Refused(refusal) => refusal.reason,
        error => panic!("{error:?}"),
    }
}

/// A service that follows the root of Forge.
async fn rooted(world: &Forge) -> Site {
    let mut site = Site::stopped();
    site.config.trust.keys.clear();
    site.config.trust.roots = site.world.path("roots");
    site.world.file("roots/1.root", world.sealed_root(&["alice", "bob"]));
    site.restart().await;
    site
}

async fn upload(site: &Site, file: Vec<u8>, name: Option<&str>) -> Result<bool, StoreError> {
    let name = name.map(|name| ListName::new(name).unwrap());
    let uploaded = site.service().policies().upload(file, name, "test", Time::now()).await;
    uploaded.map(|uploaded| uploaded.known)
}

#[test]
fn only_sealed_fresh_and_new_lists_are_taken() {
    run(async {
        let world = Forge::new();
        let site = rooted(&world).await;
        let with = |change: &dyn Fn(&mut Forge)| {
            let mut world = world.clone();
            change(&mut world);
            world
        };
        let seals = &["dave", "erin"][..];
        let good = world.list_at(10);
        let tampered = [&good[..good.len() - 2], b"0\n"].concat();
        let stale = with(&|world| world.list.expires = Expiry::At(time("2021-01-01T00:00:00Z")));
        let future = with(&|world| world.list.created = time("2999-01-01T00:00:00Z"));
        let production = with(&|world| world.list.name = ListName::new("prod-web").unwrap());
        for (file, expected) in [
            (world.sealed_list(&[]), "unsealed"),
            (world.sealed_list(&["dave"]), "threshold"),
            (world.sealed_list(&["alice", "bob"]), "threshold"),
            (production.sealed_list(seals), "threshold"),
            (tampered, "tampered"),
            (b"nothing of the kind".to_vec(), "malformed"),
            (Vec::new(), "malformed"),
            // Sealed, but by nobody who may seal a list.
            (world.sealed_root(&["alice", "bob"]), "threshold"),
            (stale.sealed_list(seals), "stale"),
            (future.sealed_list(seals), "from-the-future"),
        ] {
            assert_eq!(reason(upload(&site, file, None).await), expected);
        }
        assert_eq!(reason(upload(&site, good.clone(), Some("db")).await), "wrong-name");
        let trust = site.store().trust().await.unwrap();
        assert_eq!((site.store().policies().await.unwrap(), trust.mark), (Vec::new(), 1), "nothing was taken");

        assert!(!upload(&site, good.clone(), Some("web")).await.unwrap());
        assert!(upload(&site, good.clone(), None).await.unwrap(), "it is known");
        assert_eq!(reason(upload(&site, world.list_at(9), None).await), "below-floor");
        let other = with(&|world| world.list.entries.clear());
        assert_eq!(reason(upload(&site, other.sealed_list(seals), None).await), "equivocation");
        // More signatures on the same list replace those there were.
        assert!(!upload(&site, world.sealed_list(&["dave", "erin", "frank"]), None).await.unwrap());
        let record = site.store().policies().await.unwrap().remove(0);
        let mut signers = record.signers;
        signers.sort();
        assert_eq!((record.version, signers), (10, ["dave", "erin", "frank"].map(str::to_owned).to_vec()));
        let audit = site.store().audit(None, 10).await.unwrap();
        let actions: Vec<_> = audit.iter().map(|line| (line.actor.as_str(), line.action.as_str())).collect();
        assert_eq!(actions, [("test", "policy-uploaded"), ("test", "policy-uploaded"), ("operator", "root-followed")]);
    });
}

/// What was accepted is still so after a start; assigning follows the same floor.
#[test]
fn the_floor_is_kept() {
    run(async {
        let world = Forge::new();
        let mut site = rooted(&world).await;
        upload(&site, world.list_at(10), None).await.unwrap();
        upload(&site, world.list_at(12), None).await.unwrap();
        site.restart().await;
        assert_eq!(reason(upload(&site, world.list_at(11), None).await), "below-floor");
        let policies = site.service().policies();
        let records = site.store().policies().await.unwrap();
        assert_eq!(records.iter().map(|record| record.version).collect::<Vec<_>>(), [12, 10]);
        assert!(policies.assignable(&records[0].identity, Time::now()).await.is_ok());
        match policies.assignable(&records[1].identity, Time::now()).await {
            Err(NoPolicy::Lost(refusal)) => assert_eq!(refusal.reason, "below-floor"),
            other => panic!("{other:?}"),
        }
        // In use it goes on judging.
        assert!(policies.appraiser(&records[1].identity, Time::now()).await.is_ok());
        assert_eq!(policies.floor(&records[1].name), Some(version(12)));
    });
}

/// A list that goes stale while it is in use goes on catching, and says so; and is not given to others.
#[test]
fn a_stale_list_goes_on_catching() {
    run(async {
        let site = Site::start().await;
        let mut machine = Machine::perfect();
        let expires = Time::now().plus(std::time::Duration::from_secs(4)).timestamp();
        machine.golden.expires = Expiry::At(expires);
        let agent = site.agent(machine).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        let accepted = site.until(&uuid, State::Accepted).await;
        site.until(&uuid, State::StalePolicy).await;
        let identity = accepted.provision.unwrap().policy.identity;
        match site.service().policies().assignable(&identity, Time::now()).await {
            Err(NoPolicy::Lost(refusal)) => assert_eq!(refusal.reason, "stale"),
            other => panic!("{other:?}"),
        }
        agent.run("/root/evil.sh", b"#!/bin/sh");
        site.until(&uuid, State::Failed).await;
    });
}

/// A root that takes a list back: its machines are judged by nothing, until they get another.
#[test]
fn a_list_that_no_longer_verifies_judges_nothing() {
    run(async {
        let mut world = Forge::new();
        let machine = Machine::perfect();
        // The list of the machine, sealed by Forge's people.
        let golden = goldseal_verifier_core::list::inspect(machine.golden.sealed()).unwrap();
        world.list.entries = machine.golden.entries().to_vec();
        world.list.rules = golden.contents().rules().clone();
        let site = rooted(&world).await;
        let agent = site.agent(machine).await;
        let file = world.sealed_list(&["dave", "erin"]);
        let record = site.service().policies().upload(file, None, "test", Time::now()).await.unwrap().record;
        let uuid = goldseal_verifier::uuid::Uuid::new("neptune").unwrap();
        let provision = goldseal_verifier::store::Provision {
            address: agent.address().to_string(),
            protocol: Protocol::Goldseal,
            policy: Assignment { identity: record.identity, name: record.name.clone() },
            interval: None,
            keep_polling: false,
            named_ek_sha256: None,
            trust_first: true,
            provisioned_at: Time::now(),
        };
        site.store().provision(&uuid, &provision, Time::now(), "test").await.unwrap();
        site.register(&uuid, &agent).await;
        site.until(&uuid, State::Accepted).await;

        world.rotate().statements.revoked_lists.insert(record.identity);
        site.world.file("roots/2.root", world.sealed_root(&["alice", "bob"]));
        site.service().reload().await;
        let lost = site.until(&uuid, State::NoPolicy).await;
        assert_eq!((lost.standing.reason.as_str(), lost.progress.checkpoint), ("revoked-list", None));
        let asked = agent.state().asked.len();
        site.next_poll(&uuid).await;
        assert_eq!(agent.state().asked.len(), asked, "nobody asks it");

        world.list.version = version(11);
        let next =
            site.service().policies().upload(world.sealed_list(&["dave", "erin"]), None, "test", Time::now()).await;
        let record = next.unwrap().record;
        let next = Assignment { identity: record.identity, name: record.name };
        let moved = site.store().assign(&Filter::default(), &next, Names::Keep, Mode::Do, Time::now(), "test").await;
        assert_eq!(moved.unwrap(), std::slice::from_ref(&uuid));
        site.until(&uuid, State::Accepted).await;
        assert_eq!(agent.state().asked.last().copied().map(|from| from <= 3), Some(true));
        let events = site.history(&uuid).await;
        assert!(events.iter().any(|event| event.change.event == Event::PolicyLost && event.to == State::NoPolicy));
        // A root that does not follow changes nothing.
        site.world.file("roots/3.root", world.sealed_root(&["alice"]));
        site.service().reload().await;
        assert_eq!(site.service().policies().root().map(|(version, _)| version), Some(version(2)));
    });
}

#[test]
fn a_list_of_another_name_is_given_only_on_purpose() {
    run(async {
        let site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        let other = Assignment {
            identity: site.look(&uuid).await.provision.unwrap().policy.identity,
            name: ListName::new("other").unwrap(),
        };
        let store = site.store();
        let mut second = Golden::new();
        second.version = 2;
        let record = site.upload(&second).await.unwrap().record;
        let other = Assignment { identity: record.identity, ..other };
        let all = Filter::default();
        let assign = |names, mode| store.assign(&all, &other, names, mode, Time::now(), "test");
        assert_eq!(reason(assign(Names::Keep, Mode::Do).await), "wrong-name");
        assert_eq!(assign(Names::Change, Mode::DryRun).await.unwrap(), std::slice::from_ref(&uuid));
        assert_eq!(site.look(&uuid).await.provision.unwrap().policy.name.as_str(), "golden");
        assert_eq!(assign(Names::Change, Mode::Do).await.unwrap(), std::slice::from_ref(&uuid));
        assert_eq!(assign(Names::Change, Mode::Do).await.unwrap(), [], "it has it");
        let audit = store.audit(None, 1).await.unwrap().remove(0);
        assert_eq!((audit.action.as_str(), audit.subject.as_str()), ("policy-name-changed", "neptune"));
        assert!(audit.detail.contains("from golden") && audit.detail.contains("to other"));
    });
}

/// An older database would take back what was accepted: a person has to say so.
#[test]
fn a_restored_backup_is_noticed() {
    run(async {
        let world = Forge::new();
        let mut site = rooted(&world).await;
        upload(&site, world.list_at(10), None).await.unwrap();
        site.stop().await;
        let (database, backup) = (site.config.database(), site.world.path("backup.db"));
        output_of(Command::new("sqlite3").arg(&database).arg(format!(".backup '{}'", backup.display())));
        site.restart().await;
        upload(&site, world.list_at(12), None).await.unwrap();
        site.stop().await;
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", database.display()));
        }
        fs::copy(&backup, &database).unwrap();
        assert_eq!(reason(site.try_start().await), "restored-backup");
        let mark = Mark::at(&site.config.mark());
        let store = SqliteStore::open(&database).await.unwrap();
        Policies::accept_backup(&store, &mark, "the disk \u{1b}broke", Time::now()).await.unwrap();
        store.close().await;
        site.restart().await;
        upload(&site, world.list_at(11), None).await.unwrap();
        let audit = site.store().audit(None, 10).await.unwrap();
        let line = audit.iter().find(|line| line.action == "backup-accepted").unwrap();
        assert_eq!(line.detail, "the disk \\u{1b}broke");
        // Nor may it be another's database, or the mark be gone.
        site.stop().await;
        fs::remove_file(site.config.mark()).unwrap();
        assert_eq!(reason(site.try_start().await), "restored-backup");
    });
}

#[test]
fn a_root_that_was_followed_is_not_left() {
    run(async {
        let mut world = Forge::new();
        let mut site = rooted(&world).await;
        world.rotate();
        site.world.file("roots/2.root", world.sealed_root(&["alice", "bob"]));
        site.restart().await;
        assert_eq!(site.service().policies().root().map(|(version, _)| version), Some(version(2)));
        site.stop().await;
        fs::remove_file(site.world.path("roots/2.root")).unwrap();
        assert_eq!(reason(site.try_start().await), "below-floor");
        // Another root of the version followed.
        let mut other = Forge::new();
        other.rotate().created = time("2020-01-02T00:00:00Z");
        site.world.file("roots/2.root", other.sealed_root(&["alice", "bob"]));
        assert_eq!(reason(site.try_start().await), "equivocation");
        // Keys in the place of the root.
        let keys = Site::stopped().config.trust.keys;
        let key = fs::read(&keys[0]);
        assert!(key.is_err(), "that folder is gone");
        let golden = Site::stopped();
        site.config.trust.keys = golden.config.trust.keys.clone();
        assert_eq!(reason(site.try_start().await), "bad-root");
    });
}
