/** Adapts a fetch-style handler, `(Request) => Response`, to `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { log } from "./listen.js";

/** The Node objects of a request, for what `Request` does not offer. Their headers do not contain the token. */
export interface NodeRequest {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/** A fetch-style handler, such as `app.fetch` of Hono. */
export type FetchHandler = (request: Request, node: NodeRequest) => Response | Promise<Response>;

/**
 * Answers one request. An error of the handler becomes a 500, and goes to stderr. An error of the response's body cuts the
 * connection, so that the client can tell.
 *
 * `expects`: the client waits for 100 (Continue) before it sends the body (RFC 9110, section 10.1.1). It is sent once the handler
 * reads the body.
 */
export async function respond(
  handler: FetchHandler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  expects: boolean,
): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  let response: Response;
  try {
    const request = toRequest(incoming, outgoing, gone.signal, expects);
    if (request === undefined) return end(outgoing, 501, "this server does not serve this method\n");
    response = await handler(request, { incoming, outgoing });
    if (!(response instanceof Response) && !isResponse(response)) {
      throw new TypeError("the handler did not return a Response");
    }
  } catch (error) {
    // The handler may fail because the client has gone.
    if (!gone.signal.aborted) log(`a handler failed: ${describe(error)}`);
    return end(outgoing, 500, "Internal Server Error\n");
  }
  try {
    await send(response, incoming, outgoing);
  } catch (error) {
    if (!gone.signal.aborted) log(`a response failed: ${describe(error)}`);
    if (!outgoing.headersSent) return end(outgoing, 500, "Internal Server Error\n");
    outgoing.destroy();
  }
}

/** A `Response` of another implementation, such as a polyfill. */
function isResponse(value: unknown): value is Response {
  const { status, headers } = (value ?? {}) as Partial<Response>;
  return typeof status === "number" && typeof headers?.get === "function";
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function end(outgoing: ServerResponse, status: number, text: string): void {
  if (outgoing.headersSent || outgoing.destroyed) return void outgoing.destroy();
  outgoing.statusCode = status;
  outgoing.setHeader("Content-Type", "text/plain; charset=utf-8");
  outgoing.end(text);
}

/** The request, or undefined if its method cannot be expressed (https://fetch.spec.whatwg.org/#forbidden-method). */
function toRequest(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
  expects: boolean,
): Request | undefined {
  const { method = "GET", url = "/", rawHeaders } = incoming;
  if (["CONNECT", "TRACE", "TRACK"].includes(method)) return undefined;
  const headers = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  }
  // Admission has checked Host. A path such as `//x` must not be taken for an authority.
  const address = `http://${headers.get("host")}${url === "*" ? "/*" : url}`;
  if (method === "GET" || method === "HEAD") return new Request(address, { method, headers, signal });
  const hasBody = headers.has("content-length") || headers.has("transfer-encoding");
  const body = hasBody ? bodyOf(incoming, outgoing, expects) : null;
  return new Request(address, { method, headers, signal, body, duplex: "half" });
}

/** The body as a stream that reads no further than the handler does. To cancel it leaves the connection open. */
function bodyOf(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  expects: boolean,
): ReadableStream<Uint8Array> {
  let chunks: AsyncIterator<Buffer> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (chunks === undefined) {
          if (expects && !outgoing.headersSent) outgoing.writeContinue();
          chunks = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
        }
        const { value, done } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      },
      async cancel() {
        await chunks?.return?.();
        incoming.resume();
      },
    },
    { highWaterMark: 0 },
  );
}

async function send(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { status, statusText, headers, body } = response;
  for (const [name, value] of headers) if (name !== "set-cookie") outgoing.setHeader(name, value);
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader("Set-Cookie", cookies);
  outgoing.statusCode = status;
  if (statusText !== "") outgoing.statusMessage = statusText;
  if (body === null) return void outgoing.end();
  if (incoming.method === "HEAD") {
    await body.cancel();
    return void outgoing.end();
  }
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  outgoing.once("close", cancel);
  const first = await reader.read();
  if (first.done) return void outgoing.end();
  // Most bodies have one chunk: then `end` sends it with its length. A stream must not wait for its second chunk.
  let next = reader.read();
  // It may fail while the first chunk still waits for the client.
  next.catch(() => {});
  const whole = await Promise.race([
    next,
    new Promise<undefined>((resolve) => setImmediate(resolve, undefined)),
  ]);
  if (whole?.done) return void outgoing.end(first.value);
  await write(outgoing, first.value);
  for (let chunk = await next; !chunk.done; chunk = await next) {
    await write(outgoing, chunk.value);
    next = reader.read();
  }
  outgoing.end();
}

/** Writes a chunk, and waits until the client has read enough for the next one. */
function write(outgoing: ServerResponse, chunk: Uint8Array): Promise<void> | undefined {
  if (outgoing.destroyed || outgoing.write(chunk)) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off("drain", done).off("close", done);
      resolve();
    };
    outgoing.once("drain", done).once("close", done);
  });
}
