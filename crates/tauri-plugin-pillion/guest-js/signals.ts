/**
 * Waiting that can be called off. `AbortSignal.any` would shorten this file; WebKit has it only since Safari 17.4, and
 * Tauri's webviews on older systems do not: https://developer.mozilla.org/docs/Web/API/AbortSignal/any_static.
 */

type MaybeSignal = AbortSignal | null | undefined;

/** The most that a timer can wait, in milliseconds: beyond it `setTimeout` fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Calls `onAbort` once, when the first of the signals is aborted, at once if one is; until the returned function is called. */
export function onAbort(signals: MaybeSignal[], onAbort: (signal: AbortSignal) => void): () => void {
  const heard = new AbortController();
  for (const signal of signals) {
    if (!signal || heard.signal.aborted) continue;
    const hear = () => {
      heard.abort();
      onAbort(signal);
    };
    if (signal.aborted) hear();
    else signal.addEventListener("abort", hear, { signal: heard.signal });
  }
  return () => heard.abort();
}

/** Resolves after `ms` milliseconds, and at once when one of the signals is aborted. */
export function sleep(ms: number, ...signals: MaybeSignal[]): Promise<void> {
  return new Promise((resolve) => {
    let deaf: (() => void) | undefined;
    const end = () => {
      clearTimeout(timer);
      deaf?.();
      resolve();
    };
    const timer = setTimeout(end, Math.min(ms, LONGEST));
    deaf = onAbort(signals, end);
  });
}

/** Resolves with what the promise brings; with null when it is rejected, or when one of the signals is aborted first. */
export function orNull<T>(promise: Promise<T>, ...signals: MaybeSignal[]): Promise<T | null> {
  return new Promise((resolve) => {
    const deaf = onAbort(signals, () => resolve(null));
    promise.then(resolve, () => resolve(null)).finally(deaf);
  });
}

/**
 * Resolves with the first value other than null that `look` finds, now or when woken by way of `waiting`; with null
 * after `ms` milliseconds. Rejects with what `look` throws, and with the signal's reason when that is aborted.
 */
export function until<T>(
  waiting: Set<() => void>,
  look: () => T | null,
  ms: number,
  signal: MaybeSignal,
): Promise<T | null> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let deaf: (() => void) | undefined;
    const end = () => {
      clearTimeout(timer);
      deaf?.();
      waiting.delete(wake);
    };
    const wake = () => {
      try {
        const found = look();
        if (found === null) return false;
        end();
        resolve(found);
      } catch (error) {
        end();
        reject(error);
      }
      return true;
    };
    if (signal?.aborted) return reject(signal.reason);
    if (wake()) return;
    waiting.add(wake);
    if (ms < LONGEST) {
      timer = setTimeout(() => {
        end();
        resolve(null);
      }, ms);
    }
    deaf = onAbort([signal], () => {
      end();
      reject(signal?.reason);
    });
  });
}
