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
  const addr = await listen(server, process.env);
  process.stdout.write(addr === "local" ? "BACKEND_SOCKET:3\n" : `BACKEND_PORT:${addr}\n`);
  console.error(`listening on ${addr === "local" ? "the socket of the host" : `http://127.0.0.1:${addr}`}`);
} catch (error) {
  console.error(`Error: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
