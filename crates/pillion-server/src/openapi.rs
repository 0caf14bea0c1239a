//! The OpenAPI document of a sidecar, for typed clients. Needs the feature `openapi`.
//!
//! Describe each handler with `#[utoipa::path]` and collect the routes in an `OpenApiRouter` of
//! [utoipa-axum](https://docs.rs/utoipa-axum). A test then writes the document to a file, from which a generator makes the types
//! of the page's client, for example [openapi-typescript](https://www.npmjs.com/package/openapi-typescript):
//!
//! ```
//! use std::{env, fs};
//!
//! use utoipa::openapi::OpenApi;
//! use utoipa_axum::{router::OpenApiRouter, routes};
//!
//! #[utoipa::path(get, path = "/motd", responses((status = 200, body = String)))]
//! async fn motd() -> &'static str {
//!     "Hello from the sidecar"
//! }
//!
//! fn routes() -> OpenApiRouter {
//!     OpenApiRouter::new().routes(routes!(motd))
//! }
//!
//! fn document() -> OpenApi {
//!     pillion_server::openapi::complete(routes().into_openapi())
//! }
//!
//! // In `main`: pillion_server::serve("Hello", routes().into()).await
//!
//! // In a test:
//! fn openapi_document_is_up_to_date() {
//!     let json = document().to_pretty_json().unwrap();
//!     if env::var_os("UPDATE_OPENAPI").is_some() {
//!         fs::write("openapi.json", &json).unwrap();
//!     }
//!     assert_eq!(fs::read_to_string("openapi.json").unwrap(), json);
//! }
//! ```
//!
//! The sidecar does not serve the document. If your clients need it at run time, add a route for it: as every route, it answers
//! only requests with the token of the run, if the host set one.

use pillion_protocol::{Health, health::DEFAULT_PATH};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, HttpMethod, OpenApi, Ref, Response,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

/// The name of the token among the security schemes of a document.
const TOKEN: &str = "token";

/// Adds to the document of a router what the sidecar adds to the router: `GET /health` with the schema `SidecarHealth`, and the
/// token that every request to a private sidecar needs. An operation that has its own security requirement keeps it.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_with(Components::new);
    let health = Health::name();
    components.schemas.insert(health.to_string(), Health::schema());
    let mut token = Http::new(HttpAuthScheme::Bearer);
    token.description =
        Some("The token of the run. The client of tauri-plugin-pillion-api sends it.".to_owned());
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    let body = Content::new(Some(Ref::from_schema_name(health)));
    let mut answer = Response::new("The sidecar serves. Without the token, the answer has only `status`.");
    answer.content.insert("application/json".to_owned(), body.into());
    let mut operation = Operation::new();
    operation.operation_id = Some("health".to_owned());
    operation.summary = Some("The health of the sidecar, and what it is.".to_owned());
    operation.responses.responses.insert("200".to_owned(), answer.into());
    operation.security = Some(vec![SecurityRequirement::default(), requirement()]);
    document.paths.add_path_operation(DEFAULT_PATH, vec![HttpMethod::Get], operation);
    document.security.get_or_insert_with(|| vec![requirement()]);
    document
}

fn requirement() -> SecurityRequirement {
    SecurityRequirement::new(TOKEN, [""; 0])
}

#[cfg(test)]
mod tests {
    use pillion_protocol::Instance;
    use serde_json::{Value, json};
    use utoipa::openapi::{InfoBuilder, Paths};

    use super::*;

    fn completed() -> Value {
        let info = InfoBuilder::new().title("Hello").version("1.2.3").build();
        serde_json::to_value(complete(OpenApi::new(info, Paths::new()))).unwrap()
    }

    #[test]
    fn the_schema_has_the_fields_of_a_health_answer() {
        let schema = &completed()["components"]["schemas"]["SidecarHealth"];
        let mut health = Health::ok("Hello", 1, 1.5);
        let required = serde_json::to_value(&health).unwrap();
        health.version = Some("1.2.3".to_owned());
        health.pillion_protocol = Some("1".to_owned());
        health.instance = Some(Instance::from_bytes([0; 16]));
        let all = serde_json::to_value(&health).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&schema["properties"]), names(&all), "serde_json sorts the names");
        let mut listed = serde_json::from_value::<Vec<String>>(schema["required"].clone()).unwrap();
        listed.sort_unstable();
        assert_eq!(listed, names(&required));
        for (name, value) in all.as_object().unwrap() {
            let expected = if value.is_string() { &["string"][..] } else { &["integer", "number"] };
            let found = schema["properties"][name]["type"].as_str().unwrap();
            assert!(expected.contains(&found), "{name}: {found}");
        }
    }

    #[test]
    fn every_operation_needs_the_token_except_health() {
        let document = completed();
        assert_eq!(document["security"], json!([{ "token": [] }]));
        let health = &document["paths"]["/health"]["get"];
        assert_eq!(health["security"], json!([{}, { "token": [] }]));
        let schema = &health["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(schema, &json!({ "$ref": "#/components/schemas/SidecarHealth" }));
        assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    }
}
