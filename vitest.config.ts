import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      "apps/desktop",
      { test: { name: "guest-js", root: "crates/tauri-plugin-pillion", environment: "happy-dom" } },
    ],
  },
});
