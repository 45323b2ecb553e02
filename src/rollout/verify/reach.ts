/** What leads to guarded rows around the policies: views with their owner's rights, copies, functions with theirs. */
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';

export const reachChecks: readonly Check[] = [
  {
    name: 'reach',
    since: 'cutover',
    holds: () => 'no view, materialized view or SECURITY DEFINER function leads around the policies',
    run: (context) => [...viewFaults(context), ...functionFaults(context)],
  },
];

/** Of ours: callable by everybody who has an identity, and what it gives is that identity. */
const ownFunctions: readonly string[] = ['ringfence.verified_user_id(boolean)'];

function viewFaults({ facts, expectation }: Context): Finding[] {
  const role = identifier(expectation.ownership.appRole);
  return facts.views.flatMap(({ label, materialized, securityInvoker, over }) => {
    const tables = over.join(', ');
    if (materialized) {
      const message = `holds rows of all users of ${tables}, and ${role} may read it: policies do not reach a copy`;
      return [fail('materialized-view', label, message, `revoke all on ${label} from public, ${role}`)];
    }
    if (securityInvoker) return [];
    const message = `reads ${tables} with the rights of its owner, and ${role} may use it`;
    return [fail('view-owner-rights', label, message, `alter view ${label} set (security_invoker = true)`)];
  });
}

function functionFaults({ facts, expectation }: Context): Finding[] {
  const allowed = new Set([...ownFunctions, ...expectation.extras.functions]);
  const role = identifier(expectation.ownership.appRole);
  return facts.definerFunctions
    .filter((signature) => !allowed.has(signature))
    .map((signature) =>
      fail(
        'definer-function',
        signature,
        `is SECURITY DEFINER and ${role} may call it: what it reads, it reads as its owner`,
        `revoke execute on function ${signature} from public, ${role}; or make it SECURITY INVOKER`,
      ),
    );
}
