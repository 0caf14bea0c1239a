import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The tests start the built Hono example. */
export default function build(): void {
  const compiler = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
  execFileSync(process.execPath, [join(compiler, "bin/tsc"), "--build", "hono-backend"], {
    cwd: import.meta.dirname,
    stdio: "inherit",
  });
}
