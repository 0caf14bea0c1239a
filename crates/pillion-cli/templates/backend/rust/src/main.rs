use std::collections::BTreeMap;

use axum::{routing::get, Json, Router};

async fn hello() -> Json<BTreeMap<&'static str, &'static str>> {
    Json(BTreeMap::from([("text", "Hello from Rust")]))
}

#[tokio::main]
async fn main() -> pillion_server::Result {
    pillion_server::serve("backend", Router::new().route("/hello", get(hello))).await
}
