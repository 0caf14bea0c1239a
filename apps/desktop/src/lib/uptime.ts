import type { HealthResponse } from "./connection-state";

/** The backend's uptime in seconds: that of its last health response and the time since then. */
export function uptimeOf({ health, at }: HealthResponse): number {
  return health.uptime + (performance.now() - at) / 1000;
}
