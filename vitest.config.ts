import { defineConfig } from "vitest/config";

// A busy machine must not decide a test: the limit is only for tests that hang.
const testTimeout = 60_000;

export default defineConfig({
  test: {
    projects: [
      "apps/desktop",
      {
        test: {
          name: "guest-js",
          root: "crates/tauri-plugin-pillion",
          environment: "happy-dom",
          testTimeout,
        },
      },
      {
        test: {
          name: "sdk-node",
          root: "sdk/node",
          globalSetup: "tests/build.ts",
          testTimeout,
        },
      },
    ],
  },
});
