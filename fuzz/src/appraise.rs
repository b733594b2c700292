//! The judgement of lists that a machine could send with an honest quote.

use std::sync::OnceLock;

use goldseal_tests::forge::machine::{Machine, appraise as judge};
use goldseal_tests::forge::measurements::Measurement;
use goldseal_verifier_core::appraise::{Appraiser, Counts, Trier, Verdict};
use goldseal_verifier_core::ima::entry::{Entry, TemplateData};
use goldseal_verifier_core::ima::list::{Limits, MeasurementList};
use goldseal_verifier_core::list::{UnverifiedList, inspect};
use goldseal_verifier_core::tpm::QuotedPcrs;

/// A machine whose list is accepted, and the quote that confirms it.
struct World {
    list: Vec<u8>,
    quoted: QuotedPcrs,
    appraiser: Appraiser,
    draft: UnverifiedList,
}

/// A trial counts every entry once; and with the quote of one machine no other list is accepted than its own, whatever is
/// changed, left out or put in.
pub fn appraise(data: &[u8]) {
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(world);
    let Ok(list) = MeasurementList::parse(data, &Limits::DEFAULT) else { return };
    let trial = Trier::new(world.draft.contents()).try_list(&list);
    let first = list.entries().find(|entry| entry.claimed_pcr() == 10);
    let twice = u64::from(first.is_some_and(|entry| entry.is_violation()));
    assert_eq!(sum(&trial.counts), list.len() as u64 + twice);

    let Ok(result) = judge(&world.appraiser, data, world.quoted.clone()) else { return };
    assert_eq!(result.verdict() == Verdict::Accepted, result.checkpoint().is_some());
    assert_eq!(result.verdict() == Verdict::Accepted, result.findings().is_empty());
    if result.verdict() == Verdict::Accepted {
        let own = MeasurementList::parse(&world.list, &Limits::DEFAULT).expect("a machine's list");
        assert_eq!(result.entries(), own.len() as u64);
        assert!(own.entries().map(said).eq(list.entries().map(said).take(own.len())));
    }
}

/// What an entry says; of a violation nothing is covered.
fn said(entry: Entry<'_>) -> (u8, Option<(&[u8], TemplateData<'_>)>) {
    let contents = (entry.claimed_template(), entry.template_data());
    (entry.claimed_pcr(), (!entry.is_violation()).then_some(contents))
}

fn sum(counts: &Counts) -> u64 {
    let allowed = counts.good + counts.signed + counts.excluded + counts.boot_aggregate + counts.buffers;
    let files = counts.not_in_whitelist + counts.digest_differs + counts.malformed + counts.unquoted;
    allowed + counts.ignored + counts.violations + files + counts.bad_boot_aggregate + counts.bad_buffers
}

fn machine() -> Machine {
    let mut machine = Machine::perfect();
    machine.golden.rule("violation report").rule("ignore-keyring .ima").excludes("/var/log");
    machine.measure(Measurement::sig("/usr/bin/bash", b"bash", b""));
    machine.measure(Measurement::buffer(".ima", b"a key"));
    machine.measure(Measurement::violation("/usr/bin/bash"));
    machine.measure(Measurement::ngv2("ima", "/var/log/x", b"x"));
    machine
}

fn world() -> World {
    let mut machine = machine();
    let quoted = machine.quoted();
    let draft = inspect(machine.golden.sealed()).expect("a list");
    let world = World { list: machine.bytes(), quoted, appraiser: machine.golden.appraiser(), draft };
    let result = judge(&world.appraiser, &world.list, world.quoted.clone()).expect("a machine to believe");
    assert_eq!(result.verdict(), Verdict::Accepted);
    world
}

/// Its own list, one that goes on, and one of things that are not allowed.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut machine = machine();
    let own = machine.bytes();
    machine.run("/root/evil.sh", b"evil");
    machine.measure(Measurement::legacy("/usr/bin/bash", b"bash"));
    machine.measure(Measurement::ng("boot_aggregate", b"").in_pcr(11));
    vec![own.clone(), machine.bytes(), machine.bytes()[own.len()..].to_vec()]
}
