//! The own route, `GET /v1/evidence` (docs/agent-protocol.md): a quote, then the binary list as it is.

use goldseal_verifier_core::digest::HashAlgorithm;
use goldseal_verifier_core::evidence::Head;
use goldseal_verifier_core::hex;
use goldseal_verifier_core::pcr::PCR_COUNT;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::body::Body;
use super::query::{Query, decimal};
use super::refusal::Refusal;
use super::{Service, keylime};
use crate::tpm::QuoteRequest;

/// The longest nonce in bytes: TPM2B_DATA of a TPM with SHA-512 (TPM Part 2, 10.4). A TPM may take less, and says so.
const MAX_NONCE: usize = 66;

/// The PCRs that goldseal quotes.
const DEFAULT_PCRS: std::ops::RangeInclusive<u8> = 0..=10;

pub(super) async fn evidence(service: &Service, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let (request, from) = parse(query, &service.sources.banks).map_err(Refusal::bad_request)?;
    let algorithms = keylime::algorithms(service).await?;
    let quote = service.sources.tpm.quote(request).await?;
    let list = service.sources.binary.from(from).await?;
    let head = Head {
        attest: quote.attest,
        signature: quote.signature,
        pcr_blob: quote.pcr_blob,
        claimed_first_entry: list.first(),
        claimed_order: list.byte_order(),
        claimed_ak: algorithms.ak.clone(),
    };
    let mut answer = Response::new(Body::exact(head.print(), list));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(answer)
}

/// What to quote, and the first entry.
fn parse(query: &Query<'_>, banks: &[HashAlgorithm]) -> Result<(QuoteRequest, u64), String> {
    query.only(&["nonce", "from", "pcrs"])?;
    let digits = query.need("nonce")?;
    let mut nonce = vec![0; digits.len() / 2];
    if nonce.is_empty() || nonce.len() > MAX_NONCE || hex::decode_lower(digits.as_bytes(), &mut nonce).is_none() {
        return Err(format!("nonce must be lower-case hex of 1 to {MAX_NONCE} bytes"));
    }
    let from = match query.get("from")? {
        None => 0,
        Some(from) => decimal(from).ok_or("from must be a decimal number")?,
    };
    let (banks, pcrs) = match query.get("pcrs")? {
        None => (banks.to_vec(), DEFAULT_PCRS.collect()),
        Some(pcrs) => selection(pcrs).ok_or("pcrs must be banks with the same PCRs each, such as sha256:0,10")?,
    };
    Ok((QuoteRequest { banks, pcrs, nonce, bind: None }, from))
}

/// As tpm2-tools write it, `sha256:0,1,10`; several banks with `+` between, and the same PCRs in each.
fn selection(text: &str) -> Option<(Vec<HashAlgorithm>, Vec<u8>)> {
    let (mut banks, mut all) = (Vec::new(), None);
    for part in text.split('+') {
        let (bank, list) = part.split_once(':')?;
        let bank = HashAlgorithm::from_name(bank.as_bytes())?;
        if banks.contains(&bank) || all.is_some_and(|all| all != list) {
            return None;
        }
        banks.push(bank);
        all = Some(list);
    }
    let mut pcrs = Vec::new();
    for pcr in all?.split(',') {
        let pcr = u8::try_from(decimal(pcr)?).ok().filter(|pcr| *pcr < PCR_COUNT && !pcrs.contains(pcr))?;
        pcrs.push(pcr);
    }
    Some((banks, pcrs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: HashAlgorithm = HashAlgorithm::Sha256;

    fn parsed(query: &str) -> Result<(QuoteRequest, u64), String> {
        parse(&Query::parse(Some(query)), &[SHA256])
    }

    #[test]
    fn parameters_have_one_spelling() {
        let (request, from) = parsed("nonce=00ff").unwrap();
        assert_eq!((request.banks, request.pcrs, from), (vec![SHA256], (0..=10).collect(), 0));
        assert_eq!((request.nonce, request.bind), (vec![0, 0xff], None));
        let (request, from) = parsed("from=7&nonce=00&pcrs=sha1:10,0+sha256:10,0").unwrap();
        assert_eq!((request.banks, request.pcrs, from), (vec![HashAlgorithm::Sha1, SHA256], vec![10, 0], 7));
        assert!(parsed(&format!("nonce={}", "00".repeat(66))).is_ok());
        assert_eq!(parse(&Query::parse(Some("nonce=00")), &[]).unwrap().0.banks, []);
    }

    #[test]
    fn each_parameter_is_refused_with_its_words() {
        let nonce = "nonce must be lower-case hex of 1 to 66 bytes";
        let long = "00".repeat(67);
        for bad in ["", "0", "000", "0G", "0A", "%30%30", "0x00", long.as_str()] {
            assert_eq!(parsed(&format!("nonce={bad}")).unwrap_err(), nonce, "{bad}");
        }
        for bad in ["", "-1", "01", "1.0", "a", "18446744073709551616"] {
            assert_eq!(parsed(&format!("nonce=00&from={bad}")).unwrap_err(), "from must be a decimal number", "{bad}");
        }
        let pcrs = "pcrs must be banks with the same PCRs each, such as sha256:0,10";
        let bad = [
            "",
            "10",
            "sha256",
            "sha256:",
            "sha256:,",
            "sha256:24",
            "sha256:0,0",
            "sha256:00",
            "sha256:-1",
            "sha3:0",
            "SHA256:0",
            "sha256:0+",
            "sha256:0+sha256:0",
            "sha256:0+sha1:1",
            "sha256:0 ",
            "sha256%3a0",
        ];
        for bad in bad {
            assert_eq!(parsed(&format!("nonce=00&pcrs={bad}")).unwrap_err(), pcrs, "{bad}");
        }
        assert_eq!(parsed("").unwrap_err(), "nonce is missing");
        for name in ["nonce", "from", "pcrs"] {
            let twice = format!("nonce=00&{name}=0&{name}=0");
            assert_eq!(parsed(&twice).unwrap_err(), format!("{name} stands there twice"));
        }
        let unknown = "there is no parameter mask; known: nonce, from, pcrs";
        assert_eq!(parsed("nonce=00&mask=0x400").unwrap_err(), unknown);
    }
}
