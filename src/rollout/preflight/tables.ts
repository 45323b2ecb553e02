/** What kinds of table there are, and what is attached to them that acts on an UPDATE. */
import { publicationFaults, shapeFaults } from '../attached.ts';
import type { Table } from '../catalog.ts';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { missesNames, missesNamesText } from '../own-triggers.ts';
import { listed, type Subject } from './subject.ts';

/** Our own, on a database that had a rollout already. */
const ownPolicies = ['user_isolation', 'system_mode', 'legacy_application'];
/** Triggers of the rollout carry its name. */
const ownTrigger = /^(0_)?ringfence_/;

export function tableFindings(subject: Subject): Finding[] {
  return [
    ...subject.tables.flatMap((table) => [
      ...kindOf(table),
      ...triggersOf(subject, table),
      ...rulesOf(table),
      ...policiesOf(table),
      ...attachedFaults(subject, table),
    ]),
    ...inheritanceFindings(subject),
    ...subject.roots.flatMap((table) => [...partitionsOf(table), ...generatedOf(table)]),
  ];
}

/** A uuid with the name that is never empty is taken for the owner. The users' keys stay as they are. */
function attachedFaults({ users }: Subject, table: Table): Finding[] {
  const owner = table.columns.find(({ name, type, notNull }) => name === 'user_id' && type === 'uuid' && notNull);
  if (users.includes(table)) return [];
  return [...(owner ? [] : shapeFaults(table)), ...publicationFaults(table, owner?.name)];
}

function kindOf(table: Table): Finding[] {
  if (table.kind !== 'foreign') return [];
  const remedy = 'Ignore it in the configuration, and grant the application nothing on it.';
  return [fail('foreign-table', table.label, 'It is a foreign table: policies cannot protect it.', remedy)];
}

function inheritanceFindings({ catalog, tables }: Subject): Finding[] {
  const remedy = 'Ignore both in the configuration, or remodel them as a partitioned table or as tables of their own.';
  const parents = new Map<string, string[]>();
  for (const child of catalog.tables.values()) {
    for (const parent of child.inherits) parents.set(parent, [...(parents.get(parent) ?? []), child.label]);
  }
  return tables.flatMap((table) => {
    const children = parents.get(table.label) ?? [];
    const ways = [
      ...(table.inherits.length > 0 ? [`inherits from ${listed(table.inherits)}`] : []),
      ...(children.length > 0 ? [`is inherited by ${listed(children)}`] : []),
    ];
    if (ways.length === 0) return [];
    const message = `It ${ways.join(' and ')}: keys, references and policies do not reach across inheritance.`;
    return [fail('inheritance', table.label, message, remedy)];
  });
}

function partitionsOf(table: Table): Finding[] {
  if (table.kind !== 'partitioned') return [];
  if (table.partitions.length === 0)
    return [pass('partitions', table.label, 'It is partitioned and has no partition yet.')];
  return [
    warn(
      'partitions',
      table.label,
      `It is partitioned (${table.partitions.length} so far); each partition can be named past the policies of its parent.`,
      'The rollout gives each its own policies and builds its indexes one by one. Create no partition while it runs.',
    ),
  ];
}

function generatedOf(table: Table): Finding[] {
  const generated = table.columns.filter((column) => column.generated).map((column) => column.name);
  if (generated.length === 0) return [];
  const message = `Generated columns (${listed(generated)}) are computed again for every row that gets its owner.`;
  return [pass('generated-columns', table.label, message)];
}

function triggersOf(subject: Subject, table: Table): Finding[] {
  const follows = followsParent(subject, table);
  return table.triggers
    .filter((trigger) => trigger.onAnyUpdate && !ownTrigger.test(trigger.name))
    .flatMap((trigger) => {
      const object = `${table.label} trigger ${identifier(trigger.name)}`;
      if (trigger.enabled === 'always' || trigger.enabled === 'replica') {
        return [
          fail(
            'update-trigger',
            object,
            `It fires on any UPDATE and is enabled ${trigger.enabled}: the backfill cannot keep it from firing.`,
            'alter table … enable trigger … (without ALWAYS or REPLICA) for the time of the rollout.',
          ),
        ];
      }
      if (trigger.enabled === 'disabled') return [];
      if (follows && missesNames(trigger)) {
        const { message, remedy } = missesNamesText(trigger);
        return [fail('update-trigger', object, `Its ${message}`, remedy)];
      }
      return [
        warn(
          'update-trigger',
          object,
          'It fires on any UPDATE. The backfill keeps it from firing with session_replication_role, where this role may set that. While the old application is at work it does fire when a row follows its parent to another user: it sees an update that changes the owner column and nothing else.',
          'Where that is too much, let it pass over what triggers do (`when (pg_trigger_depth() = 0)`) until the seal.',
        ),
      ];
    });
}

/** It refers to another table than the users', so that its rows may be those of whom that row belongs to. */
function followsParent({ catalog, users }: Pick<Subject, 'catalog' | 'users'>, table: Table): boolean {
  const parent = table.partitionOf === null ? undefined : catalog.tables.get(table.partitionOf);
  if (parent) return followsParent({ catalog, users }, parent);
  return table.foreignKeys.some((fk) => !users.some(({ label }) => label === fk.references));
}

function rulesOf(table: Table): Finding[] {
  return table.rules.map((name) =>
    fail(
      'rules',
      `${table.label} rule ${identifier(name)}`,
      'It rewrites what is written to the table: neither the backfill nor the application would write what it says.',
      'Replace the rule by a trigger, or ignore the table in the configuration.',
    ),
  );
}

function policiesOf(table: Table): Finding[] {
  const foreign = table.policies.map((policy) => policy.name).filter((name) => !ownPolicies.includes(name));
  const findings: Finding[] = [];
  if (foreign.length > 0) {
    const message = `It has policies already: ${listed(foreign)}. Permissive policies add up, so one may undo the isolation.`;
    const remedy = 'Drop them first, or ignore the table in the configuration.';
    findings.push(fail('existing-policies', table.label, message, remedy));
  }
  if (table.rowSecurity && table.policies.length === 0) {
    const message = 'Row-level security is enabled without a policy: only its owner sees rows now.';
    findings.push(warn('existing-policies', table.label, message, 'Find out whether that is meant.'));
  }
  return findings;
}
