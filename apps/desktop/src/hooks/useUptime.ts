import { useEffect, useState } from "react";
import type { Health } from "../lib/api";

/**
 * The backend's uptime in whole seconds: that of its last health response and the time since then. `at` is the arrival of that
 * response, by `performance.now()`. A hidden page does not tick; it updates when it is shown.
 */
export function useUptime(health: Health, at: number): number {
  const [, setTick] = useState(0);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tick = () => {
      clearTimeout(timer);
      setTick((count) => count + 1);
      if (!document.hidden) timer = setTimeout(tick, untilNextSecond(health, at));
    };
    tick();
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [health, at]);

  return Math.floor(uptime(health, at));
}

function uptime(health: Health, at: number): number {
  return health.uptime + (performance.now() - at) / 1000;
}

/** The milliseconds until the value changes. A fixed interval of a second would drift, and sometimes skip a value. */
function untilNextSecond(health: Health, at: number): number {
  return Math.ceil((1 - (uptime(health, at) % 1)) * 1000);
}
