import type { FailureDetails } from "../lib/connection-state";
import { describeExit } from "../lib/messages";
import { OutputTail } from "./OutputTail";

/** How the backend ended, its last output, and a button that restarts it. */
export function FailureReport({ failure, onRetry }: { failure: FailureDetails; onRetry: () => void }) {
  const exit = failure.exit && describeExit(failure.exit);
  return (
    <>
      {failure.tail.length > 0 && <OutputTail lines={failure.tail} />}
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
