//! The display for the app's window: the developer's own, or a virtual one.

use std::env;

/// The size and the colour depth of the virtual display.
pub(crate) const SCREEN: &str = "1800x1200x24";

/// Returns whether this session has a display.
pub(crate) fn is_available() -> bool {
    cfg!(not(target_os = "linux"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}
