//! The rules, one file for each kind of input. The area Project has several; that of the machine is `machine.rs`.

pub(super) mod binaries;
pub(super) mod bundle;
pub(super) mod declaration;
pub(super) mod dependencies;
pub(super) mod files;
pub(super) mod ignored;
pub(super) mod page;
