/** The app's name and logo: a rider, and a passenger on the pillion behind. */
export function Wordmark() {
  return (
    <header className="flex items-center gap-4 sm:gap-5">
      <svg viewBox="0 0 64 64" aria-hidden="true" className="size-12 sm:size-14">
        <rect width="64" height="64" rx="16" className="fill-ink" />
        <circle cx="25" cy="32" r="11" fill="none" strokeWidth="5" className="stroke-page" />
        <circle cx="46" cy="40" r="5.5" className="fill-page" />
      </svg>
      <h1 className="font-semibold text-5xl text-ink tracking-tight sm:text-6xl">AIOS</h1>
    </header>
  );
}
