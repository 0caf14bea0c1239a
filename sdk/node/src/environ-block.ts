/**
 * Overwrites the token in the initial environment block. `/proc/PID/environ` keeps showing that memory after the program has
 * unset a variable (https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html), and other programs of the user and crash
 * collectors read it there.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

const NAME = "PILLION_TOKEN=";
const DIGITS = 64;

/** Call it after the variable is unset, so that the runtime does not use the memory any more. Linux only; elsewhere, no effect. */
export function overwriteToken(): void {
  if (process.platform !== "linux") return;
  try {
    const offset = tokenOffset(readFileSync("/proc/self/environ"));
    if (offset === undefined) return;
    // The second field is the program's name in parentheses, and may hold anything; the 50th is `env_start`
    // (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
    const stat = readFileSync("/proc/self/stat", "latin1");
    const start = Number(stat.slice(stat.lastIndexOf(") ") + 2).split(" ")[50 - 3]);
    if (!Number.isSafeInteger(start) || start <= 0) return;
    const memory = openSync("/proc/self/mem", "r+");
    try {
      writeSync(memory, Buffer.alloc(DIGITS, "-"), 0, DIGITS, start + offset);
    } finally {
      closeSync(memory);
    }
  } catch {
    // A sandbox without /proc: then other programs cannot read the token there either, or the host has to hide it.
  }
}

/** The offset of the token's value in an environment block, if the value has the length of a token. */
export function tokenOffset(block: Buffer): number | undefined {
  for (let start = 0; start < block.length; ) {
    const nul = block.indexOf(0, start);
    const end = nul < 0 ? block.length : nul;
    if (
      end - start === NAME.length + DIGITS &&
      block.toString("latin1", start, start + NAME.length) === NAME
    ) {
      return start + NAME.length;
    }
    start = end + 1;
  }
  return undefined;
}
