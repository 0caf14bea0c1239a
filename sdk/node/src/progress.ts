/** Rule 2 of docs/protocol.md: says how far the sidecar is. */
import { writeSync } from "node:fs";

/** How many bytes of UTF-8 the words have at most. */
const LIMIT = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: it finds control characters
const SPACES = /[\u0000-\u0020\u007f-\u009f]+/g;

/**
 * Says how far the sidecar is, such as `loading model 42%`: in a line on stdout, which the app, its page and `pillion run` show.
 * Empty words withdraw the last ones. Call it at any time, even before `serve`: where the declaration has `readyTimeoutMaxMs`, each
 * call gives the start more time.
 *
 * The host keeps 256 bytes of the words, and shows the last ones at most four times a second. Control characters become spaces.
 * Returns after the line is written; throws if stdout is closed.
 */
export function progress(words: string): void {
  const line = Buffer.from(progressLine(words));
  // Directly to the descriptor: a stream may keep the line in memory.
  for (let written = 0; written < line.length; ) {
    try {
      written += writeSync(1, line, written);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "EAGAIN") throw new Error(`cannot write the progress to stdout: ${message}`);
      // A full pipe that another holder has made non-blocking. The host reads it soon.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/** The line that says these words. */
export function progressLine(words: string): string {
  const bytes = Buffer.from(words.replace(SPACES, " ").replace(/^ | $/g, ""));
  let end = Math.min(bytes.length, LIMIT);
  // A byte 10xxxxxx continues a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `BACKEND_STATUS:${bytes.toString("utf8", 0, end).replace(/ $/, "")}\n`;
}
