/// <reference types="vitest/config" />
import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import {
  defaultClientConditions,
  defaultServerConditions,
  defineConfig,
  type Plugin,
  runnerImport,
} from "vite";

/** This repository compiles the guest bindings from source; apps elsewhere use the built package. */
const SOURCE = "pillion-source";

/** The place of the page in index.html. */
const PLACE = "<!--page-->";

/** Draws the page into index.html, so that the window shows it before any script runs. */
export const prerendered = {
  name: "prerendered",
  async transformIndexHtml(html: string) {
    if (!html.includes(PLACE)) throw new Error(`index.html has no ${PLACE}, where the page is drawn`);
    const file = fileURLToPath(new URL("src/prerender.tsx", import.meta.url));
    const { module } = await runnerImport<typeof import("./src/prerender")>(file, { plugins: [react()] });
    return html.replace(PLACE, () => module.prerender());
  },
} satisfies Plugin;

export default defineConfig(({ mode }) => ({
  plugins: [react(), tailwindcss(), prerendered],
  clearScreen: false,
  resolve: { conditions: [SOURCE, ...defaultClientConditions] },
  // Vitest resolves tests in the Node environment as server code.
  ssr: { resolve: { conditions: [SOURCE, ...defaultServerConditions] } },
  server: {
    // Tauri's devUrl is this address: with another port, the window would stay empty.
    host: "127.0.0.1",
    port: 1420,
    strictPort: true,
    watch: { ignored: ["**/src-tauri/**"] },
  },
  build: {
    outDir: mode === "bench" ? "dist-bench" : "dist",
    // WKWebView and WebKitGTK from Safari 16.4 on, the minimum of Tailwind 4; WebView2 updates itself. macOS has that WKWebView since
    // 13.3, which tauri.conf.json names as the oldest one (`minimumSystemVersion`).
    target: ["safari16.4", "chrome111"],
    // The content security policy forbids inline scripts and data: URLs.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  test: {
    name: "desktop",
    environment: "happy-dom",
    include: ["tests/**/*.test.{ts,tsx}"],
    // A busy machine must not decide a test: the limit is only for tests that hang.
    testTimeout: 60_000,
  },
}));
