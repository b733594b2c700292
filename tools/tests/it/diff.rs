//! `diff`: what a transcript cannot hold.

use std::process::Stdio;

use crate::world::{World, next_whitelist, whitelist};

/// The other end of `| head` goes away after a line.
#[test]
fn a_closed_pipe_is_no_panic() {
    let world = World::new();
    world.write("old.whitelist", world.sealed(whitelist(), &[]));
    world.write("new.whitelist", world.sealed(next_whitelist(), &[]));
    for command in ["diff old.whitelist new.whitelist", "export old.whitelist --format flat"] {
        let mut child = world.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!message.contains("panicked"), "{command}: {message}");
        assert!(output.status.code().is_some(), "{command}");
    }
}

/// What is shown can be believed in both directions: old and new swapped, added is removed.
#[test]
fn the_other_way_about() {
    let world = World::new();
    world.write("old.whitelist", world.sealed(whitelist(), &["alice"]));
    world.write("new.whitelist", world.sealed(next_whitelist(), &["bob"]));
    let text = |arguments: &str| String::from_utf8(world.run(arguments).stdout).unwrap();
    let there = text("diff old.whitelist new.whitelist --paths");
    let back = text("diff new.whitelist old.whitelist --paths");
    for (there, back, line) in [
        (&there, &back, "rule violation report"),
        (&there, &back, "exclude /opt"),
        (&back, &there, "exclude /var/log"),
        (&there, &back, "/usr/lib/three"),
    ] {
        assert!(there.contains(&format!("+ {line}")) && back.contains(&format!("- {line}")), "{there}{back}");
    }
}
