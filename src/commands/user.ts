/** `ringfence user create|promote|demote|list`. Each change is in the user's own access log, with `cli` as the actor. */
import { text as readAll } from 'node:stream/consumers';
import { v7 as uuidv7 } from 'uuid';
import { hashPassword, requireAllowedPassword } from '../access/password.ts';
import type { Config } from '../config.ts';
import { registration } from '../contract/accounts.ts';
import type { ProductAccountsScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { AccountAdministration, type ListedAccount } from '../repositories/account-administration.ts';
import { AccountRepository } from '../repositories/accounts.ts';
import { withIsolation } from './database.ts';
import { printJson, printRows } from './print.ts';

const columns = ['id', 'email', 'name', 'roles', 'status', 'created_at', 'last_login_at'] as const;

export interface NewUser {
  readonly email: string;
  readonly name: string;
  readonly admin?: boolean;
  /** Undefined: nobody can log in with a password; `token mint` still works. */
  readonly password?: string | undefined;
}

/** @throws Problem `usage_error` naming the flag, `already_exists` */
export async function createUser(config: Config, user: NewUser): Promise<ListedAccount> {
  const email = checked('--email', 'email', user.email);
  const name = checked('--name', 'name', user.name);
  if (user.password !== undefined) requireAllowedPassword(user.password, email, '--password-stdin');
  const passwordHash = user.password === undefined ? undefined : await hashPassword(user.password);
  return withIsolation(config, (isolation) =>
    isolation.withAccounts('create user', async (scope) => {
      const id = uuidv7();
      const account = { id, email, name, ...(passwordHash === undefined ? {} : { passwordHash }) };
      if (!(await new AccountRepository(scope).create(account))) {
        throw problem('already_exists', `--email: a user with the address ${email} exists already`);
      }
      await record(scope, id, 'create_user');
      return setRoles(scope, email, user.admin ?? false);
    }),
  );
}

/** @throws Problem `not_found` when there is no such user */
export async function promoteUser(config: Config, email: string, admin: boolean): Promise<ListedAccount> {
  return withIsolation(config, (isolation) =>
    isolation.withAccounts(admin ? 'promote user' : 'demote user', async (scope) => {
      const account = await setRoles(scope, email, admin);
      await record(scope, account.id, admin ? 'promote' : 'demote');
      return account;
    }),
  );
}

export function listUsers(config: Config): Promise<ListedAccount[]> {
  return withIsolation(config, (isolation) =>
    isolation.withAccounts('list users', (scope) => new AccountAdministration(scope).list()),
  );
}

async function setRoles(scope: ProductAccountsScope, email: string, admin: boolean): Promise<ListedAccount> {
  const account = await new AccountAdministration(scope).setRoles(email, admin ? ['user', 'admin'] : ['user']);
  if (account) return account;
  throw problem('not_found', `--email: there is no user with the address ${email}`);
}

function record(scope: ProductAccountsScope, userId: string, operation: string): Promise<void> {
  return recordAccountEvent(scope, { userId, operation, outcome: 'ok', requestId: uuidv7(), actor: 'cli' });
}

function checked(flag: string, field: 'email' | 'name', value: string): string {
  const parsed = registration.shape[field].safeParse(value);
  if (parsed.success) return parsed.data;
  throw problem(
    'usage_error',
    `${flag}: ${parsed.error.issues[0]?.message ?? 'is not valid'}, got ${JSON.stringify(value)}`,
  );
}

interface Output {
  readonly json?: boolean;
}

export async function runUserCreate(
  config: Config,
  flags: Output & { email: string; name: string; admin?: boolean; passwordStdin?: boolean },
): Promise<void> {
  const password = flags.passwordStdin ? (await readAll(process.stdin)).replace(/\r?\n$/, '') : undefined;
  show(await createUser(config, { ...flags, password }), flags);
}

export async function runUserPromote(config: Config, flags: Output & { email: string }, admin: boolean): Promise<void> {
  show(await promoteUser(config, flags.email, admin), flags);
}

export async function runUserList(config: Config, { json = false }: Output): Promise<void> {
  printRows(await listUsers(config), columns, json);
}

function show(account: ListedAccount, { json = false }: Output): void {
  if (json) printJson(account);
  else printRows([account], columns, false);
}
