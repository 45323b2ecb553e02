/** The report of a rollout as one page: criteria of the guide, what was measured, what is left to do. */
import { bytesText, durationText } from '../preflight/amounts.ts';
import {
  afterwards,
  contacts,
  countStates,
  documents,
  type Logged,
  preparation,
  preparationBoxes,
  type Served,
  schema,
  success,
  successBoxes,
} from './criteria.ts';
import type { Evidence, History } from './evidence.ts';
import type { Block, Criterion, Page } from './page.ts';

export interface Report {
  readonly page: Page;
  readonly criteria: readonly Criterion[];
  readonly states: ReturnType<typeof countStates>;
}

export function reportOf(evidence: Evidence, served: Served | null, logged: Logged | null): Report {
  const measured = { evidence, served, logged };
  const [before, structure, outcome] = [preparation(measured), schema(measured), success(measured)];
  const criteria = [...before, ...structure, ...outcome];
  const states = countStates(criteria);
  const plan = evidence.plan === null ? 'no plan in force' : `plan ${evidence.plan.plan.hash.slice(0, 12)}`;
  return {
    criteria,
    states,
    page: {
      title: `User isolation of ${evidence.database}`,
      subtitle: `${evidence.at.toISOString()}, PostgreSQL ${Math.floor(evidence.serverVersion / 10_000)}, ${plan}. Numbers (G…) are those of the deployment guide’s requirements.`,
      summary: `Criteria: ${states.met} met, ${states['not met']} not met, ${states['not measured']} not measured.`,
      sections: [
        {
          heading: 'Success criteria',
          blocks: [
            { kind: 'criteria', caption: 'What was reached', criteria: outcome },
            { kind: 'boxes', boxes: successBoxes },
          ],
        },
        {
          heading: 'Before the deployment',
          blocks: [
            { kind: 'criteria', caption: 'What had to be there', criteria: before },
            { kind: 'boxes', boxes: preparationBoxes },
          ],
        },
        {
          heading: 'The database',
          blocks: [{ kind: 'criteria', caption: 'Schema and data', criteria: structure }, ...tableBlocks(evidence)],
        },
        { heading: 'What was done', blocks: historyBlocks(evidence) },
        {
          heading: 'After the deployment',
          blocks: afterwards.flatMap(({ when, boxes }): Block[] => [
            { kind: 'text', text: when },
            { kind: 'boxes', boxes },
          ]),
        },
        { heading: 'Documents', blocks: [{ kind: 'boxes', boxes: documents }] },
        { heading: 'Emergency contacts', blocks: [{ kind: 'boxes', boxes: contacts }] },
      ],
    },
  };
}

const number = (value: number) => String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, ' ');

function tableBlocks({ tables, indexes, verification }: Evidence): Block[] {
  const findings = verification?.findings.filter(({ severity }) => severity !== 'pass') ?? [];
  return [
    {
      kind: 'table',
      caption: 'Rows and whose they are',
      columns: ['Table', 'Rows', 'Owners', 'Most of one owner', 'In quarantine', 'Owner column'],
      rows: tables.map((one) => [
        one.table,
        number(one.rows),
        number(one.owners),
        number(one.mostRows),
        number(one.quarantined),
        one.ownerInPlace ? one.ownerColumn : `${one.ownerColumn}: missing`,
      ]),
    },
    ...(indexes === null
      ? []
      : [
          {
            kind: 'table' as const,
            caption: `Indexes that begin with the owner, scans ${indexes.since === null ? 'since statistics began' : `since ${indexes.since.toISOString()}`}`,
            columns: ['Index', 'Table', 'Valid', 'Scans'],
            rows: indexes.indexes.map((one) => [one.index, one.table, one.valid ? 'yes' : 'NO', number(one.scans)]),
          },
        ]),
    ...(findings.length === 0
      ? []
      : [
          {
            kind: 'table' as const,
            caption: 'What verify found just now',
            columns: ['Check', 'Severity', 'Of what', 'Finding', 'What to do'],
            rows: findings.map((one) => [one.check, one.severity, one.object ?? '', one.message, one.remedy ?? '']),
          },
        ]),
  ];
}

function historyBlocks({ phases, history, plan }: Evidence): Block[] {
  const rows = eventRows(history);
  const none: Block[] = [{ kind: 'text', text: 'Nothing is recorded in this database.' }];
  if (plan === null && rows.length === 0) return none;
  return [
    ...(phases.length === 0
      ? []
      : [
          {
            kind: 'table' as const,
            caption: 'The plan by phases',
            columns: ['Phase', 'Steps done', 'Time', 'Rows changed', 'Longest lock', 'In the step'],
            rows: phases.map((one) => [
              one.phase,
              `${one.done} of ${one.steps}`,
              durationText(one.milliseconds),
              number(one.rows),
              `${one.longestLockMs} ms`,
              one.longestLockStep ?? '',
            ]),
          },
        ]),
    { kind: 'table', caption: 'What is recorded, in order', columns: ['When', 'What', 'Outcome'], rows },
  ];
}

function eventRows(history: History): string[][] {
  const run = (what: string, list: History['applies']) =>
    list.map(({ at, detail }) => ({
      at,
      what,
      outcome: `${detail.steps} steps in ${durationText(detail.milliseconds)}, ${number(detail.rows)} rows, ${detail.walBytes === null ? 'WAL unknown' : `${bytesText(detail.walBytes)} of WAL`}, longest lock ${detail.longestLockMs} ms${detail.longestLockStep === null ? '' : ` (${detail.longestLockStep})`}`,
    }));
  const all = [
    ...history.backups.map(({ at, detail }) => ({
      at,
      what: 'backup',
      outcome: `${detail.method}, ${detail.tables} tables, ${detail.rows} rows, ${bytesText(detail.bytes)}; restore test ${detail.restoreTest}`,
    })),
    ...run('apply', history.applies),
    ...history.verifications.map(({ at, detail }) => ({
      at,
      what: 'verify',
      outcome: `${detail.fail} to put right, ${detail.warn} to know of, ${detail.pass} well; ${detail.probes} probes on ${detail.probedTables} tables`,
    })),
    ...history.assignments.map(({ at, detail }) => ({
      at,
      what: 'assign',
      outcome: `by ${detail.by}: ${Object.entries(detail.rows)
        .map(([table, count]) => `${table} ${number(count)}`)
        .join(', ')}`,
    })),
    ...run('rollback', history.rollbacks),
    ...history.comparisons.map(({ at, detail }) => {
      const different = detail.comparisons.filter(({ equal }) => !equal);
      const rest = different.map(({ table, writes }) => `; ${table} differs, ${number(writes)} writes came in between`);
      return {
        at,
        what: 'rollback compared',
        outcome: `${detail.comparisons.length - different.length} of ${detail.comparisons.length} tables are equal, hash for hash${rest.join('')}`,
      };
    }),
  ];
  return all
    .toSorted((a, b) => a.at.getTime() - b.at.getTime())
    .map(({ at, what, outcome }) => [at.toISOString(), what, outcome]);
}
