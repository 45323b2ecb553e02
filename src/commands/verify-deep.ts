/** `ringfence verify --deep`: one page on the isolation of a database in use, for whoever has to sign for it. */
import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type Connection, withConnection } from '../rollout/connection.ts';
import { htmlOf } from '../rollout/report/html.ts';
import type { Page } from '../rollout/report/page.ts';
import { textOf } from '../rollout/report/text.ts';
import { readFrozenPlan } from '../rollout/state.ts';
import { closureCounts } from '../rollout/verify/closure/closure.ts';
import { type Reviewed, reviewedSchema } from '../rollout/verify/closure/found.ts';
import { declassifications } from '../rollout/verify/declassified.ts';
import {
  type DeepVerification,
  maxSecondsDefault,
  statementsPerSecondDefault,
  verifyDeep,
} from '../rollout/verify/deep.ts';
import { deepPage } from '../rollout/verify/deep-page.ts';
import { fingerprintHash } from '../rollout/verify/fingerprint.ts';
import { version } from '../version.ts';
import { withOwnedDatabase } from './database.ts';
import { readExpectation } from './expectation-in-force.ts';
import { summarise } from './findings.ts';
import { printJson } from './print.ts';

export interface DeepFlags {
  readonly json?: boolean | undefined;
  readonly strict?: boolean | undefined;
  readonly html?: string | undefined;
  readonly rate?: number | undefined;
  readonly maxSeconds?: number | undefined;
  /** A file that says why things may be reached that no rule explains. */
  readonly reviewed?: string | undefined;
}

/**
 * @returns exit code 1 with anything unclassified or otherwise than it has to be; with `strict` also with anything to know of
 * @throws Problem `usage_error` for a file that cannot be read or written; `rollout_refused` when there is nothing to verify
 */
export async function runVerifyDeep(config: Config, flags: DeepFlags): Promise<0 | 1> {
  const reviewed = await readReviewed(flags.reviewed);
  const { deep, page, planHash } = await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'verify --deep', (client) => look(client, flags, reviewed)),
  );
  if (flags.html !== undefined) await write(flags.html, htmlOf(page));
  if (flags.json === true) printJson(documentOf(deep, planHash));
  else if (flags.html !== undefined) console.log(page.summary);
  else console.log(textOf(page));
  const { fail, warn } = summarise(deep.findings);
  return fail > 0 || (flags.strict === true && warn > 0) ? 1 : 0;
}

interface Looked {
  readonly deep: DeepVerification;
  readonly page: Page;
  readonly planHash: string | null;
}

async function look(client: Connection, flags: DeepFlags, reviewed: Reviewed): Promise<Looked> {
  const expectation = await readExpectation(client);
  if (expectation === null) {
    throw problem('rollout_refused', 'There is nothing to verify: no plan is in force here. Run `ringfence plan`.');
  }
  const plan = await readFrozenPlan(client);
  const deep = await verifyDeep(client, expectation, {
    reviewed,
    statementsPerSecond: flags.rate ?? statementsPerSecondDefault,
    maxSeconds: flags.maxSeconds ?? maxSecondsDefault,
    onCheck: (name) => {
      if (process.stderr.isTTY) process.stderr.write(`ringfence: looking at ${name} …\n`);
    },
  });
  const planHash = plan?.hash ?? null;
  return { deep, planHash, page: deepPage(deep, { version, planHash, isOwn: plan === null }) };
}

function documentOf({ findings, ...deep }: DeepVerification, planHash: string | null): object {
  const { sample, closure, summary, about, checks } = deep;
  const { attacks, ...tried } = sample;
  return {
    findings,
    summary: summarise(findings),
    about: { ...about, ringfence: version, planHash, fingerprint: fingerprintHash(deep.fingerprint) },
    verification: { ...summary, statements: deep.statements, ...deep.pace },
    checks: checks.map(({ findings: found, ...check }) => ({ ...check, findings: found.length })),
    closure: closure === null ? null : { ...closure, counts: closureCounts(closure) },
    hostileSample: { ...tried, attacks: [...attacks.values()] },
    reviewed: deep.reviewed,
    declassified: declassifications,
  };
}

async function readReviewed(file: string | undefined): Promise<Reviewed> {
  if (file === undefined) return {};
  try {
    const parsed = reviewedSchema.safeParse(JSON.parse(await readFile(file, 'utf8')));
    if (parsed.success) return parsed.data;
    throw new Error(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' '));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const form = '{"view public.totals": "why it may be reached"}';
    throw problem('usage_error', `--reviewed: must be a file such as ${form}: ${reason}`, {}, { cause });
  }
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problem('usage_error', `--html: cannot be written: ${reason}`, {}, { cause });
  }
}
