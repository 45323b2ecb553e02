/** Tables, owner columns, indexes, keys, references and triggers, as the catalogue has them. */
import type { ForeignKey, Index, Table } from '../catalog.ts';
import { type Finding, fail, warn } from '../finding.ts';
import { columnList, derivedName, identifier } from '../identifier.ts';
import { type Check, type Context, counted } from './check.ts';
import { type Guarded, hasReached } from './expectation.ts';

const again = 'Run `ringfence apply` again; it finds what is missing and goes on.';

export const structureChecks: readonly Check[] = [
  {
    name: 'tables',
    since: 'prepare',
    holds: ({ expectation }) =>
      `${counted(expectation.ownership.owned.length, 'owned table')} there, and no table that nobody has classified`,
    run: (context) => [...missingTables(context), ...unclassifiedTables(context)],
  },
  {
    name: 'owner-column',
    since: 'prepare',
    holds: ({ guarded }) => `owner columns are uuid and NOT NULL on ${counted(guarded.length, 'table')}`,
    run: ({ guarded, expectation }) => guarded.flatMap((g) => ownerColumnFaults(g, expectation)),
  },
  {
    name: 'owner-index',
    since: 'keys',
    holds: () => 'every table has a valid index that begins with the owner',
    run: ({ guarded }) => guarded.flatMap(indexFaults),
  },
  {
    name: 'keys',
    since: 'keys',
    holds: ({ expectation }) =>
      hasReached(expectation, 'contract')
        ? 'every primary key and unique constraint begins with the owner'
        : 'every primary key and unique constraint has its twin that begins with the owner',
    run: (context) => ownedOnly(context).flatMap(keyFaults(context)),
  },
  {
    name: 'references',
    since: 'keys',
    holds: () => 'every reference between owned tables carries the owner on both sides and is validated',
    run: (context) => ownedOnly(context).flatMap(referenceFaults(context)),
  },
  {
    name: 'triggers',
    since: 'owners',
    holds: ({ expectation }) =>
      hasReached(expectation, 'seal')
        ? 'no trigger of the rollout is left'
        : 'new rows of the old application get their owner by a trigger',
    run: (context) => context.guarded.flatMap(triggerFaults(context)),
  },
];

function missingTables({ catalog, expectation }: Context): Finding[] {
  return expectation.ownership.owned
    .filter((owned) => !catalog.tables.has(owned.table))
    .map((owned) => fail('table-missing', owned.table, 'is in the plan and not in the database', 'Make a new plan.'));
}

/** A table that came after the plan: nobody has said whose its rows are, so nobody guards them. */
function unclassifiedTables({ catalog, expectation, guarded }: Context): Finding[] {
  const { owned, unowned } = expectation.ownership;
  const known = new Set([...owned, ...unowned].map((entry) => entry.table));
  for (const { label } of guarded) known.add(label);
  for (const { table } of unowned) for (const label of catalog.tables.get(table)?.partitions ?? []) known.add(label);
  return [...catalog.tables.keys()]
    .filter((label) => !known.has(label))
    .map((label) =>
      fail(
        'unclassified-table',
        label,
        'is neither owned nor declared shared or ignored',
        'Say in ringfence.config.json whose its rows are, or that it is shared or ignored; then plan and apply.',
      ),
    );
}

function ownerColumnFaults(guarded: Guarded, expectation: Context['expectation']): Finding[] {
  const { label, table, owned } = guarded;
  const name = owned.ownerColumn;
  const column = table.columns.find((c) => c.name === name);
  if (!column) return [fail('owner-column', label, `has no column ${identifier(name)}`, again)];
  const faults = [];
  if (column.type !== 'uuid')
    faults.push(fail('owner-column', label, `${identifier(name)} is ${column.type}, not uuid`, again));
  if (!column.notNull) {
    const remedy = `alter table ${label} alter column ${identifier(name)} set not null`;
    faults.push(fail('owner-column', label, `${identifier(name)} may be null`, remedy));
  }
  const wanted = wantedDefault(guarded, expectation);
  if (wanted !== null && !wanted.test(column.default ?? '')) {
    const is = column.default === null ? 'has no default' : `has the default ${column.default}`;
    const remedy = hasReached(expectation, 'seal')
      ? `alter table ${label} alter column ${identifier(name)} set default ringfence.current_user_id()`
      : again;
    faults.push(fail('owner-default', label, `${identifier(name)} ${is}`, remedy));
  }
  return faults;
}

/** Null: anything will do. */
function wantedDefault({ owned }: Guarded, expectation: Context['expectation']): RegExp | null {
  // An account is made before it can sign in: its default is not for the rollout to say.
  if (owned.class === 'account' && owned.adopted) return null;
  if (hasReached(expectation, 'seal')) return /^ringfence\.current_user_id\(\)$/;
  if (owned.adopted) return null;
  return new RegExp(`^'${owned.defaultOwner}'::uuid$`);
}

function indexFaults(guarded: Guarded): Finding[] {
  const { label, table, owned, isPartition } = guarded;
  const faults = table.indexes
    .filter((index) => !index.valid)
    .map((index) =>
      fail(
        'invalid-index',
        label,
        `the index ${identifier(index.name)} is invalid: writers keep it up, readers do not use it`,
        `reindex index concurrently ${identifier(table.schema)}.${identifier(index.name)}, or drop it`,
      ),
    );
  const leading = table.indexes.filter((i) => i.columns[0] === owned.ownerColumn && i.valid && !i.partial);
  // The guide looks for it by name (G77). What had owners before keeps its indexes, partitions name theirs themselves.
  const byName = leading.some((i) => i.columns.length === 1 || indexNames(guarded).includes(i.name));
  const asPlanned = byName || owned.class === 'account' || owned.adopted || isPartition;
  if (leading.length === 0 || !asPlanned) {
    const [name = ''] = indexNames(guarded);
    const create = `create index concurrently ${identifier(name)} on ${label} (${identifier(owned.ownerColumn)})`;
    faults.push(
      fail('owner-index', label, `has no valid index ${identifier(name)} that begins with the owner`, create),
    );
  }
  return faults;
}

function indexNames({ table, owned }: Guarded): string[] {
  return [derivedName('idx', table.name, 'user_id'), derivedName('idx', table.name, owned.ownerColumn)];
}

/** Account tables keep their keys: a user's id is the owner there. */
function ownedOnly({ guarded }: Context): Guarded[] {
  return guarded.filter(({ owned }) => owned.class === 'owned');
}

function keyFaults({ expectation }: Context) {
  const contracted = hasReached(expectation, 'contract');
  return (guarded: Guarded): Finding[] => {
    const { label, table, owned } = guarded;
    const spanning = table.indexes.filter(
      (index) => index.unique && index.valid && index.columns[0] !== owned.ownerColumn,
    );
    const exclusions = table.exclusions.map((name) =>
      warn(
        'exclusion-constraint',
        label,
        `the exclusion constraint ${identifier(name)} may span users: one learns from a refusal what another has`,
        'Put the owner into it with `WITH =` (extension btree_gist).',
      ),
    );
    if (contracted) return [...exclusions, ...spanning.map((index) => spansUsers(guarded, index))];
    // Of a partitioned table each leaf has its own; they are joined when the keys are swapped.
    const lonely = table.kind === 'partitioned' ? [] : spanning.filter((i) => !hasTwin(table, i, owned.ownerColumn));
    return [...exclusions, ...lonely.map((index) => withoutTwin(label, index))];
  };
}

function spansUsers({ label }: Guarded, index: Index): Finding {
  const what = index.constraint === null ? `the unique index ${identifier(index.name)}` : identifier(index.constraint);
  return fail(
    'key-spans-users',
    label,
    `${what} does not begin with the owner: one user learns from a refusal which keys another has`,
    'Make it anew with the owner in front, beside the old one; then drop the old one.',
  );
}

function withoutTwin(label: string, index: Index): Finding {
  const message = `${identifier(index.name)} has no valid twin with the owner in front, so it cannot be swapped`;
  return fail('key-without-owner', label, message, again);
}

function hasTwin(table: Table, index: Index, owner: string): boolean {
  const wanted = JSON.stringify([owner, ...index.columns]);
  return table.indexes.some((i) => i.unique && i.valid && JSON.stringify(i.columns) === wanted);
}

/** A foreign key is checked above the policies, so only its columns can keep it within one user's rows. */
function referenceFaults(context: Context) {
  const owners = new Map(ownedOnly(context).map(({ label, owned }) => [label, owned.ownerColumn]));
  const contracted = hasReached(context.expectation, 'contract');
  // A key of a partitioned table gets the owner by the contraction, and what refers to it waits for that.
  const waits = ({ references }: ForeignKey) =>
    !contracted && context.catalog.tables.get(references)?.kind === 'partitioned';
  return ({ label, table, owned }: Guarded): Finding[] => {
    const between = table.foreignKeys.filter((key) => owners.has(key.references) && !waits(key));
    const carrying = between.filter((key) => carriesOwner(key, owned.ownerColumn, owners.get(key.references)));
    const without = between.filter((key) => !carrying.includes(key));
    const bare = contracted
      ? without
      : without.filter((key) => !carrying.some((c) => isTwinOf(c, key, owned.ownerColumn)));
    return [
      ...bare.map((key) =>
        fail(
          'reference-without-owner',
          label,
          `${identifier(key.name)} (${columnList(key.columns)}) to ${key.references} does not carry the owner: a row can refer to another user's, and be deleted with it`,
          contracted ? `Add one on (${columnList([owned.ownerColumn, ...key.columns])}) and drop this one.` : again,
        ),
      ),
      ...carrying.filter((key) => !key.validated).map((key) => notValidated(label, key)),
      ...carrying.filter((key) => emptiesOwner(key, owned.ownerColumn)).map((key) => emptying(label, key)),
    ];
  };
}

function carriesOwner(key: ForeignKey, owner: string, parentOwner: string | undefined): boolean {
  const at = key.columns.indexOf(owner);
  return at >= 0 && key.referencedColumns[at] === parentOwner;
}

function isTwinOf(carrying: ForeignKey, key: ForeignKey, owner: string): boolean {
  const rest = carrying.columns.filter((column) => column !== owner);
  return carrying.references === key.references && rest.toSorted().join('\0') === key.columns.toSorted().join('\0');
}

function emptiesOwner(key: ForeignKey, owner: string): boolean {
  const empties = key.onDelete === 'set null' || key.onDelete === 'set default';
  return empties && (key.setColumns.length === 0 || key.setColumns.includes(owner));
}

function notValidated(label: string, key: ForeignKey): Finding {
  const remedy = `alter table ${label} validate constraint ${identifier(key.name)}`;
  return fail('reference-not-validated', label, `${identifier(key.name)} has not been checked on the rows`, remedy);
}

function emptying(label: string, key: ForeignKey): Finding {
  return fail(
    'reference-empties-owner',
    label,
    `${identifier(key.name)} would empty the owner column too when the row it refers to is deleted`,
    'Name the columns: ON DELETE SET NULL (column), from Postgres 15 on.',
  );
}

const ofTheRollout = /EXECUTE FUNCTION ringfence_rollout\./;

function triggerFaults({ expectation }: Context) {
  return ({ label, table, owned, isPartition }: Guarded): Finding[] => {
    const ours = table.triggers.filter((trigger) => ofTheRollout.test(trigger.definition));
    if (hasReached(expectation, 'seal')) {
      return ours.map((trigger) =>
        fail(
          'leftover-trigger',
          label,
          `the trigger ${identifier(trigger.name)} of the rollout is still there and may change owners`,
          `drop trigger ${identifier(trigger.name)} on ${label}`,
        ),
      );
    }
    if (owned.adopted || isPartition || owned.class === 'account') return [];
    const live = ours.filter((trigger) => trigger.enabled === 'origin' || trigger.enabled === 'always');
    if (live.some((trigger) => /BEFORE INSERT/.test(trigger.definition))) return [];
    const message =
      'rows that the old application adds get no owner: the trigger of the rollout is missing or disabled';
    return [fail('owner-trigger', label, message, again)];
  };
}
