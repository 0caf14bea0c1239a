import { expect, test } from "vitest";
import { describe, describeExit, describeSpan } from "../src/lib/messages";

test.each([
  [0, "0 s"],
  [59, "59 s"],
  [60, "1 min 00 s"],
  [3_599, "59 min 59 s"],
  [3_600, "1 h 00 min 00 s"],
  [86_399, "23 h 59 min 59 s"],
  [86_400, "1 d 00 h 00 min"],
  [200_000, "2 d 07 h 33 min"],
])("a duration of %i s reads %s", (seconds, text) => {
  expect(describeSpan(seconds)).toBe(text);
});

test("an exit is a signal, a code or unknown", () => {
  expect(describeExit({ code: 3, signal: null })).toBe("exit code 3");
  expect(describeExit({ code: -1, signal: null })).toBe("exit code -1");
  expect(describeExit({ code: -1073741515, signal: null })).toBe("exit code 0xC0000135");
  expect(describeExit({ code: null, signal: 15 })).toBe("signal 15");
  expect(describeExit({ code: null, signal: null })).toBeNull();
});

test("a message from Rust becomes a sentence", () => {
  const describeMessage = (message: string) =>
    describe({ state: "error", failure: { kind: "spawn", message, exit: null, tail: [] } }, null).sentence;
  expect(describeMessage("no such file")).toBe("No such file.");
  expect(describeMessage("Is it installed?")).toBe("Is it installed?");
});

test("a restart shows its reason, and the count from the second restart on", () => {
  const describeRestart = (restarts: number) =>
    describe({ state: "restarting", reason: "it was killed by SIGKILL", restarts }, null);
  expect(describeRestart(1)).toEqual({ label: "Backend restarting…", sentence: "It was killed by SIGKILL." });
  expect(describeRestart(3).sentence).toBe("It was killed by SIGKILL. Restarts so far: 3.");
});
