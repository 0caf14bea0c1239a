/**
 * Chunks of a large body as events, which a webview may pass on faster than the answer of a call. src/chunk_event.rs is the other side, and
 * decides.
 */
import { call } from "./ipc.js";

type FromBase64 = (text: string) => Uint8Array<ArrayBuffer>;

/** Whether this page can take such an event. The app dispatches it in the main frame. */
function canReceive(): boolean {
  return "fromBase64" in Uint8Array && globalThis.top === globalThis.window;
}

/** Asks for the chunk at this place of a body; with `isLarge`, it may come as an event. Empty at the end of the body. */
export async function readChunk(
  id: number,
  place: number,
  isLarge: boolean,
): Promise<Uint8Array<ArrayBuffer>> {
  if (!isLarge || !canReceive()) {
    return new Uint8Array(await call<ArrayBuffer | number[]>("read", { id, place }));
  }
  // A secret: a page that follows this one does not know it.
  const event = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const type = `pillion-chunk-${event}`;
  let chunk: Uint8Array<ArrayBuffer> | null = null;
  const listener = (event: Event) => {
    const { fromBase64 } = Uint8Array as unknown as { fromBase64: FromBase64 };
    chunk = fromBase64.call(Uint8Array, (event as CustomEvent<string>).detail);
  };
  addEventListener(type, listener, { once: true });
  try {
    const answer = await call<ArrayBuffer | number[] | null>("read", { id, place, event });
    if (answer !== null) return new Uint8Array(answer);
    if (chunk === null) throw new Error("a chunk of the body did not arrive");
    return chunk;
  } finally {
    removeEventListener(type, listener);
  }
}
