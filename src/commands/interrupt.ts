/** SIGINT and SIGTERM: the first asks for an end at the next good place, the second ends at once. */

const exitInterrupted = 130;

/** @param say told once, when the first signal comes */
export async function interruptible<T>(say: () => void, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController();
  const stop = () => {
    if (interrupted.signal.aborted) process.exit(exitInterrupted);
    interrupted.abort();
    say();
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, stop);
  try {
    return await work(interrupted.signal);
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, stop);
  }
}
