/** The function that every policy trusts, and the keys that it trusts. */
import { readFileSync } from 'node:fs';
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';

export const identityCheck: Check = {
  name: 'identity',
  since: 'prepare',
  holds: () => 'ringfence.current_user_id() is as it was installed, and its keys are out of reach',
  run: identityFaults,
};

const reinstall = 'Put it back from database/isolation/identity.sql.';

function identityFaults({ facts }: Context): Finding[] {
  const object = 'ringfence.current_user_id()';
  const found = facts.identityFunction;
  if (!found) return [fail('identity-function', object, 'does not exist, so every policy raises', reinstall)];
  const roles = facts.roles.map((role) => role.name);
  const wrong = [
    found.body.trim() === identityBody() ? null : 'its body is not the one that was installed',
    found.language === 'plpgsql' && found.returns === 'uuid'
      ? null
      : 'it is not the plpgsql function that returns uuid',
    found.definer ? null : 'it is not SECURITY DEFINER, so it cannot read the keys',
    found.settings.join() === 'search_path=pg_catalog, pg_temp'
      ? null
      : `its search_path is not closed (${found.settings.join('; ') || 'none is set'})`,
    found.volatility === 's' ? null : 'it is not STABLE',
    roles.includes(found.owner) ? `the application's role can replace it: it belongs to ${found.owner}` : null,
  ].filter((fault) => fault !== null);
  const readers = facts.keyReaders.map((role) =>
    fail(
      'identity-keys',
      'ringfence.identity_keys',
      `${role === 'public' ? 'everybody' : identifier(role)} has privileges on the keys that identities are signed with`,
      `revoke all on ringfence.identity_keys from ${role === 'public' ? 'public' : identifier(role)}; then put in a new key`,
    ),
  );
  const missing = facts.hasKeysTable
    ? []
    : [fail('identity-keys', 'ringfence.identity_keys', 'does not exist', reinstall)];
  return [...wrong.map((fault) => fail('identity-function', object, fault, reinstall)), ...readers, ...missing];
}

let body: string | undefined;

/** Read from the file that installs it, so that the two cannot drift apart. */
function identityBody(): string {
  if (body !== undefined) return body;
  const sql = readFileSync(new URL('../../../database/isolation/identity.sql', import.meta.url), 'utf8');
  const match = /function ringfence\.current_user_id\(\)[^$]*\$\$(.*?)\$\$/s.exec(sql)?.[1];
  if (match === undefined) throw new Error('identity.sql does not define ringfence.current_user_id()');
  body = match.trim();
  return body;
}
