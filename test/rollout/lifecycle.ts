/** The whole life of a rollout, on one shape, with applications at work. There is one way through it and no flag to leave any of it out. */
import { becomeIsolated, faultsInViews, makeTwins } from './isolation-checks.ts';
import { none, type Stage } from './stage.ts';

const busyDeadlineMs = 120_000;
/** Enough for every operation of a shape to have been done a few times. */
const writesBetween = 40;

export async function lifecycle(stage: Stage): Promise<void> {
  const { shape } = stage;
  await stage.startWriters();
  await busy(stage);
  await preflight(stage);
  await stage.run(0, 'backup', '--output', `${stage.directory}/backup`);
  await stage.run(0, 'plan');
  await isolateAndVerify(stage);
  await busy(stage);

  await stage.run(0, 'rollback', '--level', 'database', '--yes');
  await stage.settled(async () => {
    same(await stage.schemaNow(), stage.schemaBefore, 'after the rollback');
    await sound(stage, 'after the rollback');
  });
  await busy(stage);
  await isolateAndVerify(stage);
  await busy(stage);

  // The old application is switched off for good.
  await stage.stopWriters();
  await sound(stage, 'at the end of the old application');
  console.log(stage.figures('the old application throughout'));
  await stage.run(0, 'apply', '--until', 'contract', '--yes');
  none('owners after the last phase', await stage.faultsInOwners());
  const isolated = await becomeIsolated(stage);
  none('what users see', await faultsInViews(stage, isolated));
  await stage.startIsolatedWriters(isolated);
  await busy(stage);
  await stage.stopWriters();
  await sound(stage, 'after the new application');
  none('owners after the new application', await stage.faultsInOwners());
  none('what users see after the new application', await faultsInViews(stage, isolated));
  console.log(stage.figures('the new application'));
  await stage.run(0, 'verify');

  const twins = await makeTwins(stage, isolated);
  await stage.run(1, 'rollback', '--level', 'database', '--yes');
  await stage.run(0, 'verify');
  await stage.run(0, 'rollback', '--level', 'database', '--yes', '--accept-data-loss');
  same(await stage.schemaNow(), stage.schemaBefore, 'after the last rollback');
  const displaced = await displacedRows(stage);
  none(
    `rows of ${shape.name} after the last rollback`,
    await stage.faultsInRows(
      (table, key) => (table === twins.table && key === twins.key) || displaced.has(`${table} ${key}`),
    ),
  );
}

/** What had a key in common with another user's row, the twin's or one that the new applications made: kept, but elsewhere. */
async function displacedRows(stage: Stage): Promise<ReadonlySet<string>> {
  const { tables } = stage.shape;
  const rows = await stage.asOwner(async (client) => {
    const found = await client.query<{ label: string; document: Readonly<Record<string, unknown>> }>(
      'select table_name as label, document from ringfence_rollout.displaced_rows',
    );
    return found.rows;
  });
  return new Set(
    rows.flatMap(({ label, document }) =>
      Object.entries(tables)
        .filter(([, table]) => table.label === label)
        .map(([name, table]) => `${name} ${JSON.stringify(table.key.map((column) => document[column]))}`),
    ),
  );
}

async function preflight(stage: Stage): Promise<void> {
  const expected = stage.shape.preflight ?? {};
  const fails = Object.values(expected).includes('fail');
  const outcome = await stage.run(fails ? 1 : 0, 'preflight', '--json');
  const { findings }: { findings: { check: string; severity: string }[] } = JSON.parse(outcome.stdout);
  for (const [check, severity] of Object.entries(expected)) {
    if (!findings.some((finding) => finding.check === check && finding.severity === severity)) {
      throw new Error(`preflight does not ${severity} for ${check}:\n${outcome.stdout}`);
    }
  }
}

async function isolateAndVerify(stage: Stage): Promise<void> {
  await stage.run(0, 'apply');
  await stage.settled(async () => {
    await sound(stage, 'after apply');
    none(`owners of ${stage.shape.name} after apply`, await stage.faultsInOwners());
  });
  await stage.run(0, 'verify');
}

/** Every acknowledged write is there, nothing else is, and none failed. */
async function sound(stage: Stage, when: string): Promise<void> {
  none(`failed writes of ${stage.shape.name} ${when}`, stage.faultsInWriters());
  none(`rows of ${stage.shape.name} ${when}`, await stage.faultsInRows());
}

/** Waits until every writer has written for a while. */
export async function busy(stage: Stage, writes = writesBetween): Promise<void> {
  const before = stage.writers.map(({ figures }) => figures.writes);
  await until(busyDeadlineMs, 'the writers', () =>
    stage.writers.every(
      ({ figures }, at) => figures.failures.length > 0 || figures.writes >= (before[at] ?? 0) + writes,
    ),
  );
}

export async function until(deadlineMs: number, what: string, met: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!(await met())) {
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** @throws with the lines that are on one side only */
export function same(now: string, before: string, when: string): void {
  if (now === before) return;
  const [a, b] = [new Set(before.split('\n')), new Set(now.split('\n'))];
  const lines = [
    ...[...a.difference(b)].map((line) => `- ${line}`),
    ...[...b.difference(a)].map((line) => `+ ${line}`),
  ];
  throw new Error(`the schema is not what it was ${when}:\n${lines.slice(0, 40).join('\n')}`);
}
