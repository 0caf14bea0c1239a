//! The routes of the AIOS backend, and their OpenAPI document, from which the page's client gets its types.

use utoipa::openapi::{InfoBuilder, OpenApi};
use utoipa_axum::router::OpenApiRouter;

/// The routes, each with its description. The sidecar adds `GET /health`.
#[must_use]
pub fn routes() -> OpenApiRouter {
    OpenApiRouter::new()
}

/// The OpenAPI document of the backend. It is for builds and tests: the backend does not serve it.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = routes().into_openapi();
    document.info = InfoBuilder::new().title("AIOS").version(env!("CARGO_PKG_VERSION")).build();
    pillion_server::openapi::complete(document)
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn generated_openapi_document_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let document = document().to_pretty_json().unwrap() + "\n";
        if env::var_os("PILLION_CODEGEN").is_some() {
            fs::write(file, &document).unwrap();
        }
        let written = fs::read_to_string(file).unwrap();
        assert_eq!(written, document, "openapi.json is out of date: run `cargo xtask codegen`");
    }
}
