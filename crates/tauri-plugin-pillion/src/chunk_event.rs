//! Large chunks of a body as events of the page. WebKitGTK passes such a chunk on in one message, but the answer of a call in pieces of
//! 8 KiB, each in a message of its own. `guest-js/chunk-event.ts` is the other side.

use tauri::{Runtime, Webview};

/// From this size on, in bytes, an event is faster than the answer of the call, which is needed all the same.
pub(crate) const LARGE: usize = 512 * 1024;

/// The most bytes of a name. `guest-js/chunk-event.ts` chooses names of at most 28.
#[cfg(target_os = "linux")]
const MAX_NAME: usize = 64;

/// Whether the page may give this name to an event. The bindings of `GLib` panic at a string with a NUL, and the app would end.
#[cfg(target_os = "linux")]
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Dispatches an event with the chunk in the webview's main frame, and returns when the page has handled it; false if it cannot be, or if
/// `name` is not one of at most 64 letters and digits.
///
/// `name` is a secret of the page that asks, so that no page that has followed it knows the event. The script has a world of its own
/// (`WebKitScriptWorld`), so that such a page cannot change the functions that the script calls.
#[cfg(target_os = "linux")]
pub(crate) async fn dispatch<R: Runtime>(webview: &Webview<R>, name: String, chunk: &[u8]) -> bool {
    use std::any::TypeId;

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use gtk::{gio::Cancellable, glib::VariantDict};
    use tauri::{Wry, webview::PlatformWebview};
    use tokio::sync::oneshot;
    use webkit2gtk::WebViewExt as _;

    const SCRIPT: &str = "window.dispatchEvent(new CustomEvent(`pillion-chunk-${name}`, { detail: data }))";
    const WORLD: &str = "pillion";

    // Tauri's runtime for tests has no webview.
    if TypeId::of::<R>() != TypeId::of::<Wry>() || !is_name(&name) {
        return false;
    }
    let data = BASE64_STANDARD.encode(chunk);
    let (done, dispatched) = oneshot::channel();
    let call = move |webview: PlatformWebview| {
        let arguments = VariantDict::new(None);
        arguments.insert("name", name);
        arguments.insert("data", data);
        webview.inner().call_async_javascript_function(
            SCRIPT,
            Some(&arguments.end()),
            Some(WORLD),
            None,
            Cancellable::NONE,
            move |result| {
                // Fails if the call of the page has ended meanwhile.
                let _ = done.send(result.is_ok());
            },
        );
    };
    webview.with_webview(call).is_ok() && dispatched.await.unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn dispatch<R: Runtime>(_: &Webview<R>, _: String, _: &[u8]) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_page_chooses_a_name_of_letters_and_digits() {
        assert!(is_name("1z141z31z141z31z141z31z141z3"));
        for name in ["a\0b", "a b", "a-b", "`${a}`", "\u{fffd}", "\n", &"a".repeat(MAX_NAME + 1)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
