//! Chains of roots as files, walked by the program, with and without a state.

use std::process::Command;

use goldseal_tests::forge::{Forge, RootDraft, name, time, version};
use goldseal_tests::{Run, World, words};
use goldseal_verifier_core::header::{Expiry, MAX_VERSION};
use goldseal_verifier_core::root::KeyStatus;

/// Who signs roots, unless a test says otherwise.
const BOTH: &[&str] = &["alice", "bob"];

/// A folder with roots `r1` to `r3`, each as the one before but for its version, and `list` version 10.
struct Chain {
    folder: World,
    forge: Forge,
}

impl Chain {
    fn new() -> Self {
        let forge = Forge::new();
        let chain = Self { folder: World::new(), forge: forge.clone() };
        let mut walking = forge.clone();
        for file in ["r1", "r2", "r3"] {
            chain.folder.file(file, walking.sealed_root(BOTH));
            walking.rotate();
        }
        chain.folder.file("list", forge.list_at(10));
        chain
    }

    /// Writes a root of this version after a change.
    fn root(&self, file: &str, number: u64, holders: &[&str], change: impl FnOnce(&mut RootDraft)) {
        let mut root = self.forge.root.clone();
        root.version = version(number);
        change(&mut root);
        self.folder.file(file, root.file(holders));
    }

    fn list(&self, file: &str, number: u64) {
        self.folder.file(file, self.forge.list_at(number));
    }

    fn run(&self, arguments: &str) -> Run {
        self.folder.goldseal(arguments)
    }

    /// `verify LIST` by these roots, in order.
    fn verify(&self, list: &str, roots: &[&str]) -> Run {
        let roots: Vec<String> = roots.iter().map(|root| format!("--trust-root {root}")).collect();
        self.run(&format!("verify {list} {}", roots.join(" ")))
    }

    /// The same with the state `state`.
    fn remember(&self, list: &str, roots: &[&str]) -> Run {
        let roots: Vec<String> = roots.iter().map(|root| format!("--trust-root {root}")).collect();
        self.run(&format!("verify {list} --state state {}", roots.join(" ")))
    }

    fn state(&self) -> String {
        std::fs::read_to_string(self.folder.path("state/state")).unwrap().split("\n\n").next().unwrap().to_owned()
    }
}

#[test]
fn a_chain_of_three() {
    let chain = Chain::new();
    let follows = |run: Run, number: &str| {
        let run = run.exits(0);
        let text = String::from_utf8_lossy(run.stdout()).into_owned();
        assert!(text.contains(&format!("trust root site version {number} ")), "{text}");
    };
    follows(chain.verify("list", &["r1", "r2", "r3"]), "3");
    chain.run("state init state").exits(0);
    follows(chain.remember("list", &["r1", "r2", "r3"]), "3");
    // It goes on from where it is, whether the way there is given again or not.
    follows(chain.remember("list", &[]), "3");
    follows(chain.remember("list", &["r1", "r2", "r3"]), "3");
    chain.root("r4", 4, BOTH, |_| {});
    follows(chain.remember("list", &["r4"]), "4");
}

#[test]
fn no_version_is_passed_over() {
    let chain = Chain::new();
    chain.verify("list", &["r1", "r3"]).exits(3).says("its version is 3, and that before it is 1");
    chain.run("state init state").exits(0);
    chain.remember("list", &["r1"]).exits(0);
    let before = chain.state();
    chain.remember("list", &["r3"]).exits(3).says("its version is 3, and that before it is 1");
    assert_eq!(chain.state(), before);
}

#[test]
fn one_version_twice() {
    let chain = Chain::new();
    chain.verify("list", &["r1", "r2", "r2"]).exits(3).says("its version is 2, and that before it is 2");
    chain.root("other", 2, BOTH, |root| root.expires = Expiry::At(time("2999-01-01T00:00:00Z")));
    chain.run("state init state").exits(0);
    chain.remember("list", &["r1", "r2", "r2"]).exits(0);
    let before = chain.state();
    chain.remember("list", &["other"]).exits(1).says("somebody signed two roots as one");
    chain.remember("list", &["r1", "other"]).exits(1).says("somebody signed two roots as one");
    assert_eq!(chain.state(), before);
}

#[test]
fn an_older_root_is_not_gone_back_to() {
    let chain = Chain::new();
    chain.run("state init state").exits(0);
    chain.remember("list", &["r1", "r2"]).exits(0);
    chain.remember("list", &["r1"]).exits(1).says("it follows version 2 of the trust root");
    chain.run("verify list --state state --trust-root r1 --json").exits(1).says("get the newest trust root");
    assert!(chain.state().contains("\nroot 2 "), "{}", chain.state());
}

#[test]
fn thresholds_of_both_roots() {
    let chain = Chain::new();
    chain.root("few", 2, &["alice"], |_| {});
    chain.verify("list", &["r1", "few"]).exits(3).says("by the root before it, role root: 1 of 2, missing: bob, carol");
    let heir = |root: &mut RootDraft| {
        root.statements.insert_key(goldseal_tests::forge::key("heidi", &["root"]));
        root.threshold("root", None, 3);
    };
    chain.root("old", 2, BOTH, heir);
    chain.verify("list", &["r1", "old"]).exits(3).says("by itself, role root: 2 of 3, missing: carol, heidi");
    chain.root("new", 2, &["alice", "heidi", "stranger"], heir);
    chain.verify("list", &["r1", "new"]).exits(3).says("by the root before it, role root: 1 of 2");
    chain.root("all", 2, &["alice", "bob", "heidi"], heir);
    chain.verify("list", &["r1", "all"]).exits(0);
}

#[test]
fn a_root_of_another_name() {
    let chain = Chain::new();
    chain.root("other", 2, BOTH, |root| root.name = name("other"));
    chain.verify("list", &["r1", "other"]).exits(3).says("its name is other, and that before it is site");
}

/// A root on the way may be past its expiry. If the last one is, that is told: exit 4.
#[test]
fn expired_roots_lead_on_and_a_stale_last_one_is_told() {
    let chain = Chain::new();
    let long_past = |root: &mut RootDraft| root.expires = Expiry::At(time("2020-06-01T00:00:00Z"));
    chain.root("past1", 1, BOTH, long_past);
    chain.root("past2", 2, BOTH, long_past);
    chain.verify("list", &["past1", "past2", "r3"]).exits(0);
    chain.verify("list", &["past1", "past2"]).exits(4).says("the trust root is past its expiry");
}

/// Somebody with stolen keys has raised a list to the last version there is, and no honest one could follow. The next
/// root takes the key back, revokes that list, and resets the floor, once.
#[test]
fn a_stolen_key_is_recovered_from() {
    let mut chain = Chain::new();
    chain.run("state init state").exits(0);
    chain.remember("list", &["r1"]).exits(0);
    chain.forge.list.version = version(MAX_VERSION);
    let stolen = chain.forge.sealed(&["dave", "erin"]);
    chain.folder.file("stolen", goldseal_tests::forge::file_of(&stolen));
    chain.remember("stolen", &[]).exits(0);
    chain.list("next", 11);
    chain.remember("next", &[]).exits(1).says("below 999999999999999");

    let identity = stolen.envelope().identity();
    chain.root("recovery", 2, BOTH, |root| {
        root.key("erin").status = KeyStatus::Revoked;
        root.statements.insert_key(goldseal_tests::forge::key("heidi", &["list"]));
        root.statements.revoked_lists.insert(identity);
        root.statements.resets.insert(name("web"), version(10));
    });
    chain.remember("stolen", &["recovery"]).exits(1).says("role list: 1 of 2");
    assert!(chain.state().ends_with("\nlist web 10 -"), "{}", chain.state());
    chain.forge.list.version = version(11);
    chain.folder.file("next", chain.forge.sealed_list(&["dave", "heidi"]));
    chain.remember("next", &["recovery"]).exits(0);
    // With the same root once more nothing sinks again.
    chain.forge.list.version = version(10);
    chain.folder.file("ten", chain.forge.sealed_list(&["dave", "heidi"]));
    chain.remember("ten", &["r1", "recovery"]).exits(1).says("its version is 10, below 11");
    // Nor does the stolen list come back with signers that count.
    chain.forge.list.version = version(MAX_VERSION);
    chain.folder.file("again", chain.forge.sealed_list(&["dave", "heidi"]));
    chain.remember("again", &[]).exits(1).says("the trust root revokes this very list");
}

/// A machine that has seen nothing takes no list from before the floor in its first root.
#[test]
fn floors_protect_a_new_machine() {
    let chain = Chain::new();
    chain.root("floor", 1, BOTH, |root| {
        root.statements.floors.insert(name("web"), version(12));
    });
    chain.verify("list", &["floor"]).exits(1).says("its version is 10, below 12");
    chain.run("state init state").exits(0);
    chain.remember("list", &["floor"]).exits(1).says("its version is 10, below 12");
    chain.list("twelve", 12);
    chain.remember("twelve", &["floor"]).exits(0);
}

/// Keys are not taken where a root was followed: whoever can change the command line cannot fall back to them.
#[test]
fn keys_alone_do_not_replace_a_root() {
    let chain = Chain::new();
    chain.run("state init state").exits(0);
    chain.remember("list", &["r1"]).exits(0);
    let spki = goldseal_tests::forge::public_key("dave").spki_der();
    chain.folder.file("dave.der", spki);
    let mut openssl = Command::new("openssl");
    openssl.args(words("pkey -pubin -inform DER -in dave.der -out dave.pub")).current_dir(chain.folder.path(""));
    goldseal_tests::output_of(&mut openssl);
    chain.run("verify list --trust dave.pub").exits(0);
    chain.run("verify list --trust dave.pub --state state").exits(3).says("it follows a trust root, and keys alone");
}
