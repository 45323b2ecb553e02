/** The functions that every policy trusts, and the keys that they trust. */
import { readFileSync } from 'node:fs';
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';
import type { IdentityFunction } from './facts.ts';

export const identityCheck: Check = {
  name: 'identity',
  since: 'prepare',
  holds: () => `${signatures.join(' and ')} are as they were installed, and the keys are out of reach`,
  run: (context) => [...signatures.flatMap((signature) => functionFaults(context, signature)), ...keyFaults(context)],
};

const verifier = 'ringfence.verified_user_id(boolean)';
/** The verifier, which alone reads the keys, and what asks it for a user or an error. */
const signatures = [verifier, 'ringfence.current_user_id()'] as const;
const reinstall = 'Put it back from database/isolation/identity.sql.';

function functionFaults({ facts }: Context, signature: string): Finding[] {
  const found = facts.identityFunctions.find((candidate) => candidate.signature === signature);
  if (!found) return [fail('identity-function', signature, 'does not exist, so every policy raises', reinstall)];
  const roles = facts.roles.map((role) => role.name);
  const faults = [
    found.body.trim() === installedBody(signature) ? null : 'its body is not the one that was installed',
    found.returns === 'uuid' ? null : 'it does not return uuid',
    found.volatility === 's' ? null : 'it is not STABLE',
    ...(signature === verifier ? verifierFaults(found) : plainFaults(found)),
    roles.includes(found.owner) ? `the application's role can replace it: it belongs to ${found.owner}` : null,
  ];
  return faults
    .filter((fault) => fault !== null)
    .map((fault) => fail('identity-function', signature, fault, reinstall));
}

function verifierFaults({ language, definer, settings }: IdentityFunction): (string | null)[] {
  return [
    language === 'plpgsql' ? null : 'it is not the plpgsql function',
    definer ? null : 'it is not SECURITY DEFINER, so it cannot read the keys',
    settings.join() === 'search_path=pg_catalog, pg_temp'
      ? null
      : `its search_path is not closed (${settings.join('; ') || 'none is set'})`,
  ];
}

function plainFaults({ language, definer, settings }: IdentityFunction): (string | null)[] {
  return [
    language === 'sql' ? null : 'it is not the sql function',
    definer ? 'it is SECURITY DEFINER' : null,
    settings.length === 0 ? null : `it has settings (${settings.join('; ')})`,
  ];
}

function keyFaults({ facts }: Context): Finding[] {
  const readers = facts.keyReaders.map((role) =>
    fail(
      'identity-keys',
      'ringfence.identity_keys',
      `${role === 'public' ? 'everybody' : identifier(role)} has privileges on the keys that identities are signed with`,
      `revoke all on ringfence.identity_keys from ${role === 'public' ? 'public' : identifier(role)}; then put in a new key`,
    ),
  );
  if (facts.hasKeysTable) return readers;
  return [...readers, fail('identity-keys', 'ringfence.identity_keys', 'does not exist', reinstall)];
}

let installed: string | undefined;

/** Read from the file that installs it, so that the two cannot drift apart. */
function installedBody(signature: string): string {
  installed ??= readFileSync(new URL('../../../database/isolation/identity.sql', import.meta.url), 'utf8');
  const name = signature.slice(0, signature.indexOf('('));
  const [, definition] = installed.split(`create or replace function ${name}(`);
  const body = definition?.split('$$')[1];
  if (body === undefined) throw new Error(`identity.sql does not define ${signature}`);
  return body.trim();
}
