//! `./demo`, which shows the whole loop with the real programs: sealed list, agent, service, tenant, and a machine caught.

use std::process::{Command, Stdio};

use goldseal_tests::{output_of, target_folder};

use crate::walls::root;

#[test]
fn the_demo_catches_a_machine() {
    let mut demo = Command::new("./demo");
    demo.current_dir(root()).env("CARGO_TARGET_DIR", target_folder()).stdin(Stdio::null());
    let said = String::from_utf8(output_of(&mut demo)).unwrap();
    let steps = [
        "neptune: accepted",
        "Checking IMA measurement list…",
        "File not found in whitelist: /root/evil_script.sh",
        "IMA ERRORS: template-hash 0 fnf 1 hash 0 good 3",
        "agent neptune failed, stopping polling",
        "neptune: failed",
        "not-in-whitelist  /root/evil_script.sh",
    ];
    let mut rest = said.as_str();
    for step in steps {
        let (_, after) =
            rest.split_once(step).unwrap_or_else(|| panic!("{step} is missing, or not in its place:\n{said}"));
        rest = after;
    }
}
