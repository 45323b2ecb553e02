/**
 * Live probes: on every guarded table, as the application's role and with an identity that Postgres itself verifies, what
 * one user can do with another's rows. Each table is a transaction that is rolled back, each attempt a savepoint in it, and
 * no attempt is on more than one row, so a database in use is disturbed by the lock of one row for a moment at most.
 */
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';
import { hasOwnerColumn, notDone } from './data.ts';
import { type Guarded, legacyPolicy } from './expectation.ts';
import { planFaults } from './plan-probe.ts';
import { type Row, type Target, targetOf } from './probe-target.ts';
import { type Limits, type Outcome, type Session, withSession } from './session.ts';

/** How much was tried, for the summary. */
export interface ProbeCount {
  tables: number;
  /** Tables without a row, among them: only adding one could be tried there. */
  empty: number;
  probes: number;
}

const limits: Limits = { statementMs: 60_000, lockMs: 300 };

/** @param count is counted up */
export function probeChecks(count: ProbeCount): readonly Check[] {
  return [
    {
      name: 'probes',
      since: 'cutover',
      holds: () => `${count.probes} attempts on ${count.tables} tables were answered as they should be`,
      run: async (context) => {
        // That it does not exist is another check's finding.
        if (context.facts.roles.length === 0) return [];
        const findings: Finding[] = [];
        for (const guarded of context.guarded.filter(hasOwnerColumn)) {
          if (isOpenToAll(guarded)) findings.push(unprobed(guarded));
          else findings.push(...(await probeTable(context, guarded, count)));
        }
        return findings;
      },
    },
  ];
}

/** With `legacy_application` for everybody there are no walls to probe until the seal. */
function isOpenToAll({ table }: Guarded): boolean {
  return table.policies.some(({ name, definition }) => name === legacyPolicy && / to public using /.test(definition));
}

function unprobed({ label }: Guarded): Finding {
  const message = 'is not isolated yet: the exemption of the old application is for everybody';
  return warn(
    'not-probed',
    label,
    message,
    'Name the roles of the old application (legacyRoles), or `ringfence apply --until seal --yes` once it is off.',
  );
}

async function probeTable(context: Context, guarded: Guarded, count: ProbeCount): Promise<Finding[]> {
  try {
    const findings = await withSession(context, limits, async (session) => {
      const target = await targetOf(context, session, guarded);
      const faults = await planFaults(context, session, guarded, target.a);
      if (target.isEmpty) count.empty += 1;
      for (const probe of probesOf(session, target)) {
        count.probes += 1;
        const outcome = await session.attempt(probe.identity, marked(probe.sql), probe.values);
        const verdict = probe.judge(outcome);
        if (verdict !== null) faults.push(judged(guarded, probe, outcome, verdict));
      }
      return faults;
    });
    count.tables += 1;
    return findings;
  } catch (error) {
    return [notDone('probes', guarded.label, error)];
  }
}

/** Where the log-in may not switch pg_stat_statements off, `monitor` tells it by this from the application's own. */
function marked(sql: string): string {
  return sql.replace(/^\w+/, '$& /* ringfence verify */');
}

function judged({ label }: Guarded, probe: Probe, { code, message }: Outcome, verdict: string): Finding {
  if (code !== null && busy.has(code)) {
    return warn(
      'probe-incomplete',
      label,
      `${probe.name}: ${message}`,
      'Run verify again when the table is less busy.',
    );
  }
  if (code !== null && unable.has(code)) {
    const what = `${probe.name}: could not be probed: ${message} (SQLSTATE ${code})`;
    return fail('probe-incomplete', label, what, 'Put right what Postgres names, then run verify again.');
  }
  const remedy = 'Take the application off the database until this is put right; the other findings name the cause.';
  return fail(probe.check, label, `${probe.name}: ${verdict}`, remedy);
}

/** Cancelled for its length, a lock not had, a concurrent change: says nothing about the walls. */
const busy: ReadonlySet<string> = new Set(['57014', '55P03', '40001', '40P01']);

/** Postgres does not do such a thing with this table, whoever asks: a publication without a usable replica identity. */
const unable: ReadonlySet<string> = new Set(['0A000', '42P10', '55000']);

interface Probe {
  readonly check: string;
  /** A phrase: what was tried. */
  readonly name: string;
  readonly identity: string | null;
  readonly sql: string;
  readonly values: readonly unknown[];
  /** Null when it is as it should be, otherwise what happened. */
  readonly judge: (outcome: Outcome) => string | null;
}

function probesOf(session: Session, target: Target): Probe[] {
  const asA = session.identityOf(target.a);
  return [
    ...ownRows(target, asA),
    ...othersRows(target, asA),
    ...asNobody(target),
    ...withForgeries(session, target),
    identityInUnion(target, asA),
  ];
}

/** Permission is asked before any row is looked at. */
const denied = '42501';

function refusedWith(...codes: readonly string[]) {
  return ({ code, message, count }: Outcome): string | null => {
    if (code === null) return `it went through (${count} rows)`;
    if (codes.includes(code)) return null;
    // Constraints come after the policies (ExecInsert, ExecUpdate): whoever meets one has passed them.
    const by = code.startsWith('23')
      ? 'no policy stopped it, only a constraint'
      : 'it was stopped, but by something else';
    return `${by}: ${message} (SQLSTATE ${code})`;
  };
}

/** No row, or no privilege at all. */
function reachesNothing({ code, message, count }: Outcome): string | null {
  if (code === denied) return null;
  if (code !== null) return `it reached a row: ${message} (SQLSTATE ${code})`;
  return count === 0 ? null : `it reached ${count} rows`;
}

function ownRows({ label, owner, a, may, rowsOfA }: Target, asA: string): Probe[] {
  const column = identifier(owner);
  return [
    {
      check: 'probe-select',
      name: 'select as a user',
      identity: asA,
      sql: `select count(*)::text as seen, count(*) filter (where ${column} is distinct from $1)::text as foreign from ${label}`,
      values: [a],
      judge: ({ code, message, rows }) => {
        if (!may.select) return code === denied ? null : 'it went through without the privilege';
        if (code !== null) return `it failed: ${message} (SQLSTATE ${code})`;
        const { seen, foreign } = rows[0] ?? {};
        if (foreign !== '0') return `it showed ${foreign} rows of other users`;
        return seen === String(rowsOfA) ? null : `it showed ${seen} of the user's ${rowsOfA} rows`;
      },
    },
  ];
}

function othersRows(target: Target, asA: string): Probe[] {
  const { label, b, bRow, owner } = target;
  const column = identifier(owner);
  const ofA = placeOf(target, target.aRow);
  const insert = insertion(target);
  const giveAway = `update ${label} set ${column} = $1 where ${ofA.where(2)}`;
  const probes: Probe[] = [
    {
      check: 'probe-insert',
      name: "insert in another user's name",
      identity: asA,
      ...insert,
      judge: (outcome) => (isUnroutable(outcome) ? null : refusedWith(denied)(outcome)),
    },
    {
      check: 'probe-owner-change',
      name: "changing the owner of one's own row",
      identity: asA,
      sql: giveAway,
      values: [b, ...ofA.values],
      judge: refusedWith(denied),
    },
  ];
  if (bRow === null) return probes;
  return [
    ...probes,
    {
      check: 'probe-update',
      name: "update of another user's row",
      identity: asA,
      ...updating(target, bRow),
      judge: reachesNothing,
    },
    {
      check: 'probe-delete',
      name: "delete of another user's row",
      identity: asA,
      ...deleting(target, bRow),
      judge: reachesNothing,
    },
  ];
}

/** A policy is asked when there is a row to ask about: an empty table answers nobody with nothing. */
function asNobody(target: Target): Probe[] {
  const row = target.bRow ?? target.aRow;
  const raised = (outcome: Outcome) =>
    target.isEmpty && outcome.code === null && outcome.count === 0 ? null : refusedWith('RF001', denied)(outcome);
  const nobody = { check: 'probe-nobody', identity: null, judge: raised };
  const probes: Probe[] = [
    { ...nobody, name: 'select without an identity', ...selecting(target) },
    {
      ...nobody,
      name: 'insert without an identity',
      ...insertion(target),
      judge: (o) => (isUnroutable(o) ? null : raised(o)),
    },
  ];
  if (row === null) return probes;
  return [
    ...probes,
    { ...nobody, name: 'update without an identity', ...updating(target, row) },
    { ...nobody, name: 'delete without an identity', ...deleting(target, row) },
  ];
}

function withForgeries(session: Session, target: Target): Probe[] {
  return session.forgeries(target.b).map(({ name, setting, code }) => ({
    check: 'probe-forgery',
    name: `select with ${name}`,
    identity: setting,
    ...selecting(target),
    judge: (outcome) => (target.isEmpty && outcome.code === null ? null : refusedWith(code, denied)(outcome)),
  }));
}

/** A plain setting can be changed in the middle of one statement: each table reference asks anew. */
function identityInUnion({ label, owner, b }: Target, asA: string): Probe {
  const column = identifier(owner);
  return {
    check: 'probe-forgery',
    name: 'set_config in one arm of a UNION',
    identity: asA,
    sql: `select ${column}::text as owner from ${label}
union all select nullif(set_config('ringfence.identity', $1, true), $1)
union all select ${column}::text from ${label}`,
    values: [b],
    judge: ({ code, message, rows }) => {
      if (code !== null) return ['RF002', denied].includes(code) ? null : `it failed: ${message} (SQLSTATE ${code})`;
      return rows.some((row) => row.owner === b) ? "it showed another user's rows" : null;
    },
  };
}

interface Statement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

function selecting({ label, owner }: Target): Statement {
  return { sql: `select ${identifier(owner)} from ${label} limit 1`, values: [] };
}

function updating(target: Target, row: Row): Statement {
  const place = placeOf(target, row);
  const column = identifier(target.updatable ?? target.owner);
  return { sql: `update ${target.label} set ${column} = ${column} where ${place.where(1)}`, values: place.values };
}

function deleting(target: Target, row: Row): Statement {
  const place = placeOf(target, row);
  return { sql: `delete from ${target.label} where ${place.where(1)}`, values: place.values };
}

/**
 * A copy of a row of the other user's: the policy is asked before any key or constraint. Without a row the owner alone, for
 * the same reason.
 */
function insertion({ label, owner, stranger, bRow, insertable }: Target): Statement {
  const columns = bRow === null ? [owner] : [...new Set([owner, ...insertable])];
  const values = columns.map((column) => (column === owner ? stranger : (bRow?.[column] ?? null)));
  const list = columns.map(identifier).join(', ');
  const parameters = columns.map((_, at) => `$${at + 1}`).join(', ');
  return { sql: `insert into ${label} (${list}) overriding system value values (${parameters})`, values };
}

/** A partitioned table without a row to copy: there is no telling where a new one would go. */
function isUnroutable({ code, message }: Outcome): boolean {
  return code === '23514' && message.startsWith('no partition of relation');
}

interface Place extends Pick<Statement, 'values'> {
  /** A condition that is true of one row. @param first the number of its first parameter */
  readonly where: (first: number) => string;
}

function placeOf({ key }: Target, row: Row | null): Place {
  if (row === null) return { where: () => 'false', values: [] };
  const columns = key.length > 0 ? key : ['ctid', 'tableoid'];
  return {
    where: (first) => columns.map((column, at) => `${identifier(column)} = $${first + at}`).join(' and '),
    values: columns.map((column) => row[column] ?? null),
  };
}
