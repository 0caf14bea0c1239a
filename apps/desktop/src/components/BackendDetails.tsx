import type { ReactNode } from "react";
import { useUptime } from "../hooks/useUptime";
import type { ConnectionState } from "../lib/connection-state";
import { describeSpan } from "../lib/messages";
import type { Status } from "../lib/tauri";

interface Props {
  connection: Exclude<ConnectionState, { state: "error" }>;
  status: Status | null;
}

/** The details of the running backend. Each detail has a fixed place, so that the layout does not jump when values change. */
export function BackendDetails({ connection, status }: Props) {
  const response = "response" in connection ? connection.response : null;
  return (
    <dl className="grid grid-cols-2 gap-px border-line border-t bg-line sm:grid-cols-[1fr_1fr_1.5fr_1fr]">
      <Detail name="Port" testId="backend-port">
        {status?.port}
      </Detail>
      <Detail name="Version" testId="backend-version">
        {response?.health.version ?? status?.version}
      </Detail>
      <Detail name="Uptime" testId="backend-uptime">
        {response && <Uptime health={response.health} at={response.at} />}
      </Detail>
      <Detail name="Process" testId="backend-pid">
        {status && isRunning(status) ? status.pid : null}
      </Detail>
    </dl>
  );
}

/** Whether a process can run in this state. A table, so that the compiler reports a state that is missing. */
const hasProcess: Record<Status["state"], boolean> = {
  idle: false,
  waiting: false,
  starting: true,
  ready: true,
  unhealthy: true,
  stopping: true,
  backingOff: false,
  stopped: false,
  failed: false,
};

/** Whether the process of this status runs. A status keeps the pid of a process that has ended. */
function isRunning({ state, exit }: Status): boolean {
  return exit === null && hasProcess[state];
}

function Detail({ name, testId, children }: { name: string; testId: string; children: ReactNode }) {
  return (
    <div className="min-w-0 bg-card px-5 py-4 sm:px-7 sm:py-5">
      <dt className="text-ink-soft text-sm">{name}</dt>
      <dd data-testid={testId} className="mt-0.5 text-ink tabular-nums wrap-anywhere">
        {children ?? "–"}
      </dd>
    </div>
  );
}

/** A component of its own, so that a tick renders nothing else. */
function Uptime(props: { health: Parameters<typeof useUptime>[0]; at: number }) {
  return describeSpan(useUptime(props.health, props.at));
}
