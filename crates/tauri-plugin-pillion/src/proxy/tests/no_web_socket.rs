//! WebSockets in an app without the feature `websocket`.

use super::fixture::{Fixture, get, with_sidecar};
use crate::desktop::proxy::no_web_socket::WebSocket;

#[tokio::test]
async fn a_page_is_told_which_feature_opens_web_sockets() {
    let fixture = Fixture::new().await;
    let head = serde_json::from_value(with_sidecar(get(1))).unwrap();
    let refused = WebSocket::open(&fixture.proxy, "main", &fixture.supervisor, head).await;
    let refused = serde_json::to_value(refused.unwrap_err()).unwrap();
    assert!(refused.as_str().unwrap().ends_with("without the feature \"websocket\""), "{refused}");
}
