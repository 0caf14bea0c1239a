import { useLayoutEffect, useRef } from "react";

/**
 * The last lines that the backend wrote, oldest first, opened at the end: the cause of death is usually there. The
 * region is as high as fourteen lines and its padding, so that no line is cut in half.
 */
export function OutputTail({ lines }: { lines: string[] }) {
  const region = useRef<HTMLElement>(null);
  const text = lines.join("\n");

  // biome-ignore lint/correctness/useExhaustiveDependencies: it is the new text that moves the end.
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
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within reach of the keyboard.
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
