import { StatusCard } from "./components/StatusCard";
import { Wordmark } from "./components/Wordmark";
import { useBackend, type ViewedBackend } from "./hooks/useBackend";
import type { BackendView } from "./lib/connection-state";

interface Props {
  backend: ViewedBackend;
  /** What the HTML shows that React takes over. */
  shown: BackendView;
}

/** The whole window. */
export function App({ backend, shown }: Props) {
  const { connection, status, retry } = useBackend(backend, shown);
  return (
    <main className="mx-auto flex min-h-dvh w-full max-w-3xl xl:max-w-4xl flex-col justify-center gap-8 px-5 py-10 sm:gap-10 sm:px-10">
      <Wordmark />
      <StatusCard connection={connection} status={status} onRetry={retry} />
    </main>
  );
}
