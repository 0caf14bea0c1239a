/** The words for what the app knows, in one place. */
import type { Link, Step, Trouble } from "./connection";
import type { Exit } from "./tauri";

const TROUBLES: Record<Trouble["kind"], string> = {
  unknownSidecar: "Backend not configured",
  spawn: "Backend could not be started",
  exitedEarly: "Backend ended while starting",
  readyTimeout: "Backend took too long to start",
  crashed: "Backend crashed",
  hung: "Backend stopped answering",
  dependency: "Backend cannot start yet",
  noPort: "Backend has no port",
  stopped: "Backend stopped",
  unavailable: "Backend unavailable",
  interrupted: "Backend interrupted",
  network: "Backend out of reach",
  timeout: "Backend not responding",
  http: "Backend unwell",
  decode: "Backend not understood",
  aborted: "Request cancelled",
};

const STEPS: Record<Step, { label: string; sentence: string }> = {
  asking: { label: "Connecting", sentence: "Looking for the backend." },
  waiting: { label: "Connecting", sentence: "The backend waits for what it depends on." },
  starting: { label: "Connecting", sentence: "The backend is starting." },
  checking: { label: "Connecting", sentence: "The backend is up, and is being asked how it is." },
  stopping: { label: "Backend stopping…", sentence: "The backend is stopping." },
};

/** A headline and a sentence; the backend's own reason goes before ours, and its port after it. */
export function describe(link: Link, port: number | null): { label: string; sentence: string } {
  switch (link.state) {
    case "connecting": {
      const { label, sentence: usual } = STEPS[link.step];
      return { label, sentence: link.reason === null ? usual : sentence(link.reason) };
    }
    case "connected":
      return { label: "Backend connected", sentence: `Answering at 127.0.0.1:${port}.` };
    case "unhealthy":
      return {
        label: "Backend is slow to answer",
        sentence: sentence(link.reason ?? "It is still there, and is given time"),
      };
    case "restarting":
      return { label: "Backend restarting…", sentence: restarting(link.reason, link.restarts) };
    case "error":
      return { label: TROUBLES[link.trouble.kind], sentence: sentence(link.trouble.message) };
  }
}

/** The first restart is nothing to count. */
function restarting(reason: string | null, restarts: number): string {
  const why = sentence(reason ?? "It went down");
  return restarts > 1 ? `${why} Restarts so far: ${restarts}.` : why;
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
