//! A system without job control.

use std::{convert::Infallible, future, io};

use super::screen::Screen;

pub(super) struct Suspension;

impl Suspension {
    #[expect(clippy::unnecessary_wraps, reason = "the signature is the same on every system")]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for ever.
    pub(super) async fn next(&mut self) -> Infallible {
        future::pending().await
    }

    #[expect(clippy::unused_async, reason = "the signature is the same on every system")]
    pub(super) async fn follow(&mut self, never: Infallible, _screen: &mut Screen) -> io::Result<()> {
        match never {}
    }
}
