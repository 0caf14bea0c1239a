/// <reference types="vitest/config" />
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defaultClientConditions, defaultServerConditions, defineConfig } from "vite";

/** In this repository the guest bindings are compiled from source; apps outside get their built form. */
const SOURCE = "pillion-source";

export default defineConfig(({ mode }) => ({
  plugins: [react(), tailwindcss()],
  clearScreen: false,
  resolve: { conditions: [SOURCE, ...defaultClientConditions] },
  // Tests in the environment of Node are resolved as a server's code is.
  ssr: { resolve: { conditions: [SOURCE, ...defaultServerConditions] } },
  server: {
    // Tauri's devUrl names exactly this address, so another port would only be a window that stays empty.
    host: "127.0.0.1",
    port: 1420,
    strictPort: true,
    watch: { ignored: ["**/src-tauri/**"] },
  },
  build: {
    outDir: mode === "bench" ? "dist-bench" : "dist",
    // WKWebView and WebKitGTK from Safari 16.4 on, which is what Tailwind 4 asks for; WebView2 keeps itself current.
    target: ["safari16.4", "chrome111"],
    // The content security policy allows neither inline scripts nor data: URLs.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  test: {
    name: "desktop",
    environment: "happy-dom",
    include: ["tests/**/*.test.{ts,tsx}"],
  },
}));
