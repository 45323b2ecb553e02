/**
 * `npm run proof`: shows that isolation holds, at full size. Each part runs in a process and on a Postgres of its own, two at
 * a time; one that measures time runs alone. Prints what was done and found, and leaves nothing behind. Exit code 1 with any fault.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../src/database/embedded.ts';
import type { ProofContext, ProofPart } from '../test/isolation/proof/part.ts';
import { parts } from '../test/isolation/proof/parts.ts';
import { buildTemplates } from '../test/support/build-templates.ts';
import { killMatrix } from './kill-matrix.ts';
import { runInProcesses } from './proof-processes.ts';
import { closingPage, type PartReport, printPart, reportOf } from './proof-report.ts';

const usage = `npm run proof -- [--only PART] [--seed NUMBER] [--path PATH] [--short] [--json]
npm run proof -- --mutants [--named TEXT]

  --only    one part: ${parts.map(({ name }) => name).join(', ')}
  --seed    what everything random comes from (default: drawn, and printed)
  --path    one case of it, as a fault names it; with --only
  --short   the size that the tests run
  --json    the same as one JSON document, on standard output
  --mutants the part mutants alone: prints its matrix, and writes it to docs/proof.md
  --named   only mutants with this in their name or in that of a test file`;

const say = (line: string) => process.stderr.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seed: { type: 'string' },
    path: { type: 'string' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
    named: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const chosen = values.only === undefined ? parts : parts.filter(({ name }) => name === values.only);
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
if (chosen.length === 0 || !Number.isInteger(seed) || (values.path !== undefined && chosen.length > 1)) {
  console.error(usage);
  process.exit(2);
}

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
if (values.mutants) process.exit((await killMatrix(values.named, { say, signal: interrupted.signal })) ? 0 : 1);
const run = { size: values.short ? 'short' : 'full', seed, say, signal: interrupted.signal } as const;
const started = performance.now();
const [only] = chosen;
const done = (part: PartReport) => values.json || printPart(part);
const results = chosen.length === 1 && only ? [await runHere(only)] : await runInProcesses(chosen, run, done);
const report = reportOf(results, { ...run, seconds: (performance.now() - started) / 1000 });
console.log(values.json ? JSON.stringify(report, null, 2) : closingPage(report));
process.exitCode = report.holds ? 0 : 1;

async function runHere(part: ProofPart): Promise<PartReport> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ringfence-proof-'));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(dataDir, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, settings: { max_connections: '200' } });
  try {
    const templates = await buildTemplates(postgres.url);
    const context: ProofContext = { ...run, path: values.path, postgresUrl: postgres.url, templates };
    const since = performance.now();
    const { figures, faults } = await part.run(context);
    const { name, title } = part;
    const result = { name, title, seconds: (performance.now() - since) / 1000, figures, faults };
    done(result);
    return result;
  } finally {
    await postgres.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}
