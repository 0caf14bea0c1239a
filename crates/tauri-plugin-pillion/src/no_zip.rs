//! In place of `zip.rs`, without the feature `zip`.

use pillion::Diagnosis;

use crate::desktop::command_error::CommandError;

/// Refuses to make a zip file.
pub(crate) async fn pack(_: Diagnosis) -> Result<Vec<u8>, CommandError> {
    Err(CommandError::no_response(
        "this app makes no zip files: it has tauri-plugin-pillion without the feature \"zip\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_is_told_which_feature_makes_zip_files() {
        let refused = serde_json::to_value(pack(Diagnosis::new()).await.unwrap_err()).unwrap();
        assert!(refused.as_str().unwrap().ends_with("without the feature \"zip\""), "{refused}");
    }
}
