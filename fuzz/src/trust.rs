//! Trust roots and the state that follows them.

use goldseal_verifier_core::envelope::pae;
use goldseal_verifier_core::header::SectionSeal;
use goldseal_verifier_core::root::{ROOT_ROLE, RoleName, Statements, TRUST_ROOT_TYPE, UnverifiedRoot};
use goldseal_verifier_core::trust::TrustState;

/// A whole root, and the section of one: what is accepted has one encoding, and makes sense.
pub fn root(data: &[u8]) {
    if let Ok(statements) = Statements::parse(data) {
        assert_eq!(statements.print(), data);
        assert_eq!(statements.check(), Ok(()));
        for role in statements.role_statements() {
            assert!((1..=statements.owners_of(&role.name)).contains(&role.threshold));
        }
        assert!(statements.owners_of(&RoleName::new(ROOT_ROLE).expect("a name")) > 0);
    }
    for file in [data, &file_of(data)] {
        if let Ok(root) = UnverifiedRoot::parse(file) {
            assert_eq!([&root.envelope().print(), root.section()].concat(), file);
            assert_eq!(root.header().print(), root.envelope().claimed_payload());
            let made =
                UnverifiedRoot::new(root.header().clone(), root.statements()).expect("what was read can be made");
            assert_eq!(made.envelope().signed_bytes(), root.envelope().signed_bytes());
        }
    }
}

/// A state: what is accepted has one encoding.
pub fn state(data: &[u8]) {
    if let Ok(state) = TrustState::parse(data) {
        assert_eq!(state.print(), data);
        for (name, seen) in state.lists() {
            assert_eq!(state.seen(name).as_ref(), Some(seen));
        }
    }
}

pub(crate) fn root_seeds() -> Vec<Vec<u8>> {
    vec![SECTION.to_vec(), file_of(SECTION)]
}

/// An unsealed root with this section.
fn file_of(section: &[u8]) -> Vec<u8> {
    let SectionSeal { len, sha256 } = SectionSeal::of(section);
    let payload = format!(
        "\nformat: 1\nname: fuzz\nversion: 1\ncreated: 2026-11-23T16:00:00Z\nexpires: never\n\
         section: keys {len} sha256:{sha256}\n"
    );
    [&pae(TRUST_ROOT_TYPE, payload.as_bytes())[..], b"\n", section].concat()
}

/// Its key is that of RFC 8032, section 7.1, test 1.
const SECTION: &[u8] = b"floor web 5\n\
    key 06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9 ed25519 \
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= alice a@example.com list,root \
    2026-01-01T00:00:00Z never active\n\
    reset web 7\n\
    revoke-list 27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a\n\
    role list prod-* 1\n\
    role list web 1\n\
    role root - 1\n";

pub(crate) const STATE: &[u8] = b"goldseal-state 1\n\
    bound 2026-05-01T00:00:00Z\n\
    root 3 27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a\n\
    list db 1 -\n\
    list web 10 2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// Else mutations of them would only ever see refusals.
    #[test]
    fn the_seeds_are_good() {
        let root = UnverifiedRoot::parse(&file_of(SECTION)).expect("a good root");
        assert_eq!(root.statements().keys.len(), 1);
        assert_eq!(TrustState::parse(STATE).expect("a good state").lists().count(), 2);
    }
}
