import type { ConnectionState } from "./connection-state";
import type { Status } from "./tauri";

/** What the page shows of the running backend besides its uptime; undefined or null where nothing is known. */
export interface Details {
  port: number | null | undefined;
  version: string | null | undefined;
  pid: number | null;
}

export function detailsOf(connection: ConnectionState, status: Status | null): Details {
  const response = "response" in connection ? connection.response : null;
  return {
    port: status?.port,
    version: response?.health.version ?? status?.version,
    pid: status && isRunning(status) ? status.pid : null,
  };
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
