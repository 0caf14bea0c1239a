import { StatusCard } from "./components/StatusCard";
import { Wordmark } from "./components/Wordmark";
import { useBackend, type ViewedBackend } from "./hooks/useBackend";

/** The whole window. */
export function App({ backend }: { backend: ViewedBackend }) {
  const { connection, status, retry } = useBackend(backend);
  return (
    <main className="mx-auto flex min-h-dvh w-full max-w-3xl xl:max-w-4xl flex-col justify-center gap-8 px-5 py-10 sm:gap-10 sm:px-10">
      <Wordmark />
      <StatusCard connection={connection} status={status} onRetry={retry} />
    </main>
  );
}
