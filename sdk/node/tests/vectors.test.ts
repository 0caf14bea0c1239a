/** Runs the vectors of docs/protocol, which are the same for every implementation. Its README.md describes them. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { progressLine } from "../src/progress.js";
import { bodyOf, header, launch, type Sidecar, start, status } from "./harness.js";
import { type Listener, listener, portsOf } from "./listeners.js";

interface Answer {
  readonly name: string;
  readonly environment: string;
  readonly request: readonly string[];
  readonly body?: string;
  readonly on?: readonly string[];
  readonly status: readonly number[];
  readonly handler: boolean | null;
  readonly headers?: Record<string, string>;
  readonly listed?: Record<string, readonly string[]>;
  readonly absent?: readonly string[];
  readonly json?: unknown;
  readonly json_has?: Record<string, unknown>;
  readonly proof?: string | null;
  readonly chosen?: string | null;
  readonly sees?: readonly string[];
}

interface Requests {
  readonly token: string;
  readonly instance: string;
  readonly environments: Record<string, Record<string, string>>;
  readonly vectors: readonly Answer[];
}

interface Outcome {
  readonly starts: boolean;
  readonly hides?: string;
  readonly listens?: "any" | "port" | "descriptor";
  readonly private?: boolean;
  readonly instance?: string | null;
  readonly allows?: readonly string[];
  readonly refuses?: readonly string[];
}

interface Environment {
  readonly name: string;
  readonly platform?: string;
  readonly environment: Record<string, string>;
  readonly descriptor3?: string;
  readonly outcome: Outcome;
}

function read<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../../docs/protocol/${name}.json`, import.meta.url), "utf8"),
  ) as T;
}

const { lines } = read<{ lines: { name: string; words: string; line: string }[] }>("progress");
test.each(lines)("progress: $name", ({ words, line }) => {
  expect(progressLine(words)).toBe(line);
});

const isWindows = process.platform === "win32";
/** Each file with the servers that can answer it: a fetch-style handler accepts no WebSocket. */
const FILES = [
  ["admission", "fetch"],
  ["admission", "node"],
  ["proof", "fetch"],
  ["websocket", "node"],
] as const;
const TRANSPORTS = isWindows ? ["tcp"] : ["tcp", "socket"];

for (const [file, server] of FILES) {
  const { token, instance, environments, vectors } = read<Requests>(file);
  for (const [environment, variables] of Object.entries(environments)) {
    const ours = vectors.filter((vector) => vector.environment === environment);
    if (ours.length === 0) continue;
    describe.each(TRANSPORTS)(`${file}, ${server}, ${environment}, on a %s`, (transport) => {
      let sidecar: Sidecar;
      let inherited: Listener | undefined;
      beforeAll(async () => {
        const activation = { LISTEN_PID: "{pid}", LISTEN_FDS: "1", LISTEN_FDNAMES: "http" };
        if (transport === "socket") inherited = await listener("unix");
        sidecar = launch("vectors.mjs", {
          arguments: [server],
          env: { ...variables, ...(inherited === undefined ? {} : activation) },
          inherit: inherited?.descriptor,
        });
        expect(await sidecar.announced()).toMatch(
          inherited === undefined ? /^BACKEND_PORT:\d+\n$/ : "BACKEND_SOCKET:3\n",
        );
        inherited?.handOver();
        sidecar.path = inherited?.path;
      });
      afterAll(() => {
        sidecar.kill("SIGKILL");
        inherited?.close();
      });

      const here = ours.filter(({ on }) => on === undefined || on.includes(transport));
      test.each(here)("$name", async (vector) => {
        const fill = (text: string) =>
          text
            .replaceAll("{port}", `${sidecar.path === undefined ? sidecar.port : 1}`)
            .replaceAll("{host}", sidecar.host)
            .replaceAll("{token}", token)
            .replaceAll("{instance}", instance);
        const connection = await sidecar.connect();
        connection.send(fill(`${vector.request.join("\r\n")}\r\n\r\n${vector.body ?? ""}`));
        compare(
          await connection.answer(vector.request[0]?.startsWith("HEAD ") ?? false),
          vector,
          fill,
          sidecar.host,
        );
      });
    });
  }

  function compare(answer: string, vector: Answer, fill: (text: string) => string, host: string): void {
    expect(vector.status, answer).toContain(status(answer));
    if (vector.handler !== null)
      expect(header(answer, "x-handler"), answer).toEqual(vector.handler ? ["reached"] : []);
    for (const [name, value] of Object.entries(vector.headers ?? {})) {
      expect(header(answer, name), answer).toEqual([fill(value)]);
    }
    for (const [name, elements] of Object.entries(vector.listed ?? {})) {
      const listed = elementsOf(answer, name).map((element) => element.toLowerCase());
      expect(listed, answer).toEqual(
        expect.arrayContaining(elements.map((element) => element.toLowerCase())),
      );
    }
    for (const name of vector.absent ?? []) expect(header(answer, name), answer).toEqual([]);
    if (vector.json !== undefined) expect(JSON.parse(bodyOf(answer))).toEqual(filled(vector.json, fill));
    if (vector.json_has !== undefined) {
      expect(JSON.parse(bodyOf(answer))).toMatchObject(filled(vector.json_has, fill) as object);
    }
    if (vector.proof !== undefined) {
      const message = `pillion-health ${host} ${vector.proof}`;
      const proof = createHmac("sha256", token).update(message).digest("hex");
      expect(header(answer, "Pillion-Proof"), answer).toEqual(vector.proof === null ? [] : [proof]);
    }
    if (vector.chosen !== undefined) {
      expect(header(answer, "Sec-WebSocket-Protocol"), answer).toEqual(
        vector.chosen === null ? [] : [vector.chosen],
      );
    }
    if (vector.sees !== undefined) expect(elementsOf(answer, "x-subprotocols"), answer).toEqual(vector.sees);
  }
}

function elementsOf(answer: string, name: string): string[] {
  const elements = header(answer, name).flatMap((value) => value.split(","));
  return elements.map((element) => element.trim()).filter((element) => element !== "");
}

const filled = (value: unknown, fill: (text: string) => string): unknown =>
  JSON.parse(fill(JSON.stringify(value)));

const { vectors: environments, token } = read<{ vectors: readonly Environment[]; token: string }>(
  "environment",
);
const matches = ({ platform }: Environment) =>
  platform === undefined ||
  { unix: !isWindows, linux: process.platform === "linux", windows: isWindows }[platform];

describe("environment", () => {
  test.each(environments.filter(matches))("$name", async ({ environment, descriptor3, outcome }) => {
    const taken = createServer().listen(0, "127.0.0.1");
    const free = createServer().listen(0, "127.0.0.1");
    await Promise.all([once(taken, "listening"), once(free, "listening")]);
    onTestFinished(() => void taken.close());
    const freePort = (free.address() as AddressInfo).port;
    if (outcome.listens === "port") {
      free.close();
      await once(free, "close");
    } else {
      // It stays open, so that the system does not choose it for the sidecar by chance.
      onTestFinished(() => void free.close());
    }
    const inherited = descriptor3 === undefined ? undefined : await listener(descriptor3);
    onTestFinished(() => inherited?.close());
    const fill = (value: string) =>
      value
        .replaceAll("{free}", `${freePort}`)
        .replaceAll("{taken}", `${(taken.address() as AddressInfo).port}`)
        .replaceAll("{ppid}", `${process.pid}`);
    const env = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, fill(value)]));
    const sidecar = start("vectors.mjs", { arguments: ["fetch"], env, inherit: inherited?.descriptor });
    if (!outcome.starts) {
      expect(await sidecar.end()).not.toBe(0);
      expect(sidecar.stderr).not.toBe("");
      expect(sidecar.stdout).toBe("");
    } else {
      const line = await sidecar.announced();
      inherited?.handOver();
      if (outcome.listens === "descriptor") sidecar.path = inherited?.path;
      expect(line).toBe(sidecar.path === undefined ? `BACKEND_PORT:${sidecar.port}\n` : "BACKEND_SOCKET:3\n");
      if (outcome.listens === "port") expect(sidecar.port).toBe(freePort);
      if (outcome.listens === "descriptor") expect(sidecar.port).toBe(inherited?.port);
      if (outcome.listens === "any") expect([freePort, inherited?.port]).not.toContain(sidecar.port);
      if (process.platform === "linux") {
        // Descriptor 3 stays open if it is for another process.
        const foreign = outcome.listens === "descriptor" ? undefined : inherited?.port;
        const ports = portsOf(sidecar.child.pid ?? 0).filter((port) => port !== foreign);
        expect(ports).toEqual(sidecar.path === undefined ? [sidecar.port] : []);
      }
      await requests(sidecar, outcome);
    }
    if (outcome.hides !== undefined) expect(sidecar.stdout + sidecar.stderr).not.toContain(outcome.hides);
  });

  async function requests(sidecar: Sidecar, outcome: Outcome): Promise<void> {
    if (outcome.private !== undefined) {
      const answer = await sidecar.request("GET /items");
      expect(status(answer)).toBe(outcome.private ? 401 : 200);
      expect(header(answer, "x-handler")).toEqual(outcome.private ? [] : ["reached"]);
    }
    if (outcome.instance !== undefined) {
      const health = JSON.parse(
        bodyOf(await sidecar.request("GET /health", `Authorization: Bearer ${token}`)),
      );
      expect(health.instance ?? null).toBe(outcome.instance);
    }
    for (const origin of outcome.allows ?? []) {
      const answer = await sidecar.request("GET /health", `Origin: ${origin}`);
      expect(status(answer), origin).toBe(200);
      expect(header(answer, "Access-Control-Allow-Origin")).toEqual([origin]);
    }
    for (const origin of outcome.refuses ?? []) {
      expect(status(await sidecar.request("GET /health", `Origin: ${origin}`)), origin).toBe(403);
    }
  }
});

interface Proof {
  readonly name: string;
  readonly token: string;
  readonly address: string;
  readonly challenge: string;
  readonly proof: string;
}

test.each(read<{ proofs: readonly Proof[] }>("proof").proofs)(
  "proof: $name",
  async ({ token, address, challenge, proof }) => {
    const { Admission } = await import("../src/admission.js");
    const addr = address === "localhost" ? "local" : Number(address.split(":")[1]);
    const rawHeaders = ["Host", address, "Pillion-Challenge", challenge];
    const decision = new Admission(addr, [], token).decide({ method: "GET", target: "/health", rawHeaders });
    expect(decision).toMatchObject({ kind: "alive", proof });
  },
);
