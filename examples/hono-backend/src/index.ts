import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { createApp } from "./app.js";
import { listen } from "./listen.js";
import { stopGracefully } from "./stop.js";

const GRACE_MS = 5000;

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const server = createAdaptorServer({ fetch: createApp(version, process.env).fetch }) as Server;
stopGracefully(server, GRACE_MS);
try {
  const port = await listen(server, process.env);
  process.stdout.write(`BACKEND_PORT:${port}\n`);
  console.error(`listening on http://127.0.0.1:${port}`);
} catch (error) {
  console.error(`Error: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
