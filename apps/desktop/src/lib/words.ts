/** The words for what the app knows, in one place. */
import type { Link, Step, Trouble } from "./connection";
import type { Exit } from "./tauri";

const TROUBLES: Record<Trouble["kind"], string> = {
  unknownSidecar: "Backend not configured",
  spawn: "Backend could not be started",
  exitedEarly: "Backend ended while starting",
  readyTimeout: "Backend took too long to start",
  crashed: "Backend crashed",
  stopped: "Backend stopped",
  unavailable: "Backend unavailable",
  network: "Backend out of reach",
  timeout: "Backend not responding",
  http: "Backend unwell",
  decode: "Backend not understood",
  aborted: "Request cancelled",
};

const STEPS: Record<Step, string> = {
  asking: "Looking for the backend.",
  starting: "The backend is starting.",
  checking: "The backend is up, and is being asked how it is.",
  stopping: "The backend is stopping.",
};

/** A headline and a sentence. */
export function describe(link: Link): { label: string; sentence: string } {
  switch (link.state) {
    case "connecting":
      return { label: "Connecting", sentence: STEPS[link.step] };
    case "connected":
      return { label: "Backend connected", sentence: `Answering at 127.0.0.1:${link.port}.` };
    case "error":
      return { label: TROUBLES[link.trouble.kind], sentence: sentence(link.trouble.message) };
  }
}

/** How a process ended, or null where the system did not say. */
export function describeExit({ code, signal }: Exit): string | null {
  if (signal !== null) return `signal ${signal}`;
  return code === null ? null : `exit code ${code}`;
}

const UNITS = [
  { name: "d", seconds: 86_400 },
  { name: "h", seconds: 3_600 },
  { name: "min", seconds: 60 },
  { name: "s", seconds: 1 },
];

/** A span of whole seconds in its three largest units: `42 s`, `3 min 07 s`, `5 h 03 min 07 s`, `2 d 05 h 03 min`. */
export function describeSpan(span: number): string {
  const largest = UNITS.findIndex(({ name, seconds }) => span >= seconds || name === "s");
  let rest = span;
  return UNITS.slice(largest)
    .map(({ name, seconds }, place) => {
      const count = Math.floor(rest / seconds);
      rest %= seconds;
      return `${place === 0 ? count : String(count).padStart(2, "0")} ${name}`;
    })
    .slice(0, 3)
    .join(" ");
}

/** Errors from Rust begin small and end bare, as its custom is; on screen they stand alone. */
function sentence(message: string): string {
  const text = message.trim();
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
