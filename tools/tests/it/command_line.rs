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
