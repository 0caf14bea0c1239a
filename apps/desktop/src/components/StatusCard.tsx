import type { Link } from "../lib/connection";
import type { Status } from "../lib/tauri";
import { describe } from "../lib/words";
import { Facts } from "./Facts";
import { StatusDot } from "./StatusDot";
import { TroubleReport } from "./TroubleReport";

interface Props {
  link: Link;
  status: Status | null;
  onRetry: () => void;
}

/** How it stands with the backend. Its `data-state` sets the colour that the dot and the label share. */
export function StatusCard({ link, status, onRetry }: Props) {
  const { label, sentence } = describe(link, status?.port ?? null);
  return (
    <section
      data-testid="backend-status"
      data-state={link.state}
      aria-label="Backend"
      className="overflow-hidden rounded-2xl border border-line bg-card text-status shadow-card"
    >
      {/* Only what changes with the state is announced: a live uptime would be read out every second. */}
      <div aria-live="polite" className="flex gap-4 px-5 py-5 sm:px-7 sm:py-6">
        <StatusDot busy={link.state === "connecting" || link.state === "restarting"} />
        <div className="min-w-0">
          <p data-testid="backend-label" className="font-semibold text-lg leading-6">
            {label}
          </p>
          <p className="mt-1 text-ink-soft wrap-anywhere">{sentence}</p>
        </div>
      </div>
      {link.state === "error" ? (
        <TroubleReport trouble={link.trouble} onRetry={onRetry} />
      ) : (
        <Facts link={link} status={status} />
      )}
    </section>
  );
}
