// Keeps what the app has told this page at its start, for the tests: the client takes it.
window.told = JSON.stringify(window.__TAURI_INTERNALS__.plugins.pillion ?? null);
