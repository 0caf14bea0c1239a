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

let seq = 0;

export function status(state: Status["state"], rest: Partial<Status> = {}): Status {
  seq += 1;
  const url =
    rest.port && (state === "ready" || state === "unhealthy") ? `http://127.0.0.1:${rest.port}` : null;
  const nothing = { pid: null, port: null, url, version: null };
  const noReason = { reason: null, failure: null, exit: null, restarts: 0 };
  return { sidecar: "backend", seq, at: 1_700_000_000_000 + seq, state, ...nothing, ...noReason, ...rest };
}

export function health(rest: Partial<Health> = {}): Health {
  return { status: "ok", app: "AIOS", timestamp: 1_700_000_000_000, uptime: 61.5, version: "1.2.3", ...rest };
}

/** `Promise.withResolvers`, which Node 20 does not have. */
export function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A shell whose every answer the test gives: it counts what it was asked, and says what the stream says. */
export class FakeHost implements Pick<Host, "restart" | "watch"> {
  readonly restarts: ReturnType<typeof deferred<Endpoint>>[] = [];
  readonly watches: { onStatus: (status: Status) => void; onError: ((error: Error) => void) | undefined }[] =
    [];
  ended = 0;

  restart(): Promise<Endpoint> {
    const answer = deferred<Endpoint>();
    this.restarts.push(answer);
    return answer.promise;
  }

  watch(onStatus: (status: Status) => void, onError?: (error: Error) => void): () => void {
    this.watches.push({ onStatus, onError });
    return () => {
      this.ended += 1;
    };
  }

  say(status: Status): void {
    this.watches.at(-1)?.onStatus(status);
  }
}

/** A real server on a port of its own, gone when the test ends. */
export async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
