import type { ReactNode } from "react";
import { useUptime } from "../hooks/useUptime";
import type { Link } from "../lib/connection";
import type { Status } from "../lib/tauri";
import { describeSpan } from "../lib/words";

interface Props {
  link: Exclude<Link, { state: "error" }>;
  status: Status | null;
}

/** What is known of the running backend. Places stay while their values come and go, so that nothing jumps. */
export function Facts({ link, status }: Props) {
  const answer = "answer" in link ? link.answer : null;
  return (
    <dl className="grid grid-cols-2 gap-px border-line border-t bg-line sm:grid-cols-[1fr_1fr_1.5fr_1fr]">
      <Fact name="Port" testId="backend-port">
        {status?.port}
      </Fact>
      <Fact name="Version" testId="backend-version">
        {answer?.health.version ?? status?.version}
      </Fact>
      <Fact name="Uptime" testId="backend-uptime">
        {answer && <Uptime health={answer.health} at={answer.at} />}
      </Fact>
      <Fact name="Process" testId="backend-pid">
        {status && isLiving(status) ? status.pid : null}
      </Fact>
    </dl>
  );
}

/** A status names the last process also when there is none any more. */
function isLiving({ state, exit }: Status): boolean {
  return (
    exit === null &&
    (state === "starting" || state === "ready" || state === "unhealthy" || state === "stopping")
  );
}

function Fact({ name, testId, children }: { name: string; testId: string; children: ReactNode }) {
  return (
    <div className="min-w-0 bg-card px-5 py-4 sm:px-7 sm:py-5">
      <dt className="text-ink-soft text-sm">{name}</dt>
      <dd data-testid={testId} className="mt-0.5 text-ink tabular-nums wrap-anywhere">
        {children ?? "–"}
      </dd>
    </div>
  );
}

/** Apart, so that a tick draws nothing but itself. */
function Uptime(props: { health: Parameters<typeof useUptime>[0]; at: number }) {
  return describeSpan(useUptime(props.health, props.at));
}
