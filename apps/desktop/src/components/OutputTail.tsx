import { useLayoutEffect, useRef } from "react";

/**
 * The last lines of the backend's output, oldest first, scrolled to the end, which usually shows the cause of the failure. The
 * region is as high as fourteen lines and its padding, so that it cuts no line in half.
 */
export function OutputTail({ lines }: { lines: string[] }) {
  const region = useRef<HTMLElement>(null);
  const text = lines.join("\n");

  // biome-ignore lint/correctness/useExhaustiveDependencies: new text moves the end.
  useLayoutEffect(() => {
    if (region.current) region.current.scrollTop = region.current.scrollHeight;
  }, [text]);

  return (
    <div className="border-line border-t bg-well">
      <h2 id="output-tail" className="px-5 pt-4 pb-2 text-ink-soft text-sm sm:px-7">
        Last output
      </h2>
      <section
        ref={region}
        aria-labelledby="output-tail"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard.
        tabIndex={0}
        className="max-h-74 overflow-auto px-5 pb-4 focus-visible:outline-2 focus-visible:outline-focus focus-visible:-outline-offset-2 sm:px-7"
      >
        <pre
          data-testid="backend-tail"
          className="whitespace-pre-wrap font-mono text-ink text-xs leading-5 sm:text-[0.8125rem] wrap-anywhere"
        >
          {text}
        </pre>
      </section>
    </div>
  );
}
