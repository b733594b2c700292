//! What may be asked, described from the code (OpenAPI 3.1). docs/openapi.json is this text; a test compares.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{agents, policies, service};

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "goldseal-verifier",
        description = "Machines, the sealed whitelists that judge them, and who decided what. Every route but health \
                       needs a bearer token or a client certificate; GET needs the role read, all others operate. \
                       Errors are application/problem+json; `reason` is a word of docs/exit-codes.md.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    paths(
        agents::list, agents::add, agents::show, agents::delete, agents::set_policy, agents::reactivate,
        agents::update_many, agents::reactivate_many, service::findings, policies::upload, policies::list,
        policies::show, policies::diff, service::audit, service::health, service::description
    ),
    modifiers(&Credentials),
    security(("token" = []), ("certificate" = []))
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let certificate = SecurityScheme::MutualTls { description: None, deprecated: None, extensions: None };
        components.add_security_scheme("certificate", certificate);
    }
}

/// The description as JSON.
pub fn text() -> String {
    let text = Description::openapi().to_pretty_json().unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The committed description is that of the code. To write it anew: `GOLDSEAL_WRITE=1 cargo test -p goldseal-verifier
    /// the_description_is_committed`.
    #[test]
    fn the_description_is_committed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        if std::env::var_os("GOLDSEAL_WRITE").is_some() {
            fs::write(&path, text()).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text(), "docs/openapi.json is not that of the code: GOLDSEAL_WRITE=1 writes it anew");
    }
}
