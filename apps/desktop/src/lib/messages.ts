/** All texts that the app shows. */
import type { ConnectingStep, ConnectionState, FailureDetails } from "./connection-state";
import type { Exit } from "./tauri";

const FAILURES: Record<FailureDetails["kind"], string> = {
  unknownSidecar: "Backend not configured",
  spawn: "Backend could not be started",
  mismatch: "Backend is not the one that this app expects",
  exitedEarly: "Backend ended while starting",
  readyTimeout: "Backend took too long to start",
  crashed: "Backend crashed",
  memoryLimit: "Backend used too much memory",
  hung: "Backend stopped responding",
  dependency: "Backend cannot start yet",
  noPort: "Backend has no port",
  stopped: "Backend stopped",
  unavailable: "Backend unavailable",
  interrupted: "Backend interrupted",
  network: "Backend unreachable",
  timeout: "Backend not responding",
  http: "Backend reports an error",
  decode: "Invalid response from the backend",
  aborted: "Request cancelled",
};

const STEPS: Record<ConnectingStep, { label: string; sentence: string }> = {
  watching: { label: "Connecting", sentence: "Looking for the backend." },
  waiting: { label: "Connecting", sentence: "The backend is waiting for its dependencies." },
  starting: { label: "Connecting", sentence: "The backend is starting." },
  checking: { label: "Connecting", sentence: "The backend is ready, and its health is being checked." },
  stopping: { label: "Backend stopping…", sentence: "The backend is stopping." },
};

/** A headline and a sentence. The reason in the status takes precedence over the general sentence. */
export function describe(
  connection: ConnectionState,
  port: number | null,
): { label: string; sentence: string } {
  switch (connection.state) {
    case "connecting": {
      const { label, sentence: general } = STEPS[connection.step];
      return { label, sentence: connection.reason === null ? general : sentence(connection.reason) };
    }
    case "idle":
      return { label: "Backend idle", sentence: sentence(connection.reason ?? "Its next use starts it") };
    case "connected":
      return { label: "Backend connected", sentence: `Serving at 127.0.0.1:${port}.` };
    case "unhealthy":
      return {
        label: "Backend is slow to respond",
        sentence: sentence(connection.reason ?? "It still runs, and may recover"),
      };
    case "restarting":
      return { label: "Backend restarting…", sentence: restarting(connection.reason, connection.restarts) };
    case "error":
      return { label: FAILURES[connection.failure.kind], sentence: sentence(connection.failure.message) };
  }
}

/** The count is shown from the second restart on. */
function restarting(reason: string | null, restarts: number): string {
  const cause = sentence(reason ?? "It ended unexpectedly");
  return restarts > 1 ? `${cause} Restarts so far: ${restarts}.` : cause;
}

/** How a process ended, or null if the system did not say. */
export function describeExit({ code, signal }: Exit): string | null {
  if (signal !== null) return `signal ${signal}`;
  if (code === null) return null;
  // Such codes are statuses of Windows, which are known by their hexadecimal digits: 0xC0000135 for a missing DLL.
  return `exit code ${code < -0xffff ? `0x${(code >>> 0).toString(16).toUpperCase()}` : code}`;
}

const UNITS = [
  { name: "d", seconds: 86_400 },
  { name: "h", seconds: 3_600 },
  { name: "min", seconds: 60 },
  { name: "s", seconds: 1 },
];

/** A duration in whole seconds, in its three largest units: `42 s`, `3 min 07 s`, `5 h 03 min 07 s`, `2 d 05 h 03 min`. */
export function describeSpan(span: number): string {
  const largest = UNITS.findIndex(({ name, seconds }) => span >= seconds || name === "s");
  let rest = span;
  return UNITS.slice(largest)
    .map(({ name, seconds }, index) => {
      const count = Math.floor(rest / seconds);
      rest %= seconds;
      return `${index === 0 ? count : String(count).padStart(2, "0")} ${name}`;
    })
    .slice(0, 3)
    .join(" ");
}

/** Rust's error messages begin in lower case and have no full stop: this function makes them sentences. */
function sentence(message: string): string {
  const text = message.trim();
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
