import { expect, test } from "vitest";
import { BEARER, header, lines, startPrivate, status, TOKEN } from "./harness.js";

const PAGE = "Origin: tauri://localhost";

test("a refusal closes a connection that has shown no token, and no later request on it reaches a handler", async () => {
  const sidecar = await startPrivate("node.mjs");
  const connection = await sidecar.connect();
  const get = (path: string, ...headers: string[]) =>
    `GET ${path} HTTP/1.1\r\nHost: {host}\r\n${lines(headers)}\r\n`;
  connection.send(get("/refused") + get("/hidden", BEARER));
  const answer = await connection.rest();
  expect(status(answer)).toBe(401);
  expect(header(answer, "Connection")).toEqual(["close"]);
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  await sidecar.request("GET /marker", BEARER);
  await sidecar.says("handler: GET /marker");
  expect(sidecar.stderr).not.toContain("/hidden");
  expect(sidecar.stderr).not.toContain("/refused");
});

test("a refusal leaves a connection open that has shown the token", async () => {
  const sidecar = await startPrivate("node.mjs");
  const connection = await sidecar.connect();
  const get = (...headers: string[]) => `GET / HTTP/1.1\r\nHost: {host}\r\n${lines(headers)}\r\n`;
  connection.send(get(BEARER) + get() + get(BEARER));
  await connection.until(/200[\s\S]*401[\s\S]*200[\s\S]*node\n$/);
});

test("a host proves itself and then sends the token on the same connection", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const connection = await sidecar.connect();
  connection.send(
    "GET /health HTTP/1.1\r\nHost: {host}\r\nPillion-Challenge: 000102030405060708090a0b0c0d0e0f\r\n\r\n",
  );
  await connection.until('{"status":"ok"}');
  connection.send(`GET /health HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await connection.until('"version":"1.2.3"');
});

test("errors after the first three checks carry CORS, earlier ones do not", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const unauthorized = await sidecar.request("GET /", PAGE);
  expect(status(unauthorized)).toBe(401);
  expect(header(unauthorized, "Access-Control-Allow-Origin")).toEqual(["tauri://localhost"]);
  expect(header(unauthorized, "Vary")).toEqual(["Origin"]);
  expect(header(unauthorized, "WWW-Authenticate")).toEqual(["Bearer"]);
  const foreign = await sidecar.request("GET /", "Origin: https://example.org", BEARER);
  expect(status(foreign)).toBe(403);
  expect(header(foreign, "Access-Control-Allow-Origin")).toEqual([]);
});

test("a preflight is answered without a handler", async () => {
  const sidecar = await startPrivate("node.mjs");
  const answer = await sidecar.request(
    "OPTIONS /notes",
    PAGE,
    "Access-Control-Request-Method: PUT",
    "Access-Control-Request-Headers: authorization,x-own",
    "Access-Control-Request-Private-Network: true",
  );
  expect(status(answer)).toBe(204);
  expect(header(answer, "Access-Control-Allow-Origin")).toEqual(["tauri://localhost"]);
  expect(header(answer, "Access-Control-Allow-Methods")).toEqual(["PUT"]);
  expect(header(answer, "Access-Control-Allow-Headers")).toEqual(["authorization,x-own"]);
  expect(header(answer, "Access-Control-Allow-Private-Network")).toEqual(["true"]);
  expect(header(answer, "Access-Control-Max-Age")).toEqual(["7200"]);
  expect(sidecar.stderr).not.toContain("handler:");
});

test("an HTTP server keeps the headers and the reason that its handler writes", async () => {
  const sidecar = await startPrivate("node.mjs");
  const answer = await sidecar.request("GET /headers", BEARER, PAGE);
  expect(answer).toMatch(/^HTTP\/1\.1 200 Fine\r\n/);
  expect(header(answer, "X-Own")).toEqual(["1"]);
  expect(header(answer, "Vary")).toEqual(["Accept, Origin"]);
  expect(answer).not.toContain(TOKEN);
  const flat = await sidecar.request("GET /flat", BEARER);
  expect(header(flat, "Set-Cookie")).toEqual(["a=1", "b=2"]);
});

test("a listener that is added after attach sees admitted requests only", async () => {
  const sidecar = await startPrivate("node.mjs");
  await sidecar.request("GET /refused");
  await sidecar.request("GET /served", BEARER);
  await sidecar.says("late: /served");
  expect(sidecar.stderr).not.toContain("/refused");
});

test("a malformed request gets 400, a head that is too long 431", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const malformed = await sidecar.connect();
  malformed.send("nonsense\r\n\r\n");
  expect(status(await malformed.rest())).toBe(400);
  const long = await sidecar.connect();
  long.send(`GET / HTTP/1.1\r\nHost: {host}\r\nX-Long: ${"x".repeat(100_000)}\r\n\r\n`);
  expect(status(await long.rest())).toBe(431);
});

test("a request with none or two Host headers gets 400", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  for (const hosts of ["", "Host: {host}\r\nHost: {host}\r\n"]) {
    const connection = await sidecar.connect();
    connection.send(`GET / HTTP/1.1\r\n${hosts}${BEARER}\r\n\r\n`);
    expect(status(await connection.rest())).toBe(400);
  }
});

test("CONNECT is refused", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  expect(status(await sidecar.request("CONNECT example.org:443", BEARER))).toBe(403);
  expect(status(await sidecar.request(`CONNECT 127.0.0.1:${sidecar.port}`))).toBe(401);
  expect(status(await sidecar.request(`CONNECT 127.0.0.1:${sidecar.port}`, BEARER))).toBe(405);
});

test("a connection without a token is closed, one with a token is not", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const shown = await sidecar.connect();
  shown.send(`GET / HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await shown.until("hello\n");
  const silent = await sidecar.connect();
  await silent.rest();
  shown.send(`GET /cookies HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await shown.until("cookies\n");
});

test("connections without a token make room for a new one", async () => {
  const sidecar = await startPrivate("fetch.mjs");
  const silent = await Promise.all(Array.from({ length: 192 }, () => sidecar.connect()));
  const ours = await sidecar.connect();
  ours.send(`GET / HTTP/1.1\r\nHost: {host}\r\n${BEARER}\r\n\r\n`);
  await ours.until("hello\n");
  await Promise.race(silent.map((connection) => connection.rest()));
});
