import type { ReactNode } from "react";
import { useUptime } from "../hooks/useUptime";
import type { ConnectionState, HealthResponse } from "../lib/connection-state";
import { detailsOf } from "../lib/details";
import { describeSpan } from "../lib/messages";
import type { Status } from "../lib/tauri";

interface Props {
  connection: Exclude<ConnectionState, { state: "error" }>;
  status: Status | null;
}

/** The details of the running backend. Each detail has a fixed place, so that the layout does not jump when values change. */
export function BackendDetails({ connection, status }: Props) {
  const response = "response" in connection ? connection.response : null;
  const { port, version, pid } = detailsOf(connection, status);
  return (
    <dl className="grid grid-cols-2 gap-px border-line border-t bg-line sm:grid-cols-[1fr_1fr_1.5fr_1fr]">
      <Detail name="Port" testId="backend-port">
        {port}
      </Detail>
      <Detail name="Version" testId="backend-version">
        {version}
      </Detail>
      {/* It may grow between first-picture.ts and React. */}
      <Detail name="Uptime" testId="backend-uptime" suppressHydrationWarning>
        {response && <Uptime response={response} />}
      </Detail>
      <Detail name="Process" testId="backend-pid">
        {pid}
      </Detail>
    </dl>
  );
}

interface DetailProps {
  name: string;
  testId: string;
  suppressHydrationWarning?: boolean;
  children: ReactNode;
}

function Detail({ name, testId, suppressHydrationWarning = false, children }: DetailProps) {
  return (
    <div className="min-w-0 bg-card px-5 py-4 sm:px-7 sm:py-5">
      <dt className="text-ink-soft text-sm">{name}</dt>
      <dd
        data-testid={testId}
        suppressHydrationWarning={suppressHydrationWarning}
        className="mt-0.5 text-ink tabular-nums wrap-anywhere"
      >
        {children ?? "–"}
      </dd>
    </div>
  );
}

/** A component of its own, so that a tick renders nothing else. */
function Uptime({ response }: { response: HealthResponse }) {
  return describeSpan(useUptime(response));
}
