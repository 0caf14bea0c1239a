//! The token of the present run. The launch makes it, the probe has it proved, the handle gives it to the app: nobody else
//! comes by it, and no status, event or failure carries it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use pillion_protocol::Token;
use zeroize::Zeroizing;

/// Where the token of the present run is. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secret(Arc<Mutex<Option<Token>>>);

impl Secret {
    /// Makes the token of a new run, which takes the place of the last one's.
    pub(crate) fn renew(&self) -> Result<Token, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)?;
        let token = Token::from_bytes(&bytes);
        // Nothing panics while it is locked.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// The token of the present run, or of the last one where none runs.
    pub(crate) fn present(&self) -> Option<Token> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where a sidecar is asked for health, and the secret that it has to prove there, if it is given one.
#[derive(Debug, Clone)]
pub(crate) struct HealthPath {
    pub(crate) path: String,
    pub(crate) secret: Option<Secret>,
}

impl fmt::Display for HealthPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}
