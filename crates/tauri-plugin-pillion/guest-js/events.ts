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
  return client.fetch(request).catch(() => null);
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
