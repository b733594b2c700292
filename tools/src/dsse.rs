//! A list's head as a DSSE envelope in JSON, with the signatures that it has.
//!
//! What is signed in a list is the pre-authentication encoding of exactly this type and payload (docs/format.md, Head),
//! so that the same signatures hold in both forms. Does not promise that any of them is right, and has no section: the
//! payload carries their lengths and digests.

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::envelope::Envelope;
use serde_json::{Value, json};

/// The envelope as the DSSE protocol, version 1, has it; signature lines of any algorithm, in their order.
pub fn envelope(head: &Envelope) -> Value {
    let signatures = head
        .signatures()
        .iter()
        .map(|line| json!({ "keyid": line.key_id().to_string(), "sig": Base64::encode_string(line.value()) }));
    json!({
        "payloadType": head.claimed_type(),
        "payload": Base64::encode_string(head.claimed_payload()),
        "signatures": signatures.collect::<Value>(),
    })
}
