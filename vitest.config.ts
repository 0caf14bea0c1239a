import { defaultServerConditions } from "vite";
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
        // The examples compile the guest bindings from source, as this repository does everywhere.
        ssr: { resolve: { conditions: ["pillion-source", ...defaultServerConditions] } },
        test: {
          name: "examples",
          root: "examples",
          globalSetup: "build.ts",
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
