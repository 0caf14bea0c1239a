//! The rules, one file for each area.

pub(super) mod binaries;
pub(super) mod bundle;
pub(super) mod declaration;
pub(super) mod dependencies;
pub(super) mod files;
pub(super) mod ignored;
pub(super) mod page;
