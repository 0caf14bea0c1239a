import { once } from "node:events";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { type Sidecar, startPrivate, status, TOKEN } from "./harness.js";

async function open(sidecar: Sidecar, protocols: string[]): Promise<{ protocol: string; message: string }> {
  const client = new WebSocket(`ws://127.0.0.1:${sidecar.port}/`, protocols);
  const [[data]] = await Promise.all([once(client, "message"), once(client, "open")]);
  client.close();
  return { protocol: client.protocol, message: String(data) };
}

test("a WebSocket takes its token from the subprotocols, and the server chooses pillion", async () => {
  const sidecar = await startPrivate("node.mjs");
  const opened = await open(sidecar, ["pillion", `pillion.bearer.${TOKEN}`]);
  expect(opened).toEqual({ protocol: "pillion", message: "protocol none" });
  await sidecar.says("upgraded:");
  expect(sidecar.stderr).not.toContain(TOKEN);
});

test("the handler chooses among the page's own subprotocols", async () => {
  const sidecar = await startPrivate("node.mjs");
  const opened = await open(sidecar, ["pillion", `pillion.bearer.${TOKEN}`, "chat"]);
  expect(opened).toEqual({ protocol: "chat", message: "protocol chat" });
});

const UPGRADE = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

test("an upgrade without the token is refused before any listener sees it", async () => {
  const sidecar = await startPrivate("node.mjs");
  const offer = (name: string) => `Sec-WebSocket-Protocol: ${name}`;
  const token = `pillion.bearer.${TOKEN}`;
  const send = async (...headers: string[]) => {
    const connection = await sidecar.connect();
    connection.send(`GET / HTTP/1.1\r\nHost: {host}\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`);
    return connection.rest();
  };
  expect(status(await send(...UPGRADE))).toBe(401);
  expect(status(await send(...UPGRADE, offer("pillion, pillion.bearer.0")))).toBe(401);
  expect(status(await send(...UPGRADE, offer("pillion"), offer(token)))).toBe(401);
  expect(status(await send(...UPGRADE, offer(token), "Origin: https://example.org"))).toBe(403);
  // Without `Upgrade: websocket`, this header carries no token.
  expect(status(await send(offer(token)))).toBe(401);
  expect(sidecar.stderr).not.toMatch(/upgraded|handler/);
});
