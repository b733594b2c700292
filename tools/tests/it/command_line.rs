//! A wrong command line, as a terminal gets it.

use crate::world::World;

#[test]
fn what_was_typed_cannot_drive_the_terminal() {
    let output = World::new().command("sh\u{1b}[2Jow\u{7}").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("unrecognized subcommand"), "{message}");
    assert!(!message.contains(['\u{1b}', '\u{7}']), "{message:?}");
}

/// Two lines, of which the second helps; one object, which names only a command there is.
#[test]
fn a_wrong_command_line_is_told_as_every_failure() {
    let world = World::new();
    for (typed, command, what, todo) in [
        ("verfy", "", "unrecognized subcommand 'verfy'", "a similar subcommand exists: 'verify'"),
        (
            "build",
            "build",
            "the following required arguments were not provided: --output <FILE>",
            "see goldseal build --help",
        ),
        (
            "show --entries --rules list",
            "show",
            "the argument '--entries' cannot be used with '--rules'",
            "see goldseal show --help",
        ),
    ] {
        let output = world.command(typed).output().unwrap();
        let name = if command.is_empty() { String::new() } else { format!(" {command}") };
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with(&format!("goldseal{name}: {what}")), "{message}");
        assert!(message.ends_with(&format!("\n  {todo}\n")) && message.lines().count() == 2, "{message}");
        let output = world.command(&format!("{typed} --json")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&object["command"], &object["reason"]), (&command.into(), &"usage".into()));
    }
}
