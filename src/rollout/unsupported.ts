/** What a plan cannot be made for, said before anything is changed. */
import { publicationFaults, shapeFaults } from './attached.ts';
import { type Catalog, type Table, tableOf } from './catalog.ts';
import { type Finding, fail, warn } from './finding.ts';
import { identifier } from './identifier.ts';
import { missesNames, missesNamesText } from './own-triggers.ts';
import type { OwnedTable, Ownership } from './ownership.ts';
import { foreignTypes, pastTheOwner } from './reference-limits.ts';
import { uniqueIndexes } from './steps/keys.ts';
import { takenNames } from './taken-names.ts';

export function unsupported(catalog: Catalog, ownership: Ownership): Finding[] {
  const ofTables = ownership.owned.flatMap((owned) => {
    const table = tableOf(catalog, owned.table);
    return [
      ...ofTable(catalog, owned, table),
      ...ofKeys(owned, table),
      ...ofReferences(owned, table),
      ...foreignTypes(catalog, ownership, owned, table),
      ...takenNames(catalog, owned, table),
      ...toAccounts(ownership, owned, table),
      ...ofTriggers(catalog, owned, table),
      ...ofOwner(catalog, owned, table),
      ...withParts(catalog, owned, table).flatMap((part) => attached(owned, part)),
    ];
  });
  return [...ofTables, ...pastTheOwner(catalog, ownership)];
}

const withParts = (catalog: Catalog, { partitions }: OwnedTable, table: Table): readonly Table[] => [
  table,
  ...partitions.map((label) => tableOf(catalog, label)),
];

/** The keys of account tables stay as they are. */
function attached({ class: kind, adopted, ownerColumn }: OwnedTable, part: Table): Finding[] {
  return [
    ...(adopted ? [] : shapeFaults(part)),
    ...(kind === 'account' ? [] : publicationFaults(part, adopted ? ownerColumn : undefined)),
  ];
}

function ofOwner(catalog: Catalog, owned: OwnedTable, table: Table): Finding[] {
  const foreign = withParts(catalog, owned, table).filter(({ mayAlter }) => !mayAlter);
  return foreign.map(({ label, owner }) =>
    fail(
      'foreign-owner',
      label,
      `it belongs to ${owner}, and only an owner may alter a table.`,
      `Come as ${owner}, or grant ${identifier(owner)} to ${identifier(catalog.role.name)}, or declare the table "ignored".`,
    ),
  );
}

/** Rows follow their parents where a reference says whose they are. */
function ofTriggers(catalog: Catalog, owned: OwnedTable, table: Table): Finding[] {
  if (owned.adopted || !owned.sources.some(({ kind }) => kind === 'reference')) return [];
  const above = new Set(catalog.roles.filter((role) => role.superuser).map(({ name }) => name));
  return withParts(catalog, owned, table).flatMap(({ label, triggers, grants, owner }) => {
    const able = grants.filter((g) => g.privilege === 'trigger' && g.grantee !== owner && !above.has(g.grantee));
    return [
      ...triggers.filter(missesNames).map((trigger) => {
        const { message, remedy } = missesNamesText(trigger);
        return fail('update-trigger', label, message, remedy);
      }),
      ...able.map(({ grantee }) =>
        warn(
          'trigger-privilege',
          label,
          `${grantee} may put a trigger on it, which from owners to seal can act as the rollout's owner: as such it is fired when a row follows its parent.`,
          `revoke trigger on table ${label} from ${identifier(grantee)}`,
        ),
      ),
    ];
  });
}

function ofTable(catalog: Catalog, owned: OwnedTable, table: Table): Finding[] {
  const findings: Finding[] = [];
  const children = [...catalog.tables.values()].filter((other) => other.inherits.includes(table.label));
  if (children.length > 0 || table.inherits.length > 0) {
    findings.push(
      fail(
        'inheritance',
        owned.table,
        'it is part of a classic inheritance, whose children have keys and policies of their own.',
        'Make it a partitioned table, or declare all of it "ignored".',
      ),
    );
  }
  if (table.policies.length > 0) {
    findings.push(
      fail(
        'existing-policies',
        owned.table,
        `it has policies of its own (${table.policies.map(({ name }) => name).join(', ')}), and permissive policies add up.`,
        table.policies.some(({ name }) => name === 'user_isolation')
          ? 'If a script isolated it already, nothing is left to do; its way back is what `plan --sql --one-transaction --down` printed before.'
          : 'Drop them first, or declare the table "ignored".',
      ),
    );
  }
  if (table.rules.length > 0) {
    findings.push(
      fail(
        'rules',
        owned.table,
        `its rules (${table.rules.join(', ')}) rewrite what is written to it.`,
        'Replace the rules by triggers, or declare the table "ignored".',
      ),
    );
  }
  const open = table.grants.filter((grant) => grant.grantee === 'public').map((grant) => grant.privilege);
  if (open.length > 0) {
    findings.push(
      fail(
        'public-grants',
        owned.table,
        `everybody may ${[...new Set(open)].join(', ')}, so that the old application cannot be told from the new.`,
        `Grant the old application's roles by name and \`revoke all on table ${owned.table} from public\`.`,
      ),
    );
  }
  if (table.primaryKey === null) {
    findings.push(
      warn(
        'no-primary-key',
        owned.table,
        'it has no primary key: owners cannot be saved row by row for a rollback.',
        'Give it a primary key first if its owners are not to be found by rule.',
      ),
    );
  }
  return findings;
}

function ofKeys(owned: OwnedTable, table: Table): Finding[] {
  if (owned.class === 'account') return [];
  const findings: Finding[] = [];
  const deferrable = [table.primaryKey, ...table.uniques].filter((key) => key?.deferrable);
  for (const key of deferrable) {
    findings.push(
      fail(
        'deferrable-key',
        owned.table,
        `${key?.name} is checked late, which an index built concurrently cannot be.`,
        'Make it NOT DEFERRABLE first.',
      ),
    );
  }
  for (const key of [table.primaryKey, ...table.uniques]) {
    if (!/ WITHOUT OVERLAPS\)/.test(key?.definition ?? '')) continue;
    findings.push(
      fail(
        'temporal-key',
        owned.table,
        `${key?.name} is a key WITHOUT OVERLAPS, whose index cannot be built concurrently as a unique one.`,
        'Make it an exclusion constraint, or declare the table "ignored".',
      ),
    );
  }
  for (const name of table.exclusions) {
    findings.push(
      warn(
        'exclusion',
        owned.table,
        `${name} excludes rows of different users from each other and stays as it is.`,
        'Add the owner to it by hand (btree_gist).',
      ),
    );
  }
  const expressions = uniqueIndexes(table, owned.ownerColumn).filter(
    (index) => index.constraint === null && (index.partial || index.columns.includes(null)),
  );
  for (const index of expressions) {
    findings.push(
      warn(
        'expression-key',
        owned.table,
        `${index.name} is partial or over an expression: a rollback cannot say beforehand whether rows collide in it.`,
        'None needed; the rollback stops at it when they do.',
      ),
    );
  }
  return findings;
}

function ofReferences(owned: OwnedTable, table: Table): Finding[] {
  const names = new Set(owned.references.map((reference) => reference.name));
  return table.foreignKeys
    .filter((fk) => names.has(fk.name))
    .flatMap((fk) => {
      if (fk.onUpdate.startsWith('set')) {
        return [
          fail(
            'on-update-set',
            owned.table,
            `${fk.name} is emptied ON UPDATE, which would empty the owner as well.`,
            'Make it ON UPDATE CASCADE or NO ACTION first.',
          ),
        ];
      }
      if (fk.definition.endsWith(' NOT ENFORCED')) {
        return [
          fail(
            'not-enforced',
            owned.table,
            `${fk.name} is NOT ENFORCED, so that rows may name a parent that is not there; with the owner in it it would be.`,
            `alter table ${table.label} alter constraint ${identifier(fk.name)} enforced, or drop it.`,
          ),
        ];
      }
      if (fk.match === 'full' && fk.columns.length > 1) {
        return [
          warn(
            'match-full',
            owned.table,
            `${fk.name} is MATCH FULL; with the owner in it it becomes MATCH SIMPLE.`,
            'Add a CHECK that all its columns are null or none is.',
          ),
        ];
      }
      return [];
    });
}

/** A reference that is no owner's: who may write it learns which accounts there are. */
function toAccounts({ users }: Ownership, owned: OwnedTable, table: Table): Finding[] {
  const used = new Set(owned.sources.flatMap((source) => (source.kind === 'reference' ? [] : [source.column])));
  return table.foreignKeys
    .filter((fk) => fk.references === users?.table && owned.table !== users.table)
    .filter((fk) => !fk.columns.every((column) => used.has(column) || column === owned.ownerColumn))
    .map((fk) =>
      warn(
        'reference-to-accounts',
        owned.table,
        `${fk.name} may name any account: whether it is refused tells a user whether an account exists.`,
        'Drop the reference, or let the application alone write the column, where that must not be known.',
      ),
    );
}
