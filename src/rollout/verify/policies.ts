/** The canonical policies, and no other; enabled, and forced on the owner too. */
import type { Policy, TableLabel } from '../catalog.ts';
import { type Finding, fail, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { type Check, type Context, counted } from './check.ts';
import { canonicalPolicies, type Guarded, hasReached, legacyPolicy, shadowRole } from './expectation.ts';

export const policyCheck: Check = {
  name: 'policies',
  since: 'shadow',
  holds: ({ guarded }) =>
    `the canonical policies and no other, enabled and forced, on ${counted(guarded.length, 'table')}`,
  run: (context) => context.guarded.flatMap(policyFaults(context)),
};

function policyFaults(context: Context) {
  const { expectation } = context;
  const cut = hasReached(expectation, 'cutover');
  return ({ label, table, owned }: Guarded): Finding[] => {
    const canonical = canonicalPolicies(label, owned.ownerColumn, cut ? 'public' : shadowRole);
    const meant = expectation.extras.policies.filter((p) => p.table === label).map((p) => rolesInOrder(p.definition));
    const faults = [...canonical].flatMap(([name, definition]) => {
      const found = table.policies.find((policy) => policy.name === name);
      if (!found) return [fail('policy-missing', label, `has no policy ${name}`, definition)];
      if (found.definition === definition) return [];
      return [
        fail('policy-differs', label, `the policy ${name} is not the canonical one: ${found.definition}`, definition),
      ];
    });
    const further = table.policies.filter(
      (policy) => !canonical.has(policy.name) && !meant.includes(rolesInOrder(policy.definition)),
    );
    faults.push(...further.map((policy) => furtherPolicy(context, label, policy)));
    const present = table.policies.map((policy) => rolesInOrder(policy.definition));
    const absent = meant.filter((definition) => !present.includes(definition));
    faults.push(...absent.map((d) => fail('policy-missing', label, 'a policy of this table is missing or differs', d)));
    if (!table.rowSecurity) {
      const remedy = `alter table ${label} enable row level security`;
      faults.push(fail('row-security', label, 'row-level security is not enabled, so no policy counts', remedy));
    } else if (cut && !table.forced) {
      const remedy = `alter table ${label} force row level security`;
      faults.push(fail('row-security', label, 'row-level security is not forced: it does not bind the owner', remedy));
    }
    return faults;
  };
}

/** The catalogue lists roles by their number, which is another in every cluster. */
function rolesInOrder(definition: string): string {
  const roles = /^(create policy .*? as \w+ for \w+ to )(.*?)( (?:using|with check) \(.*)$/s.exec(definition);
  return roles === null ? definition : `${roles[1]}${roles[2]?.split(', ').toSorted().join(', ')}${roles[3]}`;
}

function furtherPolicy({ expectation }: Context, label: TableLabel, policy: Policy): Finding {
  const remedy = `drop policy ${identifier(policy.name)} on ${label}`;
  if (policy.name !== legacyPolicy) {
    return fail(
      'policy-further',
      label,
      `has the further policy ${identifier(policy.name)}: ${policy.definition}`,
      remedy,
    );
  }
  if (hasReached(expectation, 'seal')) {
    return fail('policy-legacy', label, 'the old application still sees everything', remedy);
  }
  if (isLegacyAsPlanned(label, policy, expectation.ownership.legacyRoles)) {
    return warn(
      'policy-legacy',
      label,
      'the old application still sees everything',
      'Finish with `ringfence apply --until seal --yes` once it is switched off.',
    );
  }
  return fail('policy-legacy', label, `exempts others than the old application's roles: ${policy.definition}`, remedy);
}

function isLegacyAsPlanned(label: TableLabel, { definition }: Policy, legacyRoles: readonly string[]): boolean {
  const start = `create policy ${legacyPolicy} on ${label} as permissive for all to `;
  const end = ' using (true) with check (true)';
  if (!definition.startsWith(start) || !definition.endsWith(end)) return false;
  const allowed = new Set(legacyRoles.map((role) => (role === 'public' ? role : identifier(role))));
  return definition
    .slice(start.length, -end.length)
    .split(', ')
    .every((role) => allowed.has(role));
}
