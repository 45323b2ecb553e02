/** The server is killed, and Postgres is, in the middle of traffic; both come back. With SIGKILL: nobody can prepare. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startEmbeddedPostgres } from '../../../../src/database/embedded.ts';
import { buildTemplates } from '../../../support/build-templates.ts';
import { testSecret } from '../../../support/templates.ts';
import { Random } from '../fuzz/random.ts';
import { openClient } from '../model/client.ts';
import type { ProofContext } from '../part.ts';
import type { Found } from './disturb.ts';
import { finalFaults } from './disturb.ts';
import { freePort } from './free-port.ts';
import { openStage, type Stage } from './stage.ts';
import { startTraffic } from './traffic.ts';

const program = fileURLToPath(new URL('../../../../bin/ringfence', import.meta.url));
const startMs = 60_000;
/** Answers between two kills. */
const answersBetween = 8;

/** `ringfence serve`, a real process, on a database that the stage furnished. */
export async function killServer(context: ProofContext, kills: number): Promise<Found> {
  const stage = await openStage(context, { poolSize: 2 });
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-killed-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const client = openClient(url);
  const random = new Random(context.seed, 1);
  const serve = () => startServing(stage, directory, port);
  let server = await serve();
  try {
    const traffic = startTraffic(stage, (actor, { headers, ...call }) => {
      const all = { authorization: `Bearer ${actor.token}`, 'content-type': 'application/json', ...headers };
      return client.send({ ...call, headers: all });
    });
    for (let kill = 0; kill < kills && !context.signal.aborted; kill += 1) {
      await traffic.more(answersBetween);
      await delay(random.below(20));
      await end(server, 'SIGKILL');
      server = await serve();
    }
    await traffic.more(answersBetween);
    const faults = await traffic.stop();
    await end(server, 'SIGTERM');
    for (const log of ['application.log', 'security.log']) {
      const text = readFileSync(join(directory, log), 'utf8');
      for (const { mark } of stage.pair) if (text.includes(mark)) faults.push(`${log} shows a row of somebody`);
    }
    faults.push(...(await finalFaults(stage)));
    return { figures: { 'server killed': kills, ...figuresOf(traffic) }, faults };
  } finally {
    client.close();
    await end(server, 'SIGKILL');
    await stage.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

const figuresOf = ({ made, sentAgain }: { made: number; sentAgain: number }) => ({
  'made meanwhile': made,
  'sent again': sentAgain,
});

async function startServing({ world }: Stage, directory: string, port: number): Promise<ChildProcess> {
  const child = spawn('sh', [program, 'serve'], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: world.server.databaseUrl,
      JWT_SECRET_KEY: testSecret,
      PORT: String(port),
      DATA_DIR: directory,
      LOG_DIR: directory,
      DATABASE_POOL_SIZE: '2',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  const signal = AbortSignal.timeout(startMs);
  const ready = new Promise<void>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('serves on')) resolve();
    });
  });
  await Promise.race([
    ready,
    once(child, 'exit', { signal }).then(() => Promise.reject(new Error(`serve ended: ${said}`))),
  ]);
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

/** A Postgres of its own, which keeps what it said that it has: durable, unlike that of the other parts. */
export async function killPostgres(context: ProofContext, kills: number): Promise<Found> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ringfence-killed-'));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(dataDir, 0o711);
  let postgres = await startEmbeddedPostgres({ dataDir });
  const random = new Random(context.seed, 2);
  try {
    const own = { ...context, postgresUrl: postgres.url, templates: await buildTemplates(postgres.url) };
    const stage = await openStage(own, { poolSize: 2 });
    const traffic = startTraffic(stage, stage.send);
    for (let kill = 0; kill < kills && !context.signal.aborted; kill += 1) {
      await traffic.more(answersBetween);
      await delay(random.below(20));
      process.kill(postmasterOf(postgres.directory), 'SIGKILL');
      await postgres.stop();
      postgres = await startEmbeddedPostgres({ dataDir });
      stage.relay.aim(postgres.url);
    }
    await traffic.more(answersBetween);
    const faults = await traffic.stop();
    await stage.close();
    return { figures: { 'Postgres killed': kills, ...figuresOf(traffic) }, faults };
  } finally {
    await postgres.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const postmasterOf = (directory: string) =>
  Number(readFileSync(join(directory, 'postmaster.pid'), 'utf8').split('\n', 1)[0]);
