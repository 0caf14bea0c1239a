/**
 * Waits that an `AbortSignal` can end. `AbortSignal.any` would shorten this file, but WebKit supports it only since Safari 17.4,
 * and older systems have older webviews: https://developer.mozilla.org/docs/Web/API/AbortSignal/any_static.
 */

type MaybeSignal = AbortSignal | null | undefined;

/** The longest delay of a timer, in milliseconds: with a longer one `setTimeout` fires at once. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * Calls `callback` once, when the first of the signals is aborted; at once if one already is. The returned function removes the
 * listeners.
 */
export function onAbort(signals: MaybeSignal[], callback: (signal: AbortSignal) => void): () => void {
  if (!signals.some((signal) => signal)) return () => {};
  const removal = new AbortController();
  for (const signal of signals) {
    if (!signal || removal.signal.aborted) continue;
    const listener = () => {
      removal.abort();
      callback(signal);
    };
    if (signal.aborted) listener();
    else signal.addEventListener("abort", listener, { signal: removal.signal });
  }
  return () => removal.abort();
}

/** Resolves after `ms` milliseconds, or as soon as one of the signals is aborted. */
export function sleep(ms: number, ...signals: MaybeSignal[]): Promise<void> {
  return new Promise((resolve) => {
    let unlisten: (() => void) | undefined;
    const end = () => {
      clearTimeout(timer);
      unlisten?.();
      resolve();
    };
    const timer = setTimeout(end, Math.min(ms, MAX_DELAY));
    unlisten = onAbort(signals, end);
  });
}

/** Resolves with the promise's value; with null if the promise rejects or one of the signals is aborted first. */
export function orNull<T>(promise: Promise<T>, ...signals: MaybeSignal[]): Promise<T | null> {
  return new Promise((resolve) => {
    const unlisten = onAbort(signals, () => resolve(null));
    promise.then(resolve, () => resolve(null)).finally(unlisten);
  });
}

/** Settles as the promise does, or rejects with the signal's reason as soon as the signal is aborted. */
export function abortable<T>(promise: Promise<T>, signal: MaybeSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const unlisten = onAbort([signal], ({ reason }) => reject(reason));
    promise.then(resolve, reject).finally(unlisten);
  });
}

/**
 * Calls `poll` now and each time that a function in `waiters` is called. Resolves with the first value other than null; with
 * null after `ms` milliseconds. Rejects with the exception of `poll`, or with the signal's reason when the signal is aborted.
 */
export function waitFor<T>(
  waiters: Set<() => void>,
  poll: () => T | null,
  ms: number,
  signal: MaybeSignal,
): Promise<T | null> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let unlisten: (() => void) | undefined;
    const end = () => {
      clearTimeout(timer);
      unlisten?.();
      waiters.delete(wake);
    };
    const wake = () => {
      try {
        const value = poll();
        if (value === null) return false;
        end();
        resolve(value);
      } catch (error) {
        end();
        reject(error);
      }
      return true;
    };
    if (signal?.aborted) return reject(signal.reason);
    if (wake()) return;
    waiters.add(wake);
    if (ms < MAX_DELAY) {
      timer = setTimeout(() => {
        end();
        resolve(null);
      }, ms);
    }
    unlisten = onAbort([signal], () => {
      end();
      reject(signal?.reason);
    });
  });
}
