/** A dot in the colour of the state; while the app waits, a ring spreads from it. */
export function StatusDot({ busy }: { busy: boolean }) {
  return (
    <span aria-hidden="true" className="relative mt-1.5 size-3 shrink-0">
      {busy && (
        <span className="absolute inset-0 animate-ping rounded-full bg-status opacity-60 motion-reduce:animate-none" />
      )}
      <span className="absolute inset-0 rounded-full bg-status" />
    </span>
  );
}
