//! In place of `web_socket.rs`, without the feature `websocket`.

use std::sync::Arc;

use pillion::Supervisor;
use tokio_util::sync::CancellationToken;

use super::{Key, Proxy};
use crate::{command_error::CommandError, ipc_message::RequestHead};

/// None is ever open.
#[derive(Debug)]
pub(super) enum WebSocket {}

impl Proxy {
    /// Refuses to open a WebSocket.
    pub(crate) async fn open_web_socket(
        &self,
        _: &str,
        _: &Supervisor,
        _: RequestHead,
    ) -> Result<Vec<u8>, CommandError> {
        Err(CommandError::no_response(
            "this app opens no WebSockets: it has tauri-plugin-pillion without the feature \"websocket\"",
        ))
    }

    pub(super) async fn read_web_socket(
        &self,
        _: &Key,
        socket: Arc<WebSocket>,
    ) -> Result<Vec<u8>, CommandError> {
        match *socket {}
    }
}

impl WebSocket {
    pub(super) fn cancelled(&self) -> &CancellationToken {
        match *self {}
    }

    pub(super) async fn write(&self, _: &[u8]) -> Result<bool, CommandError> {
        match *self {}
    }
}
