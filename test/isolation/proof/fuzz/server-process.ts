/**
 * The server in a process of its own, which tells how much memory it holds after its garbage is collected. With
 * RINGFENCE_FUZZ_PLANTED it is assembled with the planted routes.
 */
import { createAccess } from '../../../../src/access/wiring.ts';
import { systemClock } from '../../../../src/clock.ts';
import { type Config, loadConfig } from '../../../../src/config.ts';
import { openIsolation } from '../../../../src/database/isolation.ts';
import { prepareServingDatabase } from '../../../../src/database/serving.ts';
import { createApp } from '../../../../src/http/app.ts';
import { createLogs } from '../../../../src/log.ts';
import { startServer } from '../../../../src/server.ts';
import { plantDefects, withoutSignatures } from './planted.ts';

const config = loadConfig();
const server = await (process.env.RINGFENCE_FUZZ_PLANTED === undefined ? startServer(config) : startPlanted(config));
process.send?.({ url: server.url });
process.on('message', (message) => {
  if (message === 'memory') process.send?.(memory());
  if (message === 'stop') void stop();
});
// The fuzzer is gone, with or without saying so.
process.once('disconnect', () => void stop());

function memory() {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapUsed, external, rss };
}

async function stop(): Promise<void> {
  await server.close();
  process.exit(0);
}

async function startPlanted(settings: Config): Promise<{ readonly url: string; close(): Promise<void> }> {
  const database = await prepareServingDatabase(settings, () => {});
  const { log, securityLog } = createLogs({ level: settings.logLevel, logDir: settings.logDir });
  const opened = openIsolation({ ...database, poolSize: settings.database.poolSize });
  const { isolation } = opened;
  const { secret } = database;
  const access = createAccess({ config: settings, secret, isolation, securityLog, clock: systemClock });
  const app = await createApp({
    config: settings,
    log,
    securityLog,
    isolation,
    ...access,
    authenticate: withoutSignatures(access.authenticate),
  });
  plantDefects(app, settings, log);
  const url = await app.listen({ host: settings.host, port: settings.port });
  return {
    url,
    async close() {
      app.server.closeAllConnections();
      await app.close();
      await opened.close();
    },
  };
}
