import type { ConnectionState } from "../lib/connection-state";
import { describe } from "../lib/messages";
import type { Status } from "../lib/tauri";
import { BackendDetails } from "./BackendDetails";
import { FailureReport } from "./FailureReport";
import { StatusDot } from "./StatusDot";

interface Props {
  connection: ConnectionState;
  status: Status | null;
  onRetry: () => void;
}

/** The state of the backend. Its `data-state` sets the colour of the dot and the label. */
export function StatusCard({ connection, status, onRetry }: Props) {
  const { label, sentence } = describe(connection, status?.port ?? null);
  return (
    <section
      data-testid="backend-status"
      data-state={connection.state}
      aria-label="Backend"
      className="overflow-hidden rounded-2xl border border-line bg-card text-status shadow-card"
    >
      {/* Screen readers announce only this part: they would read a live uptime out every second. */}
      <div aria-live="polite" className="flex gap-4 px-5 py-5 sm:px-7 sm:py-6">
        <StatusDot busy={connection.state === "connecting" || connection.state === "restarting"} />
        <div className="min-w-0">
          <p data-testid="backend-label" className="font-semibold text-lg leading-6">
            {label}
          </p>
          <p className="mt-1 text-ink-soft wrap-anywhere">{sentence}</p>
        </div>
      </div>
      {/* Outside of that part, because it may change four times a second. */}
      {status?.progress && connection.state !== "error" && (
        <p data-testid="backend-progress" className="px-5 pb-5 text-ink-soft wrap-anywhere sm:px-7">
          {status.progress}
        </p>
      )}
      {connection.state === "error" ? (
        <FailureReport failure={connection.failure} onRetry={onRetry} />
      ) : (
        <BackendDetails connection={connection} status={status} />
      )}
    </section>
  );
}
