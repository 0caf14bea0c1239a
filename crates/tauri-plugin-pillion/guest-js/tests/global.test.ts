// @vitest-environment node
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";
// @ts-expect-error: the configuration is JavaScript, because the bundler reads it as well.
import config from "../../rolldown.global.mjs";

const folder = new URL("../../", import.meta.url);
const file = fileURLToPath(new URL(config.output.file, folder));

/** The script, as rolldown makes it from the sources. */
async function bundled(): Promise<string> {
  const input = fileURLToPath(new URL(config.input, folder));
  const bundle = await rolldown({ input, logLevel: "silent" });
  const { output } = await bundle.generate(config.output);
  await bundle.close();
  return output[0].code;
}

test("generated_global_script_is_up_to_date", async () => {
  const script = await bundled();
  if (process.env.PILLION_CODEGEN) {
    writeFileSync(file, script);
  }
  expect(readFileSync(file, "utf8"), "run `cargo xtask codegen`").toBe(script);
});

test("the script gives a page without a bundler the client", () => {
  const page = { __TAURI__: {} as { pillion?: { sidecar(name: string): { name: string } } } };
  new Function("window", readFileSync(file, "utf8"))(page);
  expect(page.__TAURI__.pillion?.sidecar("backend").name).toBe("backend");
});

test("the script does nothing in a page that Tauri gives no global object", () => {
  const page = {};
  new Function("window", readFileSync(file, "utf8"))(page);
  expect(page).toEqual({});
});
