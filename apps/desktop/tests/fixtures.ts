import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { Endpoint } from "tauri-plugin-pillion-api";
import { onTestFinished } from "vitest";
import type { Health } from "../src/lib/api";
import type { Failure, Host, Status } from "../src/lib/tauri";

export const failure: Failure = {
  kind: "crashed",
  message: "the backend was killed by signal 9",
  detail: { sidecar: "backend", exit: { code: null, signal: 9 }, tail: ["listening", "out of memory"] },
};

/** The usual readiness in each state. */
const readinessOf: Record<Status["state"], Status["readiness"]> = {
  idle: "idle",
  waiting: "pending",
  starting: "pending",
  ready: "up",
  unhealthy: "up",
  stopping: "pending",
  backingOff: "pending",
  stopped: "down",
  failed: "down",
};

let seq = 0;

export function status(state: Status["state"], rest: Partial<Status> = {}): Status {
  seq += 1;
  const readiness = rest.readiness ?? readinessOf[state];
  const url = rest.port && readiness === "up" ? `http://127.0.0.1:${rest.port}` : null;
  const endpoint = { pid: null, started: null, port: null, url, version: null, progress: null };
  const cause = { reason: null, failure: null, exit: null, restarts: 0 };
  return {
    sidecar: "backend",
    seq,
    at: 1_700_000_000_000 + seq,
    state,
    readiness,
    ...endpoint,
    ...cause,
    ...rest,
  };
}

export function health(rest: Partial<Health> = {}): Health {
  return { status: "ok", app: "AIOS", timestamp: 1_700_000_000_000, uptime: 61.5, version: "1.2.3", ...rest };
}

/** `Promise.withResolvers`, which Node 20 lacks. */
export function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** What `BackendClient` needs of a host, with a `fetch` that the test provides. */
export function hostWith(fetch: Host["fetch"]): Pick<Host, "fetch" | "baseUrl"> {
  return { baseUrl: "http://sidecar.invalid", fetch };
}

/** A host whose responses and statuses the test provides. */
export class FakeHost implements Pick<Host, "restart" | "watch"> {
  readonly restarts: ReturnType<typeof deferred<Endpoint>>[] = [];
  readonly watches: { onStatus: (status: Status) => void; onError: ((error: Error) => void) | undefined }[] =
    [];
  ended = 0;

  restart(): Promise<Endpoint> {
    const response = deferred<Endpoint>();
    this.restarts.push(response);
    return response.promise;
  }

  watch(onStatus: (status: Status) => void, onError?: (error: Error) => void): () => void {
    this.watches.push({ onStatus, onError });
    return () => {
      this.ended += 1;
    };
  }

  send(status: Status): void {
    this.watches.at(-1)?.onStatus(status);
  }
}

/** A real server on a port of its own, closed when the test ends. */
export async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
