//! Polling: agents in software that answer rightly, wrongly, late and never, and what becomes of them.

use std::fs;
use std::time::Duration;

use goldseal_tests::Run;
use goldseal_tests::forge::machine::Machine;
use goldseal_tests::forge::measurements::Measurement;
use goldseal_tests::swarm::site::run;
use goldseal_tests::swarm::{Behaviour, Site};
use goldseal_verifier::state::{Event, State};
use goldseal_verifier::store::{Filter, Mode, Protocol};
use goldseal_verifier::time::Time;

const PROTOCOLS: [Protocol; 2] = Protocol::ALL;

/// The story of the seed: accepted, until it runs what nobody listed; then failed, and not asked again.
#[test]
fn a_machine_that_runs_an_unknown_script_is_failed_and_polling_stops() {
    run(async {
        for protocol in PROTOCOLS {
            let site = Site::start().await;
            let agent = site.agent(Machine::perfect()).await;
            let uuid = site.add("neptune", &agent, protocol).await;
            let accepted = site.until(&uuid, State::Accepted).await;
            assert!(accepted.progress.attested_at.is_some() && accepted.standing.evidence.is_some());
            assert_eq!((accepted.progress.entries, accepted.progress.boot_state.as_deref()), (3, Some("proven")));

            agent.run("/root/evil.sh", b"#!/bin/sh");
            let failed = site.until(&uuid, State::Failed).await;
            assert_eq!((failed.standing.reason.as_str(), failed.due), ("rejected", None));
            assert!(failed.standing.detail.contains("/root/evil.sh"), "{failed:?}");
            assert_eq!(failed.progress.checkpoint, None);
            let findings = site.store().findings(&uuid).await.unwrap();
            let found: Vec<_> =
                findings.iter().map(|finding| (finding.word.as_str(), finding.name.as_deref())).collect();
            assert_eq!(found, [("not-in-whitelist", Some(&b"/root/evil.sh"[..]))]);

            // Nobody asks it any more.
            let asked = agent.state().asked.len();
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            assert_eq!(agent.state().asked.len(), asked);

            // Reactivated, it is asked from the first entry, and is failed again: what ran has run.
            let moved = site.store().reactivate(&Filter::uuid(&uuid), Mode::Do, Time::now(), "test").await.unwrap();
            assert_eq!(moved, std::slice::from_ref(&uuid));
            site.until_so(&uuid, "failed again", |agent| agent.standing.state == State::Failed).await;
            assert_eq!(agent.state().asked.last(), Some(&0));
            // After a reboot without it all is well.
            agent.state().machine.reboot();
            site.store().reactivate(&Filter::uuid(&uuid), Mode::Do, Time::now(), "test").await.unwrap();
            site.until(&uuid, State::Accepted).await;
            assert_eq!(site.store().findings(&uuid).await.unwrap(), []);
        }
    });
}

/// What is kept of a rejection is what `goldseal appraise` comes to the same verdict by.
#[test]
fn the_evidence_of_a_rejection_convinces_others() {
    run(async {
        for protocol in PROTOCOLS {
            let site = Site::start().await;
            let agent = site.agent(Machine::perfect()).await;
            let uuid = site.add("neptune", &agent, protocol).await;
            site.until(&uuid, State::Accepted).await;
            agent.run("/root/evil.sh", b"#!/bin/sh");
            let failed = site.until(&uuid, State::Failed).await;

            let cases: Vec<_> = fs::read_dir(site.world.path("state/evidence/neptune")).unwrap().collect();
            assert_eq!(cases.len(), 1);
            let folder = cases[0].as_ref().unwrap().path();
            let readme = fs::read_to_string(folder.join("README")).unwrap();
            let digest: String = failed.standing.evidence.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(readme.contains(&digest), "{readme}");
            let command = readme.split("\n\n").nth(1).unwrap();
            let words = command.replace("\\\n", " ").replace("--trust-root ROOT", "--trust ../../../../golden.pub");
            let mut appraise = site.world.command(words.trim().strip_prefix("goldseal ").unwrap());
            appraise.arg("--json").current_dir(&folder);
            let object = Run::of(appraise).exits(1).json();
            assert_eq!(object["verdict"], "rejected");
            assert_eq!(object["findings"][0]["path"], "/root/evil.sh");
        }
    });
}

/// Each way of answering, and where it leads to from `accepted`: the state and its reason.
#[test]
fn agents_that_do_not_answer_as_they_should() {
    let unreachable = [
        (Behaviour::Stall, "timeout"),
        (Behaviour::StallHandshake, "timeout"),
        (Behaviour::Drip, "timeout"),
        (Behaviour::Garbage, "bad-answer"),
        (Behaviour::NoHttp, "broken-off"),
        (Behaviour::Status(500), "agent-error"),
        (Behaviour::Status(302), "agent-error"),
        (Behaviour::Vanish, "broken-off"),
        (Behaviour::Compressed, "encoded"),
        (Behaviour::Endless, "too-long"),
        (Behaviour::StartAt(1), "bad-answer"),
    ];
    let failed = [
        (Behaviour::Replay, "bad-quote"),
        (Behaviour::OldNonce, "bad-quote"),
        (Behaviour::OtherQuote, "bad-quote"),
        (Behaviour::FewerPcrs, "bad-quote"),
        (Behaviour::Shrink(1), "no-replay"),
        (Behaviour::Rewrite(3), "no-replay"),
    ];
    let all = unreachable.into_iter().map(|(behaviour, reason)| (behaviour, State::Unreachable, reason));
    let all: Vec<_> =
        all.chain(failed.into_iter().map(|(behaviour, reason)| (behaviour, State::Failed, reason))).collect();
    run(async {
        let mut site = Site::stopped();
        site.config.poll.max_body = 1 << 20;
        site.restart().await;
        for protocol in PROTOCOLS {
            let mut waiting = Vec::new();
            for (number, (behaviour, state, reason)) in all.iter().enumerate() {
                let agent = site.agent(Machine::perfect()).await;
                let uuid = site.add(&format!("{}-{number}", protocol.word()), &agent, protocol).await;
                waiting.push((agent, uuid, behaviour, *state, *reason));
            }
            for (agent, uuid, behaviour, ..) in &waiting {
                site.until(uuid, State::Accepted).await;
                // There is something new to be shown, and to be hidden.
                agent.run("/usr/bin/bash", b"bash");
                agent.behave((*behaviour).clone());
            }
            for (agent, uuid, behaviour, state, reason) in &waiting {
                let stands = site.until(uuid, *state).await;
                assert_eq!(&stands.standing.reason, reason, "{protocol:?} {behaviour:?}: {stands:?}");
                assert_eq!(stands.standing.evidence.is_some(), *state == State::Failed, "{behaviour:?}");
                if *state == State::Unreachable {
                    // It comes back without anybody's help.
                    agent.behave(Behaviour::Honest);
                    let back = site.until(uuid, State::Accepted).await;
                    assert_eq!(back.progress.entries, 4, "{behaviour:?}");
                }
            }
        }
    });
}

/// Whoever answers with another certificate is not the machine, and gets nothing to judge.
#[test]
fn another_certificate_is_another_peer() {
    run(async {
        let site = Site::start().await;
        let mut agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        agent.change_certificate().await;
        // At first it may be found to answer not at all.
        let stands = site.until_so(&uuid, "refused", |agent| agent.standing.reason == "other-certificate").await;
        assert_eq!(stands.standing.state, State::Unreachable);
        let asked = agent.state().asked.len();
        site.next_poll(&uuid).await;
        assert_eq!(agent.state().asked.len(), asked);
    });
}

/// Nothing accepted is asked twice, also after the service was started again; nonces never are the same.
#[test]
fn polling_goes_on_where_it_was() {
    run(async {
        for protocol in PROTOCOLS {
            let mut site = Site::start().await;
            let agent = site.agent(Machine::perfect()).await;
            let uuid = site.add("neptune", &agent, protocol).await;
            site.until(&uuid, State::Accepted).await;
            agent.run("/usr/bin/bash", b"bash");
            site.until_so(&uuid, "gone on", |agent| agent.progress.entries == 4).await;
            site.restart().await;
            agent.run("/usr/bin/a_b", b"blank");
            site.until_so(&uuid, "gone on", |agent| agent.progress.entries == 5).await;
            site.next_poll(&uuid).await;
            {
                let state = agent.state();
                assert_eq!((state.asked.first(), state.asked.last()), (Some(&0), Some(&5)));
                assert!(state.asked.is_sorted(), "{:?}", state.asked);
                let mut nonces = state.nonces.clone();
                nonces.sort();
                nonces.dedup();
                assert_eq!(nonces.len(), state.nonces.len());
                assert!(nonces.iter().all(|nonce| nonce.len() >= 32));
            }
            let events: Vec<_> = site.history(&uuid).await.iter().map(|event| event.to).collect();
            assert_eq!(events, [State::Provisioned, State::Attesting, State::Accepted]);
        }
    });
}

#[test]
fn a_reboot_is_an_event_with_its_blind_interval() {
    run(async {
        for protocol in PROTOCOLS {
            let site = Site::start().await;
            let agent = site.agent(Machine::perfect()).await;
            let uuid = site.add("neptune", &agent, protocol).await;
            let before = site.until(&uuid, State::Accepted).await;
            {
                // So long that the old place is in the middle of the new list.
                let mut state = agent.state();
                state.machine.reboot();
                for _ in 0..5 {
                    state.machine.run("/usr/bin/bash", b"bash");
                }
            }
            site.until_so(&uuid, "of another boot", |agent| agent.progress.boot != before.progress.boot).await;
            let stands = site.until(&uuid, State::Accepted).await;
            assert_eq!(stands.progress.entries, 6);
            let events = site.history(&uuid).await;
            let reboot = events.iter().find(|event| event.change.event == Event::NewBoot).unwrap();
            assert_eq!((reboot.from, reboot.to), (Some(State::Accepted), State::Attesting));
            let (from, until) = reboot.change.blind.unwrap();
            assert!(from <= until && Some(from) >= before.progress.attested_at && until == reboot.at);
            assert!(reboot.change.detail.contains("reset 1 to 2"), "{}", reboot.change.detail);
            assert_eq!(events.last().map(|event| event.to), Some(State::Accepted));
        }
    });
}

/// A list ahead of its quote is normal; one that stays ahead is not.
#[test]
fn a_quote_that_never_covers_what_was_shown() {
    run(async {
        let mut site = Site::stopped();
        site.config.poll.lagging_seconds = 3;
        site.restart().await;
        let agent = site.agent(Machine::perfect()).await;
        let ahead = Measurement::ng("/usr/bin/bash", b"bash");
        agent.state().machine.list.push(ahead.clone());
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Lagging).await;
        let first = site.history(&uuid).await.iter().find(|event| event.to == State::Accepted).cloned();
        assert!(first.is_some(), "it is accepted at first, as a list may be ahead");
        agent.state().machine.extend(&ahead);
        let caught_up = site.until(&uuid, State::Accepted).await;
        assert_eq!(caught_up.progress.entries, 4);
        agent.state().machine.list.push(Measurement::ng("/root/evil.sh", b"never extended"));
        site.until(&uuid, State::Lagging).await;
        let failed = site.until(&uuid, State::Failed).await;
        assert_eq!(failed.standing.reason, "lagging");
    });
}

/// Evil, polled all the same, is never accepted in this boot, whatever it shows then; in another it may be.
#[test]
fn a_rejection_sticks_to_its_boot() {
    run(async {
        let site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        sqlite(&site, "UPDATE agents SET keep_polling = 1, generation = generation + 1");
        agent.run("/root/evil.sh", b"#!/bin/sh");
        let failed = site.until(&uuid, State::Failed).await;
        assert!(failed.due.is_some());
        // The TPM forgets and the counters do not say so: as good as new, and still failed.
        {
            let mut state = agent.state();
            let mut fresh = Machine::perfect();
            std::mem::swap(&mut state.machine.tpm, &mut fresh.tpm);
            for _ in 0..1_000 {
                let _ = state.machine.quote();
            }
            state.machine.list = fresh.list;
        }
        for _ in 0..3 {
            let stands = site.next_poll(&uuid).await;
            assert_eq!(stands.standing.state, State::Failed);
        }
        assert!(site.look(&uuid).await.progress.entries == 3, "it was believed, and not accepted");
        agent.state().machine.reboot();
        site.until(&uuid, State::Accepted).await;
        let events = site.history(&uuid).await;
        assert_eq!(events.iter().filter(|event| event.to == State::Accepted).count(), 2);
    });
}

/// Somebody changes a machine while it is asked: the answer is dropped.
#[test]
fn a_report_of_what_was_changed_meanwhile_is_dropped() {
    run(async {
        let site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        agent.behave(Behaviour::Stall);
        let asked = agent.state().asked.len();
        while agent.state().asked.len() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let moved = site.store().reactivate(&Filter::uuid(&uuid), Mode::Do, Time::now(), "test").await.unwrap();
        assert_eq!(moved.len(), 1);
        agent.behave(Behaviour::Honest);
        site.until(&uuid, State::Accepted).await;
        let events = site.history(&uuid).await;
        assert!(events.iter().all(|event| event.to != State::Unreachable), "{events:?}");
    });
}

/// A name with ESC and a forged line comes escaped into what people read, and whole into what programs do.
#[test]
fn names_of_machines_forge_nothing() {
    run(async {
        let site = Site::start().await;
        let agent = site.agent(Machine::perfect()).await;
        let uuid = site.add("neptune", &agent, Protocol::Goldseal).await;
        site.until(&uuid, State::Accepted).await;
        let name = "/tmp/\u{1b}[2J\nagent neptune accepted";
        agent.run(name, b"evil");
        let failed = site.until(&uuid, State::Failed).await;
        assert!(failed.standing.detail.contains("/tmp/\\x1b[2J\\nagent neptune"), "{}", failed.standing.detail);
        let findings = site.store().findings(&uuid).await.unwrap();
        assert_eq!(findings[0].name.as_deref(), Some(name.as_bytes()));
        for text in [&findings[0].text, &failed.standing.detail] {
            assert!(!text.contains(['\u{1b}', '\n']), "{text:?}");
        }
        let groups = site.store().finding_groups(10).await.unwrap();
        assert_eq!((groups.len(), groups[0].machines, &groups[0].examples[..]), (1, 1, &[uuid][..]));
    });
}

/// The database is asked by another program.
fn sqlite(site: &Site, statement: &str) {
    let database = site.config.database();
    let mut command = std::process::Command::new("sqlite3");
    goldseal_tests::output_of(command.arg("-cmd").arg(".timeout 5000").arg(database).arg(statement));
}
