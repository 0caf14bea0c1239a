/** The platform's types that a caller may pass as data. */
interface Kinds {
  ArrayBuffer: ArrayBuffer;
  Blob: Blob;
  FormData: FormData;
  ReadableStream: ReadableStream<Uint8Array>;
  Request: Request;
  Uint8Array: Uint8Array<ArrayBuffer>;
}

/** A `File` is a `Blob`. */
const SUBTYPES: Partial<Record<keyof Kinds, string>> = { Blob: "File" };

/**
 * Whether a value is of this type of the platform. A value of a frame or of another window of the same origin is not an instance of this
 * window's type, and the platform's `fetch` and `WebSocket` take it all the same.
 */
export function isA<Kind extends keyof Kinds>(kind: Kind, value: unknown): value is Kinds[Kind] {
  const type = (globalThis as Record<string, unknown>)[kind];
  if (typeof type === "function" && value instanceof type) return true;
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  return tag === kind || tag === SUBTYPES[kind];
}
