/** The old application as a process of its own: its clocks must not stand still while the rollout computes. */
import { z } from 'zod';
import { type OldApplication, startOldApplication } from './old-application.ts';

const order = z.union([
  z.object({
    start: z.object({ url: z.string(), sizes: z.object({ users: z.int(), projects: z.int(), tasks: z.int() }) }),
  }),
  z.object({ during: z.string() }),
  z.literal('stop'),
]);

const reportEveryMs = 100;
let application: OldApplication | undefined;

// Ctrl-C reaches everybody on the terminal; this one ends when it is told, or when nobody is there to tell it.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());

async function obey(message: unknown): Promise<void> {
  const parsed = order.parse(message);
  if (parsed === 'stop') {
    const change = await application?.stop();
    process.send?.({ figures: application?.figures() ?? [] });
    process.send?.({ stopped: change ?? {} }, () => process.disconnect?.());
  } else if ('during' in parsed) {
    application?.during(parsed.during);
  } else {
    const started = await startOldApplication(parsed.start.url, parsed.start.sizes);
    application = started;
    process.send?.('started');
    setInterval(() => process.send?.({ figures: started.figures() }), reportEveryMs).unref();
  }
}

process.on('message', (message) => {
  obey(message).catch((error: unknown) => {
    process.send?.({ fault: error instanceof Error ? error.message : String(error) }, () => process.exit(1));
  });
});
