import { once } from "node:events";
import { openSync } from "node:fs";
import { expect, test } from "vitest";
import { BEARER, start, startPrivate, status } from "./harness.js";

test.each(["SIGTERM", "SIGINT"] as const)("%s stops it with 0", async (signal) => {
  const sidecar = await startPrivate("fetch.mjs");
  sidecar.kill(signal);
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stderr).toContain(`stopping: ${signal}`);
  expect(sidecar.stderr).toContain("onStop ran");
});

test("the end of a stdin pipe stops it, bytes before the end do not", async () => {
  const sidecar = await startPrivate("fetch.mjs", { stdin: "pipe" });
  sidecar.child.stdin?.write("ignored\n");
  expect(status(await sidecar.request("GET /", BEARER))).toBe(200);
  sidecar.child.stdin?.end();
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stderr).toContain("the host closed stdin");
});

test("the end of a stdin file does not stop it", async () => {
  const sidecar = await startPrivate("fetch.mjs", { stdin: openSync(new URL(import.meta.url), "r") });
  expect(status(await sidecar.request("GET /", BEARER))).toBe(200);
  sidecar.kill("SIGTERM");
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stderr).not.toContain("the host closed stdin");
});

test("it finishes what is in flight, and closes idle connections at once", async () => {
  const sidecar = await startPrivate("fetch.mjs", { arguments: ["grace=600000"] });
  const silent = await sidecar.connect();
  const idle = await sidecar.connect();
  idle.send(`GET / HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await idle.until("hello\n");
  const busy = await sidecar.connect();
  busy.send(`POST /sum HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\nContent-Length: 6\r\n\r\nabc`);
  const waiting = await sidecar.connect();
  waiting.send(`GET /until-stop HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await sidecar.says("waiting");
  sidecar.kill("SIGTERM");
  await silent.rest();
  await idle.rest();
  expect(await waiting.rest()).toContain("stopped\n");
  busy.send("def");
  const answer = await busy.rest();
  expect(answer).toMatch(/\r\n\r\n6$/);
  expect(answer).toContain("Connection: close");
  expect(await sidecar.end()).toBe(0);
});

test("it accepts no connection after the request to stop", async () => {
  const sidecar = await startPrivate("fetch.mjs", { arguments: ["grace=600000"] });
  const busy = await sidecar.connect();
  busy.send(`POST /sum HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\nContent-Length: 1\r\n\r\n`);
  await sidecar.request("GET /", BEARER);
  sidecar.kill("SIGTERM");
  await sidecar.says("stopping");
  await expect(sidecar.request("GET /", BEARER)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
  busy.send("x");
  await busy.rest();
  expect(await sidecar.end()).toBe(0);
});

test("it cuts what the grace period does not finish", async () => {
  const sidecar = await startPrivate("fetch.mjs", { arguments: ["grace=50"] });
  const connection = await sidecar.connect();
  connection.send(`GET /never HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await sidecar.says("never answers");
  sidecar.kill("SIGTERM");
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stderr).toContain("the grace period of 50 ms is over, and 1 open connections were cut");
});

test("a second signal ends it at once", async () => {
  const sidecar = await startPrivate("fetch.mjs", { arguments: ["grace=600000"] });
  const connection = await sidecar.connect();
  connection.send(`GET /never HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await sidecar.says("never answers");
  sidecar.kill("SIGTERM");
  await sidecar.says("stopping");
  sidecar.kill("SIGINT");
  expect(await sidecar.end()).toBe(130);
});

test("signals after the end of stdin do not end it at once", async () => {
  const sidecar = await startPrivate("fetch.mjs", { stdin: "pipe", arguments: ["grace=600000"] });
  const busy = await sidecar.connect();
  busy.send(`POST /sum HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\nContent-Length: 6\r\n\r\nabc`);
  await sidecar.request("GET /", BEARER);
  sidecar.child.stdin?.end();
  await sidecar.says("stopping: the host closed stdin");
  sidecar.kill("SIGTERM");
  sidecar.kill("SIGINT");
  busy.send("def");
  expect(await busy.rest()).toMatch(/\r\n\r\n6$/);
  expect(await sidecar.end()).toBe(0);
});

test("it stops when the host is dead, and nothing reads its output", async () => {
  const sidecar = await startPrivate("fetch.mjs", { stdin: "pipe" });
  sidecar.child.stdout?.destroy();
  sidecar.child.stderr?.destroy();
  sidecar.child.stdin?.destroy();
  const [code] = await once(sidecar.child, "exit");
  expect(code).toBe(0);
});

test("an open WebSocket does not delay the stop", async () => {
  const sidecar = await startPrivate("node.mjs");
  const connection = await sidecar.connect();
  connection.send(
    `GET / HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await connection.until("101");
  sidecar.kill("SIGTERM");
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stderr).not.toContain("grace period");
});

test("a listener for another process is left alone, and PORT stays in force", async () => {
  const sidecar = start("fetch.mjs", { env: { LISTEN_PID: "1", LISTEN_FDS: "1" } });
  expect(await sidecar.announced()).toMatch(/^BACKEND_PORT:/);
});
