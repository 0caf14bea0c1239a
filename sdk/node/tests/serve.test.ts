import { readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { BEARER, header, INSTANCE, lines, start, startPrivate, status, TOKEN } from "./harness.js";
import { listener } from "./listeners.js";

const UPLOAD = "Transfer-Encoding: chunked";

test("it announces its port alone on stdout, and listens on 127.0.0.1 only", async () => {
  const sidecar = start("fetch.mjs");
  expect(await sidecar.announced()).toMatch(/^BACKEND_PORT:[1-9]\d*\n$/);
  if (process.platform === "linux") {
    const hex = sidecar.port.toString(16).toUpperCase().padStart(4, "0");
    const sockets = readFileSync("/proc/net/tcp", "utf8").split("\n");
    expect(sockets.filter((line) => line.includes(`:${hex} 00000000:0000 0A`))).toEqual([
      expect.stringContaining(`0100007F:${hex}`),
    ]);
    expect(readFileSync("/proc/net/tcp6", "utf8")).not.toContain(`:${hex} 0000000000000000`);
  }
  sidecar.kill("SIGTERM");
  expect(await sidecar.end()).toBe(0);
  expect(sidecar.stdout).toBe(`BACKEND_PORT:${sidecar.port}\n`);
});

test("it listens on the port that PORT names, and explains a taken one", async () => {
  const first = start("fetch.mjs");
  await first.announced();
  const second = start("fetch.mjs", { env: { PORT: `${first.port}` } });
  expect(await second.end()).toBe(1);
  expect(second.stderr).toContain(`port ${first.port} of 127.0.0.1 is taken`);
  expect(second.stdout).toBe("");
  first.kill("SIGTERM");
  await first.end();
  const third = start("fetch.mjs", { env: { PORT: `${first.port}` } });
  expect(await third.announced()).toBe(`BACKEND_PORT:${first.port}\n`);
});

test.each(["0", "+80", "080", " 80", "80 ", "65536", "x", "-1", "1e3"])(
  "it refuses to start with PORT=%j",
  async (port) => {
    const sidecar = start("fetch.mjs", { env: { PORT: port } });
    expect(await sidecar.end()).toBe(1);
    expect(sidecar.stderr).toContain(`PORT is "${port}": set it to a number from 1 to 65535`);
    expect(sidecar.stdout).toBe("");
  },
);

test.runIf(process.platform === "linux")("programs that it starts do not hold the listener", async () => {
  const inherited = await listener("tcp");
  onTestFinished(inherited.close);
  const env = { LISTEN_FDS: "1", LISTEN_PID: "{pid}" };
  const sidecar = start("fetch.mjs", { env, inherit: inherited.descriptor });
  expect(await sidecar.announced()).toBe(`BACKEND_PORT:${inherited.port}\n`);
  const flags =
    /^flags:\t(\d+)$/m.exec(readFileSync(`/proc/${sidecar.child.pid}/fdinfo/3`, "utf8"))?.[1] ?? "";
  // O_CLOEXEC, as proc_pid_fdinfo(5) shows it.
  expect(Number.parseInt(flags, 8) & 0o2_000_000).not.toBe(0);
});

test("a server without a handler answers 500 and says why, instead of never", async () => {
  const sidecar = start("no-handler.mjs");
  await sidecar.announced();
  expect(status(await sidecar.request("GET /notes"))).toBe(500);
  await sidecar.says("the server has no handler: give createServer a function");
  const upload = ["Expect: 100-continue", "Content-Length: 5"];
  expect(await sidecar.request("POST /notes", ...upload)).toContain(" 500 ");
});

test("health names the script of a server that gives no name", async () => {
  const sidecar = start("node.mjs");
  await sidecar.announced();
  const answer = await sidecar.request("GET /health");
  expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toMatchObject({ app: "node" });
});

test("health has the instance, the version and the uptime for a client with the token only", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const full = await sidecar.request("GET /health", BEARER);
  expect(status(full)).toBe(200);
  const body = JSON.parse(full.slice(full.indexOf("\r\n\r\n")));
  expect(body).toEqual({
    status: "ok",
    app: "test",
    version: "1.2.3",
    pillion_protocol: "1",
    instance: INSTANCE,
    timestamp: expect.any(Number),
    uptime: expect.any(Number),
  });
  const head = await sidecar.request("HEAD /health", BEARER);
  expect(head).toMatch(/\r\n\r\n$/);
  expect(await sidecar.request("GET /health")).toMatch(/\r\n\r\n\{"status":"ok"\}$/);
  expect(await sidecar.request("GET /health?x")).toMatch(/\r\n\r\n\{"status":"ok"\}$/);
  for (const path of ["/health/", "/%68ealth", "//health"]) {
    expect(status(await sidecar.request(`GET ${path}`)), path).toBe(401);
  }
});

test("the proof is the HMAC of the protocol's example", async () => {
  const sidecar = await startPrivate("fetch.mjs", { env: { PORT: "4242" } });
  const answer = await sidecar.request("GET /health", "Pillion-Challenge: 000102030405060708090a0b0c0d0e0f");
  expect(header(answer, "Pillion-Proof")).toEqual([
    "075d8c258d7f4bdad54f7efb6ff7d6ec756b38a443da989440c833fa0e55f806",
  ]);
  expect(header(await sidecar.request("GET /health", "Pillion-Challenge: 00"), "Pillion-Proof")).toEqual([]);
});

test("the token is neither in the environment nor in the headers that a handler sees", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const answer = await sidecar.request(
    "GET /seen?x=1",
    BEARER,
    `Proxy-Authorization: Bearer ${TOKEN}`,
    "X-Own: 1",
  );
  expect(status(answer)).toBe(200);
  expect(answer).not.toContain(TOKEN);
  expect(answer).toContain(`http://127.0.0.1:${sidecar.port}/seen?x=1`);
  const seen = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
  expect(seen.raw).toEqual(["Host", `127.0.0.1:${sidecar.port}`, "Connection", "close", "X-Own", "1"]);
  expect(seen.node).toEqual({ host: `127.0.0.1:${sidecar.port}`, connection: "close", "x-own": "1" });
  expect(Object.keys(seen.distinct)).toEqual(["host", "connection", "x-own"]);
  expect(seen.token).toBeNull();
});

test.runIf(process.platform === "linux")("the token leaves /proc/PID/environ", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const environ = readFileSync(`/proc/${sidecar.child.pid}/environ`, "latin1");
  expect(environ).not.toContain(TOKEN);
  expect(environ).toContain(INSTANCE);
});

test("an absolute target of this server is served in origin form", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const ours = `http://127.0.0.1:${sidecar.port}`;
  expect(await sidecar.request(`GET ${ours}/seen`, BEARER)).toContain(`"url":"${ours}/seen"`);
  expect(await sidecar.request(`GET ${ours}/health`)).toMatch(/\{"status":"ok"\}$/);
  expect(status(await sidecar.request(`GET https://127.0.0.1:${sidecar.port}/`, BEARER))).toBe(403);
  expect(status(await sidecar.request("GET http://rebound.example/", BEARER))).toBe(403);
});

test("bodies stream in both directions", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const connection = await sidecar.connect();
  connection.send(`POST /echo HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n${UPLOAD}\r\n\r\n`);
  for (const word of ["first", "second"]) {
    connection.send(`${word.length.toString(16)}\r\n${word}\r\n`);
    await connection.until(`${word}\r\n`);
  }
  connection.send("0\r\n\r\n");
  await connection.until("\r\n0\r\n\r\n");
});

test("a whole body has a length, a stream has none, and HEAD has no body", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const whole = await sidecar.request("GET /", BEARER);
  expect(header(whole, "Content-Length")).toEqual(["6"]);
  const stream = await sidecar.request("GET /stream", BEARER);
  expect(header(stream, "Transfer-Encoding")).toEqual(["chunked"]);
  expect(stream).toContain("chunk 3\n");
  const large = await sidecar.request("GET /large", BEARER);
  expect(large.length).toBeGreaterThan(20_000_000);
  expect(await sidecar.request("HEAD /", BEARER)).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/);
  expect(await sidecar.request("GET /no-content", BEARER)).toMatch(/^HTTP\/1\.1 204 [\s\S]*\r\n\r\n$/);
});

test("headers of the handler stay, except those of CORS", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const answer = await sidecar.request("GET /cookies", BEARER, "Origin: tauri://localhost");
  expect(status(answer)).toBe(201);
  expect(header(answer, "Set-Cookie")).toEqual(["a=1", "b=2"]);
  expect(header(answer, "Vary")).toEqual(["Accept, Origin"]);
  expect(header(answer, "Access-Control-Allow-Origin")).toEqual(["tauri://localhost"]);
});

test("a handler that fails answers 500, and the page can read it", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  for (const path of ["/throws", "/nothing"]) {
    const answer = await sidecar.request(`GET ${path}`, BEARER, "Origin: tauri://localhost");
    expect(status(answer)).toBe(500);
    expect(header(answer, "Access-Control-Allow-Origin")).toEqual(["tauri://localhost"]);
    expect(answer).not.toContain("broken");
  }
  await sidecar.says("the handler is broken");
  await sidecar.says("did not return a Response");
});

test("a body that fails cuts the connection before the end of the message", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const connection = await sidecar.connect();
  connection.send(`GET /breaks HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await connection.until("part\n");
  sidecar.kill("SIGUSR2");
  expect(await connection.rest()).not.toContain("\r\n0\r\n\r\n");
  expect(status(await sidecar.request("GET /", BEARER))).toBe(200);
});

test("a client that goes away aborts the request and cancels the response", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const connection = await sidecar.connect();
  connection.send(`GET /endless HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await connection.until("first\n");
  connection.socket.destroy();
  await sidecar.says("the signal aborted");
  await sidecar.says("the body was cancelled");
});

test("a client that closes its side after its request still gets the answer", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const connection = await sidecar.connect();
  connection.socket.end(
    `POST /sum HTTP/1.1\r\nHost: 127.0.0.1:${sidecar.port}\r\n${BEARER}\r\nContent-Length: 3\r\n\r\nabc`,
  );
  expect(await connection.rest()).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n3$/);
});

test("100 (Continue) is sent after admission, and once the handler reads the body", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const ask = (path: string, ...headers: string[]) =>
    `POST ${path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n${lines(headers)}\r\n`;
  const reads = await sidecar.connect();
  reads.send(ask("/sum", BEARER));
  await reads.until("HTTP/1.1 100 Continue\r\n\r\n");
  reads.send("abc");
  await reads.until("\r\n\r\n3");
  const refused = await sidecar.connect();
  refused.send(ask("/sum"));
  expect(status(await refused.rest())).toBe(401);
  const ignores = await sidecar.connect();
  ignores.send(ask("/early", BEARER));
  const answer = await ignores.rest();
  expect(status(answer)).toBe(413);
  expect(header(answer, "Connection")).toEqual(["close"]);
});

test("an early answer reaches a client that is still sending", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const body = "x".repeat(8_000_000);
  for (const [path, headers, wanted] of [
    ["/sum", [], 401],
    ["/early", [BEARER, "Connection: close"], 413],
  ] as const) {
    const connection = await sidecar.connect();
    connection.send(
      `POST ${path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: ${body.length}\r\n${lines(headers)}\r\n${body}`,
    );
    expect(status(await connection.rest()), path).toBe(wanted);
    expect(connection.error).toBeUndefined();
  }
});
