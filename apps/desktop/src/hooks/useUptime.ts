import { useEffect, useState } from "react";
import type { HealthResponse } from "../lib/connection-state";
import { uptimeOf } from "../lib/uptime";

/** The backend's uptime in whole seconds. A hidden page does not tick; it updates when it is shown. */
export function useUptime(response: HealthResponse): number {
  const [, setTick] = useState(0);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tick = () => {
      clearTimeout(timer);
      setTick((count) => count + 1);
      if (!document.hidden) timer = setTimeout(tick, untilNextSecond(response));
    };
    tick();
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [response]);

  return Math.floor(uptimeOf(response));
}

/** The milliseconds until the value changes. A fixed interval of a second would drift, and sometimes skip a value. */
function untilNextSecond(response: HealthResponse): number {
  return Math.ceil((1 - (uptimeOf(response) % 1)) * 1000);
}
