import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { createApp } from "./app.js";
import { stopGracefully } from "./stop.js";

const GRACE_MS = 5000;

/** The port that `PORT` names, or 0, by which the system chooses one. */
function requestedPort(text: string | undefined): number {
  if (!text) return 0;
  if (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535) return Number(text);
  return fail(`PORT is "${text}": set it to a number from 1 to 65535, or unset it to let the system choose`);
}

function fail(message: string): never {
  console.error(`Error: ${message}`);
  process.exit(1);
}

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const server = serve(
  {
    fetch: createApp(version, process.env).fetch,
    // Without a hostname, `serve` listens on every interface.
    hostname: "127.0.0.1",
    port: requestedPort(process.env.PORT),
  },
  ({ port }: AddressInfo) => {
    process.stdout.write(`BACKEND_PORT:${port}\n`);
    console.error(`listening on http://127.0.0.1:${port}`);
  },
) as Server;
server.on("error", (error) => fail(error.message));
stopGracefully(server, GRACE_MS);
