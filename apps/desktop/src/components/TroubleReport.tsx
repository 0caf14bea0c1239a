import type { Trouble } from "../lib/connection";
import { describeExit } from "../lib/words";
import { OutputTail } from "./OutputTail";

/** What is left of a backend that is not there: how it ended, its last words, and the way back. */
export function TroubleReport({ trouble, onRetry }: { trouble: Trouble; onRetry: () => void }) {
  const exit = trouble.exit && describeExit(trouble.exit);
  return (
    <>
      {trouble.tail.length > 0 && <OutputTail lines={trouble.tail} />}
      <footer className="flex flex-wrap items-center justify-between gap-3 border-line border-t px-5 py-4 sm:px-7">
        <p data-testid="backend-exit" className="text-ink-soft text-sm tabular-nums">
          {exit && `Ended with ${exit}`}
        </p>
        <button
          type="button"
          data-testid="backend-retry"
          onClick={onRetry}
          className="cursor-pointer rounded-lg bg-ink px-5 py-2 font-medium text-page hover:bg-ink-soft focus-visible:outline-2 focus-visible:outline-focus focus-visible:outline-offset-2 active:bg-ink-soft"
        >
          Retry
        </button>
      </footer>
    </>
  );
}
