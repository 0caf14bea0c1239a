import type { Readiness, State } from "./bindings.js";

/** The usual readiness in each state. A status says which holds. */
export const readinessOf: Record<State, Readiness> = {
  idle: "idle",
  waiting: "pending",
  starting: "pending",
  ready: "up",
  unhealthy: "up",
  stopping: "pending",
  backingOff: "pending",
  stopped: "down",
  failed: "down",
};
