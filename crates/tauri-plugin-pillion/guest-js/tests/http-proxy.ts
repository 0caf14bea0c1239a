/** A fake of the app's proxy for requests: it sends them to a real server. */
import { once } from "node:events";
import { type IncomingMessage, type RequestListener, request as send } from "node:http";
import { PassThrough } from "node:stream";
import { decode, encode } from "../ipc-message.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

export interface RequestHead {
  id: number;
  sidecar: string;
  method: string;
  path: string;
  headers: [string, string][];
  upload?: boolean;
}

const bytes = (buffer: Buffer): ArrayBuffer => new Uint8Array(buffer).buffer;

/**
 * Fakes the app's proxy: it sends the page's requests to a real server with this listener. It reads a chunk of a body only when
 * the page asks for one.
 */
export async function proxied(listener: RequestListener) {
  const plugin = fakePlugin();
  const server = await backend(listener);
  const cancelled = deferred<number>();
  const open = new Map<number, AsyncIterator<Buffer>>();
  const requested: RequestHead[] = [];
  const reads: number[] = [];
  /** The bodies that the page sends in pieces. The server takes a piece before the next one is asked for. */
  const uploads = new Map<number, { body: PassThrough; length: number | null; hasEnded: boolean }>();
  const pieces: number[] = [];
  let held = Promise.resolve();
  let isSuperseded = false;
  const { __TAURI_INTERNALS__: internals } = window as unknown as {
    __TAURI_INTERNALS__: { invoke(command: string, args: unknown): Promise<unknown> };
  };
  const { invoke } = internals;
  internals.invoke = async (command, args) => {
    const { id, place } = args as { id: number; place: number };
    switch (command) {
      case "plugin:pillion|request": {
        const { head: request, body } = decode<RequestHead>((args as Uint8Array<ArrayBuffer>).buffer);
        requested.push(request);
        if (isSuperseded) {
          isSuperseded = false;
          const head = { status: 401, headers: [], ended: true, superseded: true };
          return encode(head, new ArrayBuffer(0)).buffer;
        }
        const { method, path, headers } = request;
        const answer = await new Promise<IncomingMessage>((resolve, reject) => {
          const outgoing = send(
            { port: server.port, method, path, headers: Object.fromEntries(headers) },
            resolve,
          );
          outgoing.on("error", () => reject("the connection broke"));
          const upload = request.upload ? uploads.get(request.id) : undefined;
          if (!upload) return outgoing.end(Buffer.from(body));
          if (upload.length !== null) outgoing.setHeader("content-length", upload.length);
          outgoing.flushHeaders();
          upload.body.pipe(outgoing);
          upload.body.on("error", () => outgoing.destroy());
        });
        answer.once("close", () => {
          const upload = uploads.get(request.id);
          if (upload) upload.hasEnded = true;
        });
        const pairs = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
        const head = { status: answer.statusCode, statusText: answer.statusMessage, headers: pairs };
        if (answer.headers["content-length"] !== undefined) {
          const whole = await answer.toArray();
          return encode({ ...head, ended: true }, bytes(Buffer.concat(whole))).buffer;
        }
        open.set(request.id, answer[Symbol.asyncIterator]());
        return encode({ ...head, ended: false }, new ArrayBuffer(0)).buffer;
      }
      case "plugin:pillion|read": {
        reads.push(place);
        const next = await open
          .get(id)
          ?.next()
          .catch(() => Promise.reject("the connection broke"));
        return next?.done === false ? bytes(next.value) : new ArrayBuffer(0);
      }
      case "plugin:pillion|write": {
        const { head, body } = decode<{ id: number; begin?: { length: number | null }; end?: boolean }>(
          (args as Uint8Array<ArrayBuffer>).buffer,
        );
        if (head.begin) {
          uploads.set(head.id, {
            body: new PassThrough({ highWaterMark: 1 }),
            ...head.begin,
            hasEnded: false,
          });
          return true;
        }
        const upload = uploads.get(head.id);
        if (!upload || upload.hasEnded) return false;
        if (head.end) upload.body.end();
        else {
          pieces.push(body.length);
          await held;
          if (!upload.body.write(Buffer.from(body))) await once(upload.body, "drain");
        }
        return !upload.hasEnded;
      }
      case "plugin:pillion|cancel":
        cancelled.resolve(id);
        uploads.get(id)?.body.destroy(new Error("cancelled"));
        return undefined;
      default:
        return invoke(command, args);
    }
  };
  /** The app takes no piece of a body before this. */
  const hold = (until: Promise<void>) => {
    held = until;
  };
  /** Lets the app say of the next request that the run that it was for has ended. */
  const supersede = () => {
    isSuperseded = true;
  };
  const { name } = plugin;
  const handle = sidecar(name);
  handle.preconnect();
  plugin.sendStatus("ready", { url: "pillion://localhost", pid: 1 });
  return {
    server,
    requested,
    reads,
    pieces,
    hold,
    supersede,
    cancelled: cancelled.promise,
    backend: handle,
    name,
  };
}

export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${String(value)}`)),
    (error: unknown) => error,
  );
}
