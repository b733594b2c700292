//! Routes about machines.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64ct::{Base64, Encoding};
use goldseal_cli::printable::Printable;
use goldseal_verifier_core::digest::Digest;
use goldseal_verifier_core::envelope::Identity;
use goldseal_verifier_core::header::ListName;
use goldseal_verifier_core::hex;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::access::Caller;
use super::clears::clears;
use super::extract::{self, Asked, Machine, Sent};
use super::problem::{Problem, Told};
use super::{Api, views};
use crate::state;
use crate::store::{Filter, FindingFilter, Mode, Names, Protocol, Provision};
use crate::time::Time;
use crate::uuid::Uuid;

/// Most machines that one request names.
pub const MAX_UUIDS: usize = 10_000;

/// Machines on a page unless asked otherwise, and at most.
const PAGE: u32 = 100;
pub(super) const MAX_PAGE: u32 = 1_000;

/// Machines that are named in an answer about many.
const NAMED: usize = 100;

/// Events that are shown with a machine.
const EVENTS: u32 = 50;

/// Longest address: a host name of 253 characters, a colon, and a port.
const MAX_ADDRESS: usize = 259;

/// Shortest and longest time between polls, in seconds: what an agent can answer, and a week.
const INTERVALS: std::ops::RangeInclusive<u64> = 1..=7 * 86_400;

/// Which machines are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In one of these states, separated by commas.
    state: Option<String>,
    /// With the list of this identity.
    policy: Option<String>,
    /// With a list of this name.
    name: Option<String>,
    /// With a finding about this path.
    finding: Option<String>,
    /// With a finding about this path, in base64.
    finding_base64: Option<String>,
    /// And of this digest, as `ALG:HEX`.
    digest: Option<String>,
    /// Whose name begins so.
    uuid: Option<String>,
    /// Those after this one.
    after: Option<String>,
    /// At most so many.
    limit: Option<u32>,
}

/// Lists machines
#[utoipa::path(
    get, path = "/v1/agents", tag = "agents", params(ListQuery),
    responses((status = 200, description = "Machines, by name", body = views::Agents))
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Asked(asked): Asked<ListQuery>,
) -> Result<Json<views::Agents>, Problem> {
    let limit = asked.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = asked.after.as_deref().map(extract::uuid).transpose()?;
    let prefix = asked.uuid.as_deref().map(extract::uuid).transpose()?;
    let finding = match (asked.finding, asked.finding_base64) {
        (None, None) => None,
        (path, base64) => Some(FindingSelector { path, path_base64: base64, found: asked.digest }),
    };
    let filter = Selection {
        states: asked.state.map(|states| states.split(',').map(str::to_owned).collect()),
        policy: asked.policy,
        policy_name: asked.name,
        finding,
        ..Selection::default()
    }
    .conditions()?;
    let mut agents = match prefix {
        Some(prefix) => beginning_with(&api, &filter, &prefix, after.as_ref(), limit.saturating_add(1)).await?,
        None => api.store.agents(&filter, after.as_ref(), limit.saturating_add(1)).await?,
    };
    // One more than asked for says whether there are more.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = agents.len() > limit;
    agents.truncate(limit);
    let next = agents.last().filter(|_| more).map(|agent| agent.uuid.to_string());
    Ok(Json(views::Agents { agents: agents.iter().map(views::Agent::from).collect(), next }))
}

/// Names that begin with a prefix stand together, after the prefix itself.
async fn beginning_with(
    api: &Api,
    filter: &Filter,
    prefix: &Uuid,
    after: Option<&Uuid>,
    limit: u32,
) -> Result<Vec<crate::store::Agent>, Problem> {
    let from = after.filter(|after| *after >= prefix);
    let mut agents = Vec::new();
    if from.is_none() {
        let itself = Filter { uuids: Some(vec![prefix.clone()]), ..filter.clone() };
        agents = api.store.agents(&itself, None, 1).await?;
    }
    agents.extend(api.store.agents(filter, Some(from.unwrap_or(prefix)), limit).await?);
    agents.retain(|agent| agent.uuid.as_str().starts_with(prefix.as_str()));
    Ok(agents)
}

/// A machine to be polled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddRequest {
    /// Its name.
    uuid: String,
    /// Where to poll it: `HOST:PORT`.
    #[schema(example = "neptune:9002")]
    address: String,
    /// How to ask: `goldseal`, or `keylime` for an agent of Keylime. `goldseal` unless said.
    protocol: Option<String>,
    /// The identity of the list that judges it.
    policy: String,
    /// Seconds between polls; unless said, as the service is configured.
    interval: Option<u64>,
    /// Whether it is polled even when it failed.
    #[serde(default)]
    keep_polling: bool,
    /// SHA-256 of its EK's SubjectPublicKeyInfo DER, in hex.
    ek_sha256: Option<String>,
    /// Whether the first EK that comes is believed. It is shown for ever.
    #[serde(default)]
    trust_first_registration: bool,
}

/// Has a machine polled
#[utoipa::path(
    post, path = "/v1/agents", tag = "agents", request_body = AddRequest,
    responses(
        (status = 201, description = "It will be polled", body = views::Agent),
        (status = 409, description = "It is already, or is not the machine that it should be", body = Told),
        (status = 422, description = "The list is unknown, stale or no longer verifies", body = Told),
    )
)]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Sent(request): Sent<AddRequest>,
) -> Result<(StatusCode, Json<views::Agent>), Problem> {
    let uuid = extract::uuid(&request.uuid)?;
    let protocol = match request.protocol.as_deref() {
        None => Protocol::Goldseal,
        Some(word) => Protocol::ALL.into_iter().find(|protocol| protocol.word() == word).ok_or_else(|| {
            Problem::malformed(format!("{} is no protocol", Printable(word.as_bytes())), "goldseal, or keylime")
        })?,
    };
    if request.interval.is_some_and(|interval| !INTERVALS.contains(&interval)) {
        return Err(Problem::malformed(
            "the interval cannot be kept",
            format!("from {} to {} seconds", INTERVALS.start(), INTERVALS.end()),
        ));
    }
    let now = Time::now();
    let provision = Provision {
        address: address(request.address)?,
        protocol,
        policy: api.assignable(extract::identity(&request.policy)?, now).await?,
        interval: request.interval.map(Duration::from_secs),
        keep_polling: request.keep_polling,
        named_ek_sha256: request.ek_sha256.as_deref().map(sha256).transpose()?,
        trust_first: request.trust_first_registration,
        provisioned_at: now,
    };
    if provision.named_ek_sha256.is_some() && provision.trust_first {
        return Err(Problem::malformed(
            "an EK is named, and the first one is to be believed",
            "say one of them: ek_sha256 or trust_first_registration",
        ));
    }
    let agent = api.store.provision(&uuid, &provision, now, &caller.name).await?;
    api.wake();
    Ok((StatusCode::CREATED, Json(views::Agent::from(&agent))))
}

/// `HOST:PORT`, where a host is a name or an address, an IPv6 one in brackets.
fn address(text: String) -> Result<String, Problem> {
    let is_right = text.len() <= MAX_ADDRESS
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            let is_port =
                port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_host = match bracketed {
                Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    !host.is_empty()
                        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
                }
            };
            is_port && is_host
        });
    if is_right {
        return Ok(text);
    }
    Err(Problem::malformed(
        format!("{} is no address", Printable(text.as_bytes())),
        "name where its agent answers: HOST:PORT, or [IPV6]:PORT",
    ))
}

fn sha256(text: &str) -> Result<[u8; 32], Problem> {
    let mut digest = [0; 32];
    hex::decode_lower(text.as_bytes(), &mut digest).ok_or_else(|| {
        Problem::malformed(
            format!("{} is no SHA-256", Printable(text.as_bytes())),
            "name the digest of the EK's SubjectPublicKeyInfo DER: 64 digits of 0-9 a-f",
        )
    })?;
    Ok(digest)
}

/// Shows a machine
#[utoipa::path(
    get, path = "/v1/agents/{uuid}", tag = "agents", params(("uuid" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "All that is known of it", body = views::Details),
        (status = 404, description = "There is no such machine", body = Told),
    )
)]
pub(super) async fn show(State(api): State<Arc<Api>>, Machine(uuid): Machine) -> Result<Json<views::Details>, Problem> {
    let agent = api.store.agent(&uuid).await?.ok_or_else(|| no_machine(&uuid))?;
    let findings = api.store.findings(&uuid).await?;
    let events = api.store.events(&uuid, None, EVENTS).await?;
    let enrolment = agent.enrolment.as_ref();
    let provision = agent.provision.as_ref();
    let tls = enrolment.and_then(|enrolment| enrolment.tls_certificate.as_deref());
    Ok(Json(views::Details {
        ek_sha256: enrolment.map(|enrolment| hex::encode(&enrolment.ek_sha256)),
        named_ek_sha256: provision.and_then(|provision| provision.named_ek_sha256).map(|digest| hex::encode(&digest)),
        tls_sha256: tls.map(|der| hex::encode(Digest::sha256(der).as_bytes())),
        registered_at: enrolment.map(|enrolment| enrolment.registered_at.to_string()),
        provisioned_at: provision.map(|provision| provision.provisioned_at.to_string()),
        interval: provision.and_then(|provision| provision.interval).map(|interval| interval.as_secs()),
        keep_polling: provision.is_some_and(|provision| provision.keep_polling),
        boot_state: agent.progress.boot_state.clone(),
        counts: serde_json::from_str(&agent.progress.counts).unwrap_or_default(),
        evidence: agent.standing.evidence.map(|digest| hex::encode(&digest)),
        findings: findings.iter().map(views::Finding::from).collect(),
        events: events.iter().map(views::Event::from).collect(),
        clears: clears(&agent, &findings),
        agent: views::Agent::from(&agent),
    }))
}

fn no_machine(uuid: &Uuid) -> Problem {
    Problem::not_found(format!("there is no machine {uuid}"))
}

/// Forgets a machine
///
/// Its events and findings go with it; the audit log stays.
#[utoipa::path(
    delete, path = "/v1/agents/{uuid}", tag = "agents", params(("uuid" = String, Path, description = "The machine")),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "There is no such machine", body = Told),
    )
)]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Machine(uuid): Machine,
) -> Result<StatusCode, Problem> {
    api.store.delete(&uuid, Time::now(), &caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The list that shall judge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyRequest {
    /// Its identity.
    policy: String,
    /// Whether it may have another name than the one before. Stands in the audit log.
    #[serde(default)]
    change_name: bool,
}

/// Gives a machine another list, and has it appraised anew
#[utoipa::path(
    put, path = "/v1/agents/{uuid}/policy", tag = "agents", request_body = PolicyRequest,
    params(("uuid" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "Which machine was moved; none if it had the list and is not failed", body = views::Moved),
        (status = 404, description = "There is no such machine", body = Told),
        (status = 409, description = "The list has another name", body = Told),
        (status = 422, description = "The list is unknown, stale or no longer verifies", body = Told),
    )
)]
pub(super) async fn set_policy(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Machine(uuid): Machine,
    Sent(PolicyRequest { policy, change_name }): Sent<PolicyRequest>,
) -> Result<Json<views::Moved>, Problem> {
    let identity = extract::identity(&policy)?;
    api.store.agent(&uuid).await?.ok_or_else(|| no_machine(&uuid))?;
    api.assign(&Filter::uuid(&uuid), identity, change_name, Mode::Do, &caller).await.map(Json)
}

/// Has a machine polled again, appraised anew from its first entry
#[utoipa::path(
    post, path = "/v1/agents/{uuid}/reactivate", tag = "agents",
    params(("uuid" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "It will be asked", body = views::Moved),
        (status = 404, description = "There is no such machine", body = Told),
    )
)]
pub(super) async fn reactivate(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Machine(uuid): Machine,
) -> Result<Json<views::Moved>, Problem> {
    api.store.agent(&uuid).await?.ok_or_else(|| no_machine(&uuid))?;
    api.start_again(&Filter::uuid(&uuid), Mode::Do, &caller).await.map(Json)
}

/// Machines by what they have in common. Either named one by one, or `all` with conditions: never by leaving
/// something out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// These; conditions hold for them, too.
    uuids: Option<Vec<String>>,
    /// Every one for which the conditions hold.
    #[serde(default)]
    all: bool,
    /// In one of these states.
    states: Option<Vec<String>>,
    /// With the list of this identity.
    policy: Option<String>,
    /// With a list of this name.
    policy_name: Option<String>,
    /// With such a finding.
    finding: Option<FindingSelector>,
}

/// A finding by what it is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingSelector {
    /// The name in the entry.
    path: Option<String>,
    /// The same in base64, where text cannot have it.
    path_base64: Option<String>,
    /// What was measured, as `ALG:HEX`; unless said, anything.
    found: Option<String>,
}

impl Selection {
    fn filter(self) -> Result<Filter, Problem> {
        let named = self.uuids.as_ref().is_some_and(|uuids| !uuids.is_empty());
        if named == self.all {
            return Err(Problem::malformed(
                "it is not said which machines",
                "name them: uuids; or say all, with conditions or without",
            ));
        }
        self.conditions()
    }

    fn conditions(self) -> Result<Filter, Problem> {
        let uuids = self.uuids.filter(|uuids| !uuids.is_empty());
        if uuids.as_ref().is_some_and(|uuids| uuids.len() > MAX_UUIDS) {
            return Err(Problem::new(
                "too-large",
                format!("more than {MAX_UUIDS} machines are named"),
                "name fewer at once",
            ));
        }
        let uuids = uuids.map(|uuids| uuids.iter().map(|uuid| extract::uuid(uuid)).collect::<Result<Vec<_>, _>>());
        let states =
            self.states.map(|states| states.iter().map(|word| read_state(word)).collect::<Result<Vec<_>, _>>());
        Ok(Filter {
            uuids: uuids.transpose()?,
            states: states.transpose()?,
            policy: self.policy.as_deref().map(extract::identity).transpose()?,
            policy_name: self.policy_name.as_deref().map(list_name).transpose()?,
            finding: self.finding.map(FindingSelector::filter).transpose()?,
        })
    }
}

impl FindingSelector {
    fn filter(self) -> Result<FindingFilter, Problem> {
        let name = match (self.path, self.path_base64) {
            (Some(path), None) => Some(path.into_bytes()),
            (None, Some(base64)) => Base64::decode_vec(&base64).ok(),
            _ => None,
        };
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
            Problem::malformed("it is not said which path the finding is about", "give it as text or as base64")
        })?;
        Ok(FindingFilter { name, found: self.found })
    }
}

fn read_state(word: &str) -> Result<state::State, Problem> {
    state::State::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = state::State::ALL.iter().map(|state| state.word()).collect();
        Problem::malformed(
            format!("{} is no state", Printable(word.as_bytes())),
            format!("one of {}", words.join(", ")),
        )
    })
}

fn list_name(text: &str) -> Result<ListName, Problem> {
    ListName::new(text).ok_or_else(|| {
        Problem::malformed(
            format!("{} is no name of a list", Printable(text.as_bytes())),
            "see what there is: policies",
        )
    })
}

/// Another list for several machines.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    /// Which machines.
    selection: Selection,
    /// The identity of the list that shall judge them.
    policy: String,
    /// Whether it may have another name than those before. Stands in the audit log.
    #[serde(default)]
    change_name: bool,
    /// Whether it is only said how many would be moved.
    #[serde(default)]
    dry_run: bool,
}

/// Gives machines another list, and has them appraised anew
///
/// All are moved, or none. Those that have the list and are not failed are left alone.
#[utoipa::path(
    post, path = "/v1/agents:update", tag = "agents", request_body = UpdateRequest,
    responses(
        (status = 200, description = "Which machines were moved, or would be", body = views::Moved),
        (status = 409, description = "The list has another name than that of a machine", body = Told),
        (status = 422, description = "The list is unknown, stale or no longer verifies", body = Told),
    )
)]
pub(super) async fn update_many(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Sent(UpdateRequest { selection, policy, change_name, dry_run }): Sent<UpdateRequest>,
) -> Result<Json<views::Moved>, Problem> {
    let identity = extract::identity(&policy)?;
    api.assign(&selection.filter()?, identity, change_name, mode(dry_run), &caller).await.map(Json)
}

/// Several machines to be polled again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReactivateRequest {
    /// Which machines.
    selection: Selection,
    /// Whether it is only said how many it would be.
    #[serde(default)]
    dry_run: bool,
}

/// Has machines polled again, appraised anew from their first entry
#[utoipa::path(
    post, path = "/v1/agents:reactivate", tag = "agents", request_body = ReactivateRequest,
    responses((status = 200, description = "Which machines will be asked, or would be", body = views::Moved))
)]
pub(super) async fn reactivate_many(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Sent(ReactivateRequest { selection, dry_run }): Sent<ReactivateRequest>,
) -> Result<Json<views::Moved>, Problem> {
    api.start_again(&selection.filter()?, mode(dry_run), &caller).await.map(Json)
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Do }
}

impl Api {
    async fn assign(
        &self,
        filter: &Filter,
        identity: Identity,
        change_name: bool,
        mode: Mode,
        caller: &Caller,
    ) -> Result<views::Moved, Problem> {
        let now = Time::now();
        let policy = self.assignable(identity, now).await?;
        let names = if change_name { Names::Change } else { Names::Keep };
        let uuids = self.store.assign(filter, &policy, names, mode, now, &caller.name).await?;
        Ok(self.moved(mode, &uuids))
    }

    async fn start_again(&self, filter: &Filter, mode: Mode, caller: &Caller) -> Result<views::Moved, Problem> {
        let uuids = self.store.reactivate(filter, mode, Time::now(), &caller.name).await?;
        Ok(self.moved(mode, &uuids))
    }

    fn moved(&self, mode: Mode, uuids: &[Uuid]) -> views::Moved {
        if mode == Mode::Do {
            self.wake();
        }
        views::Moved {
            dry_run: mode == Mode::DryRun,
            count: uuids.len(),
            uuids: uuids.iter().take(NAMED).map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["neptune:9002", "10.0.0.7:1", "a-b.example:65535", "[::1]:9002", "host_1:9002"] {
            assert_eq!(address(good.to_owned()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "neptune",
            ":9002",
            "neptune:",
            "neptune:0",
            "neptune:65536",
            "neptune:+1",
            "::1:9002",
            "[::1]",
            "a b:1",
            "a/b:1",
            "user@host:1",
            "a\n:1",
            "[neptune]:1",
            "https://neptune:1",
        ] {
            assert_eq!(address(bad.to_owned()).map_err(|problem| problem.reason()), Err("malformed"), "{bad:?}");
        }
    }
}
