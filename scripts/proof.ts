/**
 * `npm run proof`: shows that isolation holds, at full size. It starts a Postgres of its own, runs every part, prints what
 * was done and what was found, and leaves nothing behind. Exit code 1 with any fault.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../src/database/embedded.ts';
import type { ProofContext, ProofPart } from '../test/isolation/proof/part.ts';
import { parts } from '../test/isolation/proof/parts.ts';
import { buildTemplates } from '../test/support/build-templates.ts';

const usage = `npm run proof -- [--only PART] [--seed NUMBER] [--short]

  --only    one part: ${parts.map(({ name }) => name).join(', ')}
  --seed    what everything random comes from (default: drawn, and printed)
  --short   the size that the tests run`;

const say = (line: string) => process.stderr.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string' },
    short: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const chosen = values.only === undefined ? parts : parts.filter(({ name }) => name === values.only);
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
if (chosen.length === 0 || !Number.isInteger(seed)) {
  console.error(usage);
  process.exit(2);
}

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
const dataDir = mkdtempSync(join(tmpdir(), 'ringfence-proof-'));
// As root, Postgres runs as another user, who has to pass through.
chmodSync(dataDir, 0o711);
const postgres = await startEmbeddedPostgres({ dataDir, durable: false, settings: { max_connections: '200' } });
try {
  const context: ProofContext = {
    size: values.short ? 'short' : 'full',
    seed,
    postgresUrl: postgres.url,
    templates: await buildTemplates(postgres.url),
    say,
    signal: interrupted.signal,
  };
  console.log(`seed ${seed}, ${context.size} size`);
  let faults = 0;
  for (const part of chosen) faults += await runPart(part, context);
  console.log(faults === 0 ? '\nIt holds.' : `\n${faults} faults.`);
  process.exitCode = faults === 0 ? 0 : 1;
} finally {
  await postgres.stop();
  rmSync(dataDir, { recursive: true, force: true });
}

async function runPart(part: ProofPart, context: ProofContext): Promise<number> {
  const started = performance.now();
  const { figures, faults } = await part.run(context);
  const seconds = (performance.now() - started) / 1000;
  console.log(`\n${faults.length === 0 ? 'holds' : 'FAILS'}  ${part.name}: ${part.title} (${seconds.toFixed(1)} s)`);
  for (const [name, value] of Object.entries(figures)) {
    const text = typeof value === 'number' ? value.toLocaleString('en').replaceAll(',', ' ') : value;
    console.log(`  ${name.padEnd(44)}${text}`);
  }
  for (const fault of faults) console.log(`  ! ${fault}`);
  return faults.length;
}
