/**
 * Encodes messages of a WebSocket for the IPC, one after another: the opcode of RFC 6455, section 5.2, as one byte; the length of the
 * payload as four bytes, big-endian; the payload. src/proxy/web_socket/messages.rs is the other side.
 */

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;

export interface Message<Payload = Uint8Array<ArrayBuffer>> {
  opcode: number;
  payload: Payload;
}

const HEAD = 5;

export function encodeMessages(messages: Message[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(messages.reduce((sum, { payload }) => sum + HEAD + payload.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { opcode, payload } of messages) {
    bytes[at] = opcode;
    view.setUint32(at + 1, payload.length);
    bytes.set(payload, at + HEAD);
    at += HEAD + payload.length;
  }
  return bytes;
}

/** The payloads share the memory of `bytes`. */
export function* decodeMessages(bytes: Uint8Array<ArrayBuffer>): Generator<Message> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length; ) {
    const end = at + HEAD + view.getUint32(at + 1);
    yield { opcode: bytes[at] as number, payload: bytes.subarray(at + HEAD, end) };
    at = end;
  }
}
