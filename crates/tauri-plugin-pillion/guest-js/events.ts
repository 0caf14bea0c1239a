import { createParser } from "eventsource-parser";
import type { Connection } from "./connection.js";
import type { Line } from "./line.js";
import { onAbort, sleep } from "./signals.js";

/** One message of an event stream: https://html.spec.whatwg.org/multipage/server-sent-events.html. */
export interface ServerSentEvent {
  /** What the stream calls it; `message` where it has no name. */
  event: string;
  data: string;
  /** What the stream would be resumed after; empty where it has named no id yet. */
  lastEventId: string;
}

export interface EventsOptions {
  /** Ends the iteration, quietly: whoever aborts it knows. */
  signal?: AbortSignal;
  headers?: HeadersInit;
  /** Resumes a stream that an earlier iteration left after this event. */
  lastEventId?: string;
  /** The stream is there, for the first time or again. A stream without ids may have missed something in between. */
  onOpen?: (response: Response) => void;
}

/** The answer was no event stream. As with `EventSource`, that ends the iteration: asking again would not help. */
export class EventStreamError extends Error {
  override readonly name = "EventStreamError";
  readonly response: Response;

  constructor(response: Response) {
    const type = response.headers.get("content-type") ?? "no content type";
    super(`${response.url} answered ${response.status} with ${type}, and not with an event stream`);
    this.response = response;
  }
}

/** Before a stream is asked for again, in milliseconds, unless it wishes otherwise; doubled while it is asked in vain. */
const PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;

/** `Sidecar.events`. */
export async function* events(
  line: Line,
  path: string,
  options: EventsOptions = {},
): AsyncGenerator<ServerSentEvent, void, void> {
  const never = new AbortController();
  const { signal = never.signal, onOpen } = options;
  const state = { lastEventId: options.lastEventId ?? "", pause: PAUSE };
  let vain = 0;

  for (;;) {
    const connection = await line.reconnection(signal);
    if (connection === null) return;
    const here = new AbortController();
    const deaf = onAbort([signal, connection.gone], () => here.abort());
    try {
      const response = await open(connection, path, options.headers, state.lastEventId, here.signal);
      if (response?.status === 204) return;
      const refused = response?.status === 401 && !(await line.isCurrent(connection, signal));
      if (signal.aborted) return;
      if (response?.body && !refused) {
        if (!isEventStream(response)) throw new EventStreamError(response);
        vain = 0;
        onOpen?.(response);
        yield* read(response.body, state, signal);
      }
    } finally {
      deaf();
      here.abort();
    }
    // Another run is asked at once; the same one after a pause.
    const pause =
      vain === 0 ? state.pause : Math.max(state.pause, Math.min(PAUSE * 2 ** vain, LONGEST_PAUSE));
    vain += 1;
    await sleep(pause, signal, connection.gone);
  }
}

/** The answer, or null where there was none: https://fetch.spec.whatwg.org/#concept-network-error. */
async function open(
  connection: Connection,
  path: string,
  given: HeadersInit | undefined,
  lastEventId: string,
  signal: AbortSignal,
): Promise<Response | null> {
  const headers = new Headers(given);
  headers.set("accept", "text/event-stream");
  if (lastEventId !== "") headers.set("last-event-id", utf8(lastEventId));
  const request = connection.request(path, { headers, cache: "no-store", signal });
  return connection.fetch(request).catch(() => null);
}

/** A header is bytes, which a string of as many characters stands for: https://webidl.spec.whatwg.org/#idl-ByteString. */
function utf8(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

function isEventStream({ status, headers }: Response): boolean {
  return status === 200 && /^text\/event-stream\s*(;|$)/i.test(headers.get("content-type") ?? "");
}

/** The messages of one answer, to its end, however it ends. Whoever began the request ends it when this is left. */
async function* read(
  body: ReadableStream<Uint8Array>,
  state: { lastEventId: string; pause: number },
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
      state.pause = milliseconds;
    },
  });
  // The parser takes the byte order mark away, and would take a second one if the decoder took the first.
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
