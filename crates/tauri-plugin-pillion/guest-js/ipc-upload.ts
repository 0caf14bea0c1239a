/** Sends the bodies of requests in pieces through the app: streams, and whatever is large. */
import { encodeForm, hasFile } from "./form-data.js";
import { call } from "./ipc.js";
import { encode } from "./ipc-message.js";
import { isA } from "./kind.js";

/** A body that is not sent with its request in one call. */
export type UploadBody = ReadableStream<Uint8Array> | Blob;

/** The size of a piece, in bytes; larger chunks of a stream are divided. A body of at most this size is sent with its request. */
export const PIECE = 1024 * 1024;

/** `body` of a `Request` is not a stream in each webview, and some know no request with a stream. */
const bodies = new WeakMap<Request, UploadBody>();

/** A `Request` whose body can be sent in pieces. Throws a `TypeError` as the constructor of `Request` does. */
export function requestWithUpload(url: string, init: RequestInit = {}): Request {
  const body = isA("FormData", init.body) && hasFile(init.body) ? encodeForm(init.body) : init.body;
  if (isA("ReadableStream", body)) {
    if (body.locked) throw new TypeError("the stream in the option body is locked by another reader");
    // As a stream, the empty array has no content type. Fetch forbids both with GET.
    const request = new Request(url, { ...init, body: new Uint8Array(0) });
    bodies.set(request, body);
    return request;
  }
  const request = new Request(url, { ...init, body: body ?? null });
  if (isA("Blob", body)) bodies.set(request, body);
  return request;
}

/** The body of a request: one to be sent in pieces, or its bytes. */
export async function bodyOf(request: Request): Promise<ArrayBuffer | UploadBody> {
  const body = bodies.get(request) ?? request;
  return isA("Request", body) || (isA("Blob", body) && body.size <= PIECE) ? body.arrayBuffer() : body;
}

/** One body on its way to the app. The app takes a piece when it has sent the one before to the sidecar. */
export class Upload {
  readonly #id: number;
  readonly #sidecar: string;
  readonly #length: number | null;
  readonly #chunks: ReadableStreamDefaultReader<Uint8Array>;
  #hasEnded = false;

  /** Throws a `TypeError` if another reader has the stream. */
  constructor(id: number, sidecar: string, body: UploadBody) {
    this.#id = id;
    this.#sidecar = sidecar;
    this.#length = isA("Blob", body) ? body.size : null;
    this.#chunks = (isA("Blob", body) ? slices(body) : body).getReader();
  }

  /** Tells the app of the body, before it gets the request. */
  async begin(): Promise<void> {
    await this.#write({ begin: { sidecar: this.#sidecar, length: this.#length } });
  }

  /** Sends the body to its end, or until the sidecar has answered as a whole. Rejects with the error of the stream. */
  async run(): Promise<void> {
    let chunks: Uint8Array[] = [];
    let size = 0;
    let isDone = false;
    let reading: Promise<void> | null = null;
    let writing: Promise<void> | null = null;
    const read = async () => {
      const { done, value } = await this.#chunks.read();
      reading = null;
      isDone = done;
      if (done) return;
      if (!isA("Uint8Array", value)) throw new TypeError("a chunk of the body is not a Uint8Array");
      chunks.push(value);
      size += value.length;
    };
    const write = async (bytes: Uint8Array<ArrayBuffer>) => {
      for (let at = 0; at < bytes.length && !this.#hasEnded; at += PIECE) {
        await this.#write({}, bytes.subarray(at, at + PIECE));
      }
      writing = null;
    };
    while (!this.#hasEnded) {
      if (isDone && size === 0 && !writing) return this.#write({ end: true });
      // While the app takes a piece, the next one grows. It is sent as it is once the app has taken the one before.
      if (!reading && !isDone && size < PIECE) {
        reading = read();
        reading.catch(() => {});
      }
      if (!writing && size > 0) {
        writing = write(join(chunks, size));
        writing.catch(() => {});
        chunks = [];
        size = 0;
      }
      // It rejects with the first error of both; one that comes later changes nothing.
      await Promise.race([reading, writing].filter((pending) => pending !== null));
    }
  }

  /** Ends the upload, and cancels the stream. */
  stop(reason?: unknown): void {
    this.#hasEnded = true;
    this.#chunks.cancel(reason).catch(() => {});
  }

  async #write(head: object, bytes = new Uint8Array(0)): Promise<void> {
    const isWanted = await call<boolean>("write", encode({ id: this.#id, ...head }, bytes));
    if (!isWanted) this.stop();
  }
}

function join(chunks: Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** `Blob.stream` chooses the size of its chunks, and older webviews lack it. */
function slices(blob: Blob): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      if (at >= blob.size) return controller.close();
      controller.enqueue(new Uint8Array(await blob.slice(at, at + PIECE).arrayBuffer()));
      at += PIECE;
    },
  });
}
