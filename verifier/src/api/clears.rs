//! What would lead a machine back to `accepted`, by how it stands and what was found there.

use goldseal_cli::printable::Printable;

use crate::state::State;
use crate::store::{Agent, FindingRecord};

/// Most findings that get an advice of their own: what a person reads.
const ADVISED: usize = 10;

/// Advice, in order; names in it are escaped.
pub(super) fn clears(agent: &Agent, findings: &[FindingRecord]) -> Vec<String> {
    let uuid = &agent.uuid;
    let address = agent.provision.as_ref().map(|provision| provision.address.as_str()).unwrap_or_default();
    match agent.standing.state {
        State::Accepted => Vec::new(),
        State::Registered => {
            vec![format!("have it polled: goldseal tenant add -t ADDRESS --uuid {uuid} --policy FILE")]
        }
        State::Provisioned => vec!["start its agent with the address of this service's registrar".to_owned()],
        State::Attesting => vec!["nothing: the first verdict is awaited".to_owned()],
        State::StalePolicy => vec![format!(
            "seal the next version of its list with a later expiry: goldseal tenant update --uuid {uuid} --policy FILE"
        )],
        State::Lagging => vec!["nothing: the next quote has to cover what its measurement list showed".to_owned()],
        State::Unreachable => vec![
            format!("see that its agent runs and answers at {}", Printable(address.as_bytes())),
            "at another address: delete it, and add it again".to_owned(),
        ],
        State::NoPolicy => vec![format!(
            "its list no longer verifies: goldseal tenant update --uuid {uuid} --policy FILE with one that does"
        )],
        State::Failed => failed(agent, findings),
    }
}

fn failed(agent: &Agent, findings: &[FindingRecord]) -> Vec<String> {
    let uuid = &agent.uuid;
    let mut advice: Vec<String> = Vec::new();
    for finding in findings {
        let text = advice_for(finding);
        if !advice.contains(&text) && advice.len() < ADVISED {
            advice.push(text);
        }
    }
    if findings.is_empty() {
        advice.push(format!(
            "what it answered cannot be believed ({}): find out why before it is asked again",
            Printable(agent.standing.reason.as_bytes())
        ));
    }
    advice.push(
        "the kernel's list keeps every entry until the next boot: a machine that is mended by removing files is rebooted"
            .to_owned(),
    );
    advice.push(format!(
        "with a new list: goldseal tenant update --uuid {uuid} --policy FILE; with the old one: goldseal tenant \
         reactivate --uuid {uuid}"
    ));
    advice
}

fn advice_for(finding: &FindingRecord) -> String {
    let name = Printable(finding.name.as_deref().unwrap_or_default());
    let found = Printable(finding.found.as_deref().unwrap_or("what was measured").as_bytes()).to_string();
    match finding.word.as_str() {
        "not-in-whitelist" => {
            format!("if {name} belongs there, seal a list with {found}; if not, find out what ran it")
        }
        "digest-differs" => {
            format!("if {name} was updated to {found}, seal a list with it; if not, find out who changed it")
        }
        "violation" => {
            "see which program writes to a file while it runs, or admit it: a rule `violation report`".to_owned()
        }
        _ => {
            format!("{}: explain it with `goldseal explain`, or admit it by a rule of the list", escaped(&finding.text))
        }
    }
}

/// It was escaped when it was stored; a database is nobody's promise.
fn escaped(text: &str) -> String {
    goldseal_cli::printable::PrintableLine(text.as_bytes()).to_string()
}
