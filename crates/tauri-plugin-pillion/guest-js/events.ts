import { createParser } from "eventsource-parser";
import { onAbort, sleep } from "./abort.js";
import type { ConnectionManager } from "./connection-manager.js";
import type { RunClient } from "./run-client.js";

/** One message of an event stream: https://html.spec.whatwg.org/multipage/server-sent-events.html. */
export interface ServerSentEvent {
  /** The event's type; `message` if the stream names none. */
  event: string;
  data: string;
  /** The last id that the stream has sent; empty before the first. The stream resumes after it. */
  lastEventId: string;
}

export interface EventsOptions {
  /** Ends the iteration without an error. */
  signal?: AbortSignal;
  headers?: HeadersInit;
  /** Resumes a stream after this event, which an earlier iteration has received. */
  lastEventId?: string;
  /** The stream is open, for the first time or again. A stream without ids may have missed events in between. */
  onOpen?: (response: Response) => void;
}

/** The response was not an event stream. As with `EventSource`, this ends the iteration: a retry would not help. */
export class EventStreamError extends Error {
  override readonly name = "EventStreamError";
  readonly response: Response;

  constructor(response: Response) {
    const type = response.headers.get("content-type") ?? "no content type";
    super(`${response.url} responded with ${response.status} and ${type}, which is not an event stream`);
    this.response = response;
  }
}

/** The delay before a stream is requested again, in milliseconds, unless the stream sets another; it doubles with each failure. */
const RETRY_DELAY = 1_000;
const MAX_RETRY_DELAY = 30_000;

/** The minimum of a delay that the stream sets, in milliseconds: `retry: 0` would flood the backend with requests. */
const MIN_RETRY_DELAY = 100;

/** How many connections to one server a webview opens over HTTP/1.1. A stream occupies one as long as it is open. */
const MAX_CONNECTIONS = 6;
/** How many streams are open to each server, by its URL. */
const openStreams = new Map<string, number>();
let hasWarned = false;

/** Counts a stream, and warns once of streams that leave no connection for other requests. Returns the function that ends it. */
function countStream({ url, isLocal }: RunClient): () => void {
  // A sidecar without a port has as many connections as it needs.
  if (isLocal) return () => {};
  const count = (openStreams.get(url) ?? 0) + 1;
  openStreams.set(url, count);
  if (count >= MAX_CONNECTIONS && !hasWarned) {
    hasWarned = true;
    console.warn(
      `pillion: this page has ${count} event streams to ${url}, and a webview opens ${MAX_CONNECTIONS} connections to a server. ` +
        'Further requests wait until a stream ends: send several kinds of events over one stream, or declare "transport": "local".',
    );
  }
  return () => {
    const left = (openStreams.get(url) ?? 1) - 1;
    if (left > 0) openStreams.set(url, left);
    else openStreams.delete(url);
  };
}

/** See `Sidecar.events`. */
export async function* events(
  manager: ConnectionManager,
  path: string,
  options: EventsOptions = {},
): AsyncGenerator<ServerSentEvent, void, void> {
  const end = manager.use();
  try {
    yield* follow(manager, path, options);
  } finally {
    end();
  }
}

async function* follow(
  manager: ConnectionManager,
  path: string,
  options: EventsOptions,
): AsyncGenerator<ServerSentEvent, void, void> {
  const never = new AbortController();
  const { signal = never.signal, onOpen } = options;
  const state = { lastEventId: options.lastEventId ?? "", retryDelay: RETRY_DELAY };
  let failures = 0;

  for (;;) {
    const client = await manager.nextClient(signal);
    if (client === null) return;
    const attempt = new AbortController();
    const unlisten = onAbort([signal, client.gone], () => attempt.abort());
    const endStream = countStream(client);
    try {
      const response = await open(client, path, options.headers, state.lastEventId, attempt.signal);
      if (response?.status === 204) return;
      const isStale = response?.status === 401 && !(await manager.isCurrent(client, signal));
      if (signal.aborted) return;
      if (response?.body && !isStale) {
        if (!isEventStream(response)) throw new EventStreamError(response);
        failures = 0;
        onOpen?.(response);
        yield* read(response.body, state, signal);
      }
    } finally {
      unlisten();
      attempt.abort();
      endStream();
    }
    // The next run is asked at once; the same run after the delay.
    const delay =
      failures === 0
        ? state.retryDelay
        : Math.max(state.retryDelay, Math.min(RETRY_DELAY * 2 ** failures, MAX_RETRY_DELAY));
    failures += 1;
    await sleep(delay, signal, client.gone);
  }
}

/** The response, or null after a network error: https://fetch.spec.whatwg.org/#concept-network-error. */
async function open(
  client: RunClient,
  path: string,
  ownHeaders: HeadersInit | undefined,
  lastEventId: string,
  signal: AbortSignal,
): Promise<Response | null> {
  const headers = new Headers(ownHeaders);
  headers.set("accept", "text/event-stream");
  if (lastEventId !== "") headers.set("last-event-id", toByteString(lastEventId));
  const request = client.request(path, { headers, cache: "no-store", signal });
  return client.fetch(request, signal).catch(() => null);
}

/** The text's bytes in UTF-8, each as one character, as `Headers` takes them: https://webidl.spec.whatwg.org/#idl-ByteString. */
function toByteString(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

function isEventStream({ status, headers }: Response): boolean {
  return status === 200 && /^text\/event-stream\s*(;|$)/i.test(headers.get("content-type") ?? "");
}

/** The messages of one response, until it ends or breaks off. The caller aborts the request. */
async function* read(
  body: ReadableStream<Uint8Array>,
  state: { lastEventId: string; retryDelay: number },
  signal: AbortSignal,
): AsyncGenerator<ServerSentEvent, void, void> {
  let arrived: ServerSentEvent[] = [];
  let id = state.lastEventId;
  const parser = createParser({
    onId: (value) => {
      id = value;
    },
    onEvent: ({ event = "message", data }) => arrived.push({ event, data, lastEventId: id }),
    onRetry: (milliseconds) => {
      state.retryDelay = Math.max(milliseconds, MIN_RETRY_DELAY);
    },
  });
  // The parser removes one byte order mark, and would remove a second one if the decoder removed the first.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true as const, value: undefined }));
    if (done) return;
    parser.feed(decoder.decode(value, { stream: true }));
    for (const event of arrived) {
      if (signal.aborted) return;
      yield event;
    }
    arrived = [];
    state.lastEventId = id;
  }
}
