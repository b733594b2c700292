//! `sign --ssh-agent` against agents that lie; an honest one, OpenSSH's own, is in the scenarios.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Output;
use std::thread;

use goldseal_cli::public_key::read_public_key;
use goldseal_tools::key::file::read_seal_key;

use crate::world::{World, whitelist};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn question(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut question = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut question).unwrap();
    question
}

/// Signs through an agent that says it holds the key of alice, and answers with whatever `signature` makes.
fn signed_by(world: &World, signature: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static) -> Output {
    let spki = read_public_key(&world.path("alice.pub")).unwrap();
    let key = [string(b"ssh-ed25519"), string(&spki[12..])].concat();
    let keys = [&[12, 0, 0, 0, 1][..], &string(&key), &string(b"alice@example")].concat();
    let socket = world.path("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert_eq!(question(&mut stream), [11], "it asks for the keys");
        stream.write_all(&string(&keys)).unwrap();
        let question = question(&mut stream);
        // Number, key, message, flags.
        let message = &question[1 + 4 + key.len() + 4..question.len() - 4];
        let signature = signature(message);
        stream.write_all(&string(&[&[14][..], &string(&signature)].concat())).unwrap();
    });
    let output = world.command("sign list --ssh-agent alice.pub").env("SSH_AUTH_SOCK", &socket).output().unwrap();
    agent.join().unwrap();
    std::fs::remove_file(&socket).unwrap();
    output
}

/// Makes the signature of an answer of the bytes to sign.
type Liar = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

#[test]
fn only_the_right_signature_of_the_key_asked_for_is_put_on_the_list() {
    let world = World::new();
    let unsealed = world.sealed(whitelist(), &[]);
    world.write("list", &unsealed);
    let by = |name: &str| {
        let key = read_seal_key(&world.path(&format!("{name}.key")), || panic!("not encrypted")).unwrap();
        move |message: &[u8]| [string(b"ssh-ed25519"), string(&key.sign(message))].concat()
    };
    let bob = by("bob");
    let alice = by("alice");
    let liars: [Liar; 3] = [
        Box::new(bob),
        Box::new(move |_: &[u8]| alice(b"another message")),
        Box::new(|_: &[u8]| [string(b"ssh-ed25519"), string(&[0; 64])].concat()),
    ];
    for liar in liars {
        let output = signed_by(&world, liar);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert!(message.contains("a signature that is not of this key over these bytes"), "{message}");
        assert_eq!(world.read("list"), unsealed);
    }
    let output = signed_by(&world, by("alice"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.read("list"), world.sealed(whitelist(), &["alice"]));
}

#[test]
fn without_an_agent_nothing_is_signed() {
    let world = World::new();
    world.write("list", world.sealed(whitelist(), &[]));
    for (socket, words) in [("", "$SSH_AUTH_SOCK is not set"), ("missing", "cannot be reached: no such file")] {
        let output = world.command("sign list --ssh-agent alice.pub --json").env("SSH_AUTH_SOCK", socket).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains(words));
        assert!(String::from_utf8_lossy(&output.stdout).contains(r#""reason":"agent""#));
    }
    assert_eq!(world.read("list"), world.sealed(whitelist(), &[]));
}
