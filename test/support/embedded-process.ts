// A process that runs the embedded Postgres, for tests that kill it. Started by `fork`, with the data directory.
import { startEmbeddedPostgres } from '../../src/database/embedded.ts';

const [, , dataDir = ''] = process.argv;

try {
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false });
  postgres.announce('http://127.0.0.1:8080');
  process.send?.({ started: { url: postgres.url, directory: postgres.directory } });
  process.on('message', (message) => {
    if (message === 'crash') throw new Error('crash asked for by the test');
    if (message === 'stop') void postgres.stop().then(() => process.disconnect?.());
  });
} catch (error) {
  process.send?.({ refused: error instanceof Error && 'code' in error ? error.code : String(error) });
  process.disconnect?.();
}
