/** Keys and references: what carries an owner in front without ado, and what does not. */
import type { ForeignKey, Table, TableLabel } from '../catalog.ts';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { looksLikeOwner } from './owner-names.ts';
import { cyclesOf } from './reference-cycles.ts';
import { listed, type Subject } from './subject.ts';

export function keyFindings(subject: Subject): Finding[] {
  const labels = new Set(subject.roots.map((table) => table.label));
  return [
    ...subject.roots.flatMap((table) => [
      ...primaryKeyOf(table),
      ...deferrableKeysOf(table),
      ...referencesOf(table),
      ...(subject.users.includes(table) ? [] : uniquesOf(table, labels)),
      ...exclusionsOf(table),
      ...ownerColumnName(table),
    ]),
    ...subject.tables.flatMap(invalidIndexesOf),
    ...graphFindings(subject.roots),
  ];
}

function primaryKeyOf(table: Table): Finding[] {
  if (table.kind === 'foreign') return [];
  const key = table.primaryKey;
  if (key === null) {
    return [
      warn(
        'primary-key',
        table.label,
        'It has no primary key: nothing can refer to a row, and the owners cannot be saved row by row (G63).',
        'Give it a primary key, or accept that a rollback cannot bring back the owners of its rows.',
      ),
    ];
  }
  const types = key.columns.map((name) => table.columns.find((column) => column.name === name)?.type);
  return [pass('primary-key', table.label, `Primary key (${key.columns.join(', ')}) of type ${types.join(', ')}.`)];
}

function deferrableKeysOf(table: Table): Finding[] {
  const keys = [...(table.primaryKey ? [table.primaryKey] : []), ...table.uniques].filter((key) => key.deferrable);
  return keys.map((key) =>
    fail(
      'deferrable-key',
      `${table.label} ${identifier(key.name)}`,
      'It is checked late, which the unique index with the owner in front, built concurrently, cannot be.',
      'Make it NOT DEFERRABLE first, and the statements that depend on it (renumbering) with it.',
    ),
  );
}

function referencesOf(table: Table): Finding[] {
  return table.foreignKeys.flatMap((key) => {
    const object = `${table.label} ${identifier(key.name)}`;
    const findings: Finding[] = [];
    if (key.onUpdate === 'set null' || key.onUpdate === 'set default') {
      const message = `ON UPDATE ${key.onUpdate.toUpperCase()} would take the owner column with it; Postgres has no column list for it.`;
      const remedy = 'Make it ON UPDATE NO ACTION or CASCADE before the rollout; identifiers should not change anyway.';
      findings.push(fail('on-update-set', object, message, remedy));
    }
    if (key.match === 'full' && key.columns.length > 1) {
      const message = 'MATCH FULL over several columns cannot carry the owner, which is never null.';
      const remedy = `The new reference is MATCH SIMPLE; add a check that ${key.columns.join(', ')} are null together.`;
      findings.push(warn('match-full', object, message, remedy));
    }
    if (!key.validated) {
      const message = 'It was never validated: rows may refer to nothing, and the reference with the owner would fail.';
      findings.push(
        warn('reference-not-valid', object, message, 'alter table … validate constraint …, and repair what it finds.'),
      );
    }
    return findings;
  });
}

/** What is unique per parent is unique per owner already; what is unique over everything is a channel between users. */
function uniquesOf(table: Table, owned: ReadonlySet<TableLabel>): Finding[] {
  const parents = new Set(table.foreignKeys.filter((key) => owned.has(key.references)).flatMap((key) => key.columns));
  const spanning = table.indexes
    .filter((index) => index.unique && index.valid && index.constraint !== table.primaryKey?.name)
    .filter((index) => !index.columns.some((name) => name !== null && (parents.has(name) || looksLikeOwner(name))))
    .filter((index) => !index.columns.some((name) => name !== null && table.primaryKey?.columns.includes(name)));
  return spanning.map((index) =>
    warn(
      'unique-across-users',
      `${table.label} ${identifier(index.name)}`,
      `(${index.columns.map((name) => name ?? 'expression').join(', ')}) is unique over all users.`,
      'After the contract phase two users may hold the same value. Where that must not be, class the table as account or shared.',
    ),
  );
}

function exclusionsOf(table: Table): Finding[] {
  return table.exclusions.map((name) =>
    warn(
      'exclusion',
      `${table.label} ${identifier(name)}`,
      "An exclusion constraint compares all users' rows: a refusal tells one user of another's row.",
      'Create it again with the owner column compared by = (extension btree_gist) once the rollout is done.',
    ),
  );
}

function ownerColumnName(table: Table): Finding[] {
  const column = table.columns.find(({ name }) => name === 'user_id');
  if (!column || (column.type === 'uuid' && column.notNull && !column.generated)) return [];
  const kind = `${column.type}${column.notNull ? '' : ', nullable'}${column.generated ? ', generated' : ''}`;
  return [
    warn(
      'owner-column-name',
      `${table.label}.user_id`,
      `There is a user_id already (${kind}), so the owner column will be called ringfence_user_id.`,
      'The application has to name that column; or make user_id a uuid that is not null before the rollout.',
    ),
  ];
}

function invalidIndexesOf(table: Table): Finding[] {
  return table.indexes
    .filter((index) => !index.valid && table.kind === 'table')
    .map((index) =>
      warn(
        'invalid-index',
        `${table.label} ${identifier(index.name)}`,
        'It is invalid: left by a concurrent build that failed. It costs writes and serves no read.',
        'Drop it or build it again: reindex index concurrently.',
      ),
    );
}

function graphFindings(tables: readonly Table[]): Finding[] {
  const labels = new Set(tables.map((table) => table.label));
  const selfReferences = tables.flatMap((table) =>
    table.foreignKeys.filter((key) => key.references === table.label).map((key) => selfReference(table, key)),
  );
  const graph = new Map<TableLabel, readonly TableLabel[]>(
    tables.map((table) => [
      table.label,
      table.foreignKeys.map((key) => key.references).filter((label) => label !== table.label && labels.has(label)),
    ]),
  );
  const cycles = cyclesOf(graph).map((cycle) =>
    warn(
      'reference-cycle',
      listed(cycle, 10),
      `These tables refer to each other in a circle: ${[...cycle, cycle[0]].join(' -> ')}.`,
      'Name the owner sources of one of them in the configuration, so that an owner enters the circle from outside.',
    ),
  );
  return [...selfReferences, ...cycles];
}

function selfReference(table: Table, key: ForeignKey): Finding {
  return pass(
    'self-reference',
    `${table.label} ${identifier(key.name)}`,
    'It refers to its own table; owners are handed down in repeated passes.',
  );
}
