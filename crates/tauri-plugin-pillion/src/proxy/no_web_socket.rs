//! In place of `web_socket.rs`, without the feature `websocket`.

use std::sync::Arc;

use pillion::Supervisor;
use tokio_util::sync::CancellationToken;

use super::{Key, Proxy};
use crate::desktop::{command_error::CommandError, ipc_message::RequestHead};

/// None is ever open.
#[derive(Debug)]
pub(super) enum WebSocket {}

impl WebSocket {
    /// Refuses to open a WebSocket.
    pub(super) async fn open(
        _: &Proxy,
        _: &str,
        _: &Supervisor,
        _: RequestHead,
    ) -> Result<Vec<u8>, CommandError> {
        Err(CommandError::no_response(
            "this app opens no WebSockets: it has tauri-plugin-pillion without the feature \"websocket\"",
        ))
    }

    pub(super) async fn read(self: Arc<Self>, _: &Proxy, _: &Key) -> Result<Vec<u8>, CommandError> {
        match *self {}
    }

    pub(super) fn cancelled(&self) -> &CancellationToken {
        match *self {}
    }

    pub(super) async fn write(&self, _: &[u8]) -> Result<bool, CommandError> {
        match *self {}
    }
}
