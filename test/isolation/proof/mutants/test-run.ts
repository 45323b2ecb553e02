/** Runs test files of a copy as a program of its own, whose end tells whether they passed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { z } from 'zod';
import type { Lane } from './lane.ts';

export interface FailedTest {
  readonly suite: string;
  readonly test: string;
}

/** `broken`: no test failed, but the run did not come to its end either, so it says nothing. */
export type Verdict =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly first: FailedTest }
  | { readonly kind: 'broken'; readonly why: string };

const report = z.object({
  success: z.boolean(),
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      message: z.string().optional(),
      assertionResults: z.array(
        z.object({ ancestorTitles: z.array(z.string()), title: z.string(), status: z.string() }),
      ),
    }),
  ),
});

export interface TestRunOptions {
  readonly suites: readonly string[];
  /** Databases to clone, by the templates' names. */
  readonly templates: Readonly<Record<string, string>>;
  /** End with the first failure. */
  readonly hasty: boolean;
  readonly signal: AbortSignal;
}

/** No test takes as long; a run that does hangs outside of its tests. */
const patienceMs = 900_000;
const graceMs = 10_000;

export async function runTests(lane: Lane, { suites, templates, hasty, signal }: TestRunOptions): Promise<Verdict> {
  const reportFile = join(lane.scratch, 'report.json');
  rmSync(reportFile, { force: true });
  const args = [
    ...suites,
    ...(hasty ? ['--bail=1'] : []),
    ...['--maxWorkers=1', '--no-file-parallelism', '--reporter=json', `--outputFile=${reportFile}`],
    `--fsModuleCachePath=${join(lane.scratch, 'modules')}`,
  ];
  const said = await vitest(lane, templates, args, signal);
  if (!existsSync(reportFile)) return { kind: 'broken', why: said.slice(-2_000) };
  return verdictOf(lane.tree, JSON.parse(readFileSync(reportFile, 'utf8')), said);
}

function verdictOf(tree: string, written: unknown, said: string): Verdict {
  const { success, testResults } = report.parse(written);
  const failed = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ ancestorTitles, title }) => ({
        suite: relative(tree, name),
        test: [...ancestorTitles, title].join(' › '),
      })),
  );
  const [first] = failed;
  if (first) return { kind: 'failed', first };
  const ran = testResults.some(({ assertionResults }) => assertionResults.some(({ status }) => status === 'passed'));
  if (success && ran) return { kind: 'passed' };
  const messages = testResults.flatMap(({ message }) => (message ? [message] : []));
  return { kind: 'broken', why: messages.join('\n').slice(0, 2_000) || said.slice(-2_000) || 'no test ran' };
}

/** @returns what it said */
async function vitest(
  { tree, scratch, postgresUrl }: Lane,
  templates: Readonly<Record<string, string>>,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const child = spawn(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...args], {
    cwd: tree,
    // Not ours: vitest tells its workers by the environment that they are some.
    env: {
      PATH: process.env.PATH ?? '',
      HOME: process.env.HOME ?? '',
      TMPDIR: scratch,
      NO_COLOR: '1',
      RINGFENCE_TEST_DATABASE_URL: postgresUrl,
      RINGFENCE_TEST_TEMPLATES: JSON.stringify(templates),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  const { pid } = child;
  // The group: its workers, and servers that they have started, to which this is the fast way down.
  const kill = (how: NodeJS.Signals) => pid !== undefined && child.exitCode === null && process.kill(-pid, how);
  const end = () => {
    kill('SIGINT');
    setTimeout(kill, graceMs, 'SIGKILL').unref();
  };
  const late = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
  late.addEventListener('abort', end, { once: true });
  try {
    await once(child, 'close');
  } finally {
    late.removeEventListener('abort', end);
  }
  signal.throwIfAborted();
  return late.aborted ? `${said}\nIt did not end within ${patienceMs / 1000} seconds.` : said;
}
