/** Defects of the rollout: of what brings isolation to a database and says afterwards whether it is there. */
import { inCode, type Mutant } from './mutant.ts';

const runner = 'src/rollout/run/runner.test.ts';
const verify = 'src/rollout/verify/verify.test.ts';
const policies = 'src/rollout/verify/policies.ts';
const ownRollout = 'src/database/own-rollout.test.ts';

export const rolloutMutants: readonly Mutant[] = [
  inCode('I9', 'the hash of a plan leaves its steps out', runner, 'src/rollout/plan.ts', [
    'JSON.stringify({ database, ownership, extras, steps })',
    'JSON.stringify({ database, ownership, extras })',
  ]),
  inCode('I9', 'another plan is run over one that is partly done', runner, 'src/rollout/run/runner.ts', [
    'if (inForce !== null && [...(await readLedger',
    'if (inForce === undefined && [...(await readLedger',
  ]),
  inCode(
    'I9',
    'apply takes a plan for the one that was looked at',
    'src/commands/rollout.test.ts',
    'src/rollout/resolve-plan.ts',
    ['if (expected !== undefined && expected !== found.plan.hash) {', 'if (false) {'],
  ),
  inCode('I9', 'a step’s entry is not written with its change', runner, 'src/rollout/run/short-lock.ts', [
    "    await client.query('set local statement_timeout = 0');\n",
    "    await client.query('set local statement_timeout = 0');\n    await client.query('commit; begin');\n    if (rows < 0) return null;\n",
  ]),
  inCode('I9', 'apply leaves a statement of a step out', ownRollout, 'src/rollout/run/short-lock.ts', [
    'for (const statement of action.statements) rows',
    'for (const statement of action.statements.slice(0, Math.max(1, action.statements.length - 1))) rows',
  ]),
  inCode('I9', 'apply runs what the plan does not show', ownRollout, 'src/rollout/run/short-lock.ts', [
    'for (const statement of action.statements) rows',
    'for (const statement of [...action.statements, ...(action.locks[0] ? [`create index on ${action.locks[0]} ((1))`] : [])]) rows',
  ]),
  inCode('I9', 'a rollback goes forwards', runner, 'src/rollout/run/runner.ts', [
    'return plan.steps.filter((step) => phases.indexOf(step.phase) > kept).toReversed();',
    'return plan.steps.filter((step) => phases.indexOf(step.phase) > kept);',
  ]),
  inCode('I9', 'a check that finds something passes', runner, 'src/rollout/run/check.ts', [
    'if (total > 0) {',
    'if (total < 0) {',
  ]),
  inCode(
    'I9',
    'the owner’s column belongs to nobody in particular at first',
    ownRollout,
    'src/rollout/steps/prepare.ts',
    [
      'uuid not null default ${literal(table.defaultOwner)};`,\n    ),',
      'uuid default ${literal(table.defaultOwner)};`,\n    ),',
    ],
  ),
  inCode('I5', 'rows that refer to another user’s are let pass', ownRollout, 'src/rollout/steps/owners.ts', [
    'where t.${identifier(table.ownerColumn)} <> p.${identifier(parent.ownerColumn)}`;',
    'where t.${identifier(table.ownerColumn)} <> p.${identifier(parent.ownerColumn)} and false`;',
  ]),
  inCode('I9', 'verify does not see that a policy is another one', verify, policies, [
    'if (found.definition === definition) return [];',
    'if (found) return [];',
  ]),
  inCode('I9', 'verify does not see a further policy', verify, policies, [
    'faults.push(...further.map((policy) => furtherPolicy(context, label, policy)));\n',
    '',
  ]),
  inCode('I9', 'verify does not see that policies are not forced', verify, policies, [
    '} else if (cut && !table.forced) {',
    '} else if (false) {',
  ]),
  inCode('I9', 'verify does not see whose new rows are', verify, 'src/rollout/verify/structure.ts', [
    "if (wanted !== null && !wanted.test(column.default ?? '')) {",
    'if (false) {',
  ]),
  inCode('I9', 'the fingerprint leaves policies out', verify, 'src/rollout/verify/fingerprint.ts', [
    '  for (const { name, definition } of table.policies) add(`policy ${label} ${name}`, definition);\n',
    '',
  ]),
];
