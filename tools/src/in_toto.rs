//! A list as an in-toto Statement (version 1): what it is, what it was made from, and who sealed it.
//!
//! Promises: the same list gives the same bytes. Does not promise that anybody vouches for them: a statement is what an
//! envelope of the pipeline carries, signed with the pipeline's own key (docs/export.md).

use base64ct::{Base64, Encoding};
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::header::Section;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::list::UnverifiedList;
use goldseal_verifier_core::provenance::{Fact, InputKind};
use goldseal_verifier_core::trust::AuthenticHeader;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// `_type` of a statement (the specification's Statement, version 1).
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// What the predicate is: docs/export.md describes it. A TypeURI is any URI and need not resolve.
const PREDICATE: &str = "urn:goldseal:whitelist-provenance:v1";

/// The statement about a list; `checked` is its seal, where that was held to trusted keys.
pub fn statement(list: &UnverifiedList, checked: Option<&AuthenticHeader>) -> Value {
    let (header, contents, head) = (list.header(), list.contents(), list.envelope());
    let facts = contents.provenance().as_slice();
    let inputs = |with_digest: bool| -> Value { facts.iter().filter_map(|fact| input(fact, with_digest)).collect() };
    let sections = Section::ALL.into_iter().zip(&header.sections).map(|(section, seal)| {
        (section.name().to_owned(), json!({ "length": seal.len, "digest": digest_set(&seal.sha256) }))
    });
    let signers = head.signatures().iter().map(|line| {
        let holds = checked.is_some_and(|seal| seal.signers().iter().any(|signer| signer.key_id == line.key_id()));
        json!({ "keyid": line.key_id().to_string(), "algorithm": line.algorithm(), "verified": holds })
    });
    json!({
        "_type": STATEMENT,
        "subject": [{ "name": header.name.as_str(), "digest": { "sha256": file_sha256(list) } }],
        "predicateType": PREDICATE,
        "predicate": {
            "list": {
                "name": header.name.as_str(),
                "version": header.version.number(),
                "created": header.created.to_string(),
                "expires": header.expires.to_string(),
                "fileHash": header.file_hash.algorithms().iter().map(|hash| hash.name()).collect::<Value>(),
                "identity": digest_set(&head.identity().digest()),
                "sections": sections.collect::<Map<String, Value>>(),
            },
            "resolvedDependencies": inputs(true),
            "otherInputs": inputs(false),
            "entries": contents.entry_count(),
            "excludes": contents.excludes().patterns().len(),
            "rules": contents.rules().as_slice().len(),
            "gaps": facts.iter().filter(|fact| matches!(fact, Fact::Gap { .. })).count(),
            "signers": signers.collect::<Value>(),
        },
    })
}

/// An input as a ResourceDescriptor, or, without a digest, in the same shape, which is none then.
fn input(fact: &Fact, with_digest: bool) -> Option<Value> {
    let Fact::Input { kind, sha256, files, bytes, name } = fact else { return None };
    if sha256.is_some() != with_digest {
        return None;
    }
    let mut annotations = Map::new();
    annotations.insert("kind".into(), json!(kind.name()));
    annotations.insert("files".into(), json!(files));
    annotations.insert("bytes".into(), json!(bytes));
    if std::str::from_utf8(name).is_err() {
        annotations.insert("nameBase64".into(), Base64::encode_string(name).into());
    }
    let mut descriptor = Map::new();
    descriptor.insert("name".into(), String::from_utf8_lossy(name).into());
    if let Some(sha256) = sha256 {
        // Of a list it is the identity, which signatures do not change; of anything else, the file's.
        let of = if matches!(kind, InputKind::List | InputKind::SealedList) { "identity" } else { "file" };
        annotations.insert("digestOf".into(), json!(of));
        descriptor.insert("digest".into(), digest_set(sha256));
    }
    descriptor.insert("annotations".into(), Value::Object(annotations));
    Some(Value::Object(descriptor))
}

fn digest_set(digest: &Digest) -> Value {
    json!({ digest.algorithm().name(): digest.to_string() })
}

/// SHA-256 of the file as it was read: a list has one encoding.
fn file_sha256(list: &UnverifiedList) -> String {
    let sum = Sha256::new().chain_update(list.envelope().print()).chain_update(list.contents().body()).finalize();
    hex::encode(&sum)
}
