/**
 * The accounts behind tokens of an outside identity provider. (issuer, subject) is the identity; an e-mail address never
 * joins a token to an account. Not even a verified one: whoever registered an address here first was not asked to prove
 * it, so joining would hand the provider's user over to a stranger's account, or the other way round.
 */
import { v7 as uuidv7 } from 'uuid';
import type { ProductIsolation } from '../database/isolation.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { type Account, AccountRepository } from '../repositories/accounts.ts';
import { type AuthenticatedCaller, rolesOf, scopesOf, userIdOf } from './caller.ts';
import type { ExternalToken } from './external-token.ts';
import { tokenFault } from './token-fault.ts';

const nameCharsMax = 200;

export function createProviderAccounts(isolation: ProductIsolation, createUsers: boolean) {
  return async (token: ExternalToken, requestId: string): Promise<AuthenticatedCaller> => {
    const account = await isolation.withAccounts('find account of the identity provider', async (scope) => {
      const accounts = new AccountRepository(scope);
      const known = await accounts.findByProvider(token.issuer, token.subject);
      if (known || !createUsers) return known;
      const id = await create(accounts, token);
      if (id !== undefined) {
        const event = { operation: 'register', outcome: 'ok', reason: 'identity provider', actor: 'provider' } as const;
        await recordAccountEvent(scope, { ...event, userId: id, requestId });
      }
      // Another request may have made it at the same time.
      return accounts.findByProvider(token.issuer, token.subject);
    });
    if (account?.status !== 'active') throw tokenFault('invalid');
    return callerOf(account, token, requestId);
  };
}

/** @returns the id of the new account, undefined when another request made it */
async function create(accounts: AccountRepository, token: ExternalToken): Promise<string | undefined> {
  const id = uuidv7();
  const external = { issuer: token.issuer, subject: token.subject };
  // RFC 2606 §2: nobody can have an address there. An unverified address would keep its real owner from registering.
  const placeholder = `${id}@provider.invalid`;
  const email = token.emailVerified && token.email !== undefined ? token.email : placeholder;
  const name = [...(token.name ?? token.email ?? 'Provider account')].slice(0, nameCharsMax).join('');
  if (await accounts.create({ id, email, name, external })) return id;
  // Taken: the address by another account, or the identity by a request at the same time.
  return (await accounts.create({ id, email: placeholder, name, external })) ? id : undefined;
}

function callerOf(account: Account, token: ExternalToken, requestId: string): AuthenticatedCaller {
  const held = rolesOf(account.roles);
  return {
    userId: userIdOf(account.id),
    // A token that does not say when it was made counts as made before anything that ends tokens.
    issuedAt: (token.issuedAt ?? 0) * 1000,
    actor: 'provider',
    requestId,
    roles: held,
    scopes: scopesOf(held),
    credentialId: account.id,
  };
}
