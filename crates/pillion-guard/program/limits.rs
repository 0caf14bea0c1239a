//! What a guard says when the system refuses it something. The full guard and the supervisor, which prepares the light one, compile this file.

/// Without a child subreaper, `PR_SET_CHILD_SUBREAPER`.
pub const NO_SUBREAPER: &str =
    "the system refuses PR_SET_CHILD_SUBREAPER; a daemon of the sidecar may survive";
/// Without a signal at the parent's death, `PR_SET_PDEATHSIG`.
pub const NO_DEATH_SIGNAL: &str =
    "the system refuses PR_SET_PDEATHSIG; if the guard is killed, the sidecar survives";
