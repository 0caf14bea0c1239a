//! Packs a diagnosis into a zip file.

use pillion::Diagnosis;
use tokio::task;

use crate::desktop::command_error::CommandError;

/// The zip file. It is made on a thread for work that blocks.
pub(crate) async fn pack(diagnosis: Diagnosis) -> Result<Vec<u8>, CommandError> {
    let zip = task::spawn_blocking(move || diagnosis.zip()).await.map_err(CommandError::no_response)?;
    zip.map_err(CommandError::no_response)
}
