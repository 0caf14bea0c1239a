// Bundles the client for pages without a bundler: `window.__TAURI__.pillion`, in the form of Tauri's own plugins. The plugin's build
// script passes the file to Tauri, which runs it in each page if `app.withGlobalTauri` is true.

/** The options of rolldown: https://rolldown.rs/reference/config-options. */
export default {
  input: "guest-js/index.ts",
  output: {
    file: "api-iife.js",
    format: "iife",
    name: "__TAURI_PLUGIN_PILLION__",
    minify: true,
    postBanner: 'if("__TAURI__"in window){',
    postFooter: 'Object.defineProperty(window.__TAURI__,"pillion",{value:__TAURI_PLUGIN_PILLION__})}',
  },
};
