/** `ringfence sql --as E "STATEMENT"`: one statement as a user, held by the policies alone. */
import { v7 as uuidv7 } from 'uuid';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { parseUserId } from '../isolation/identity.ts';
import type { Caller, SqlResult } from '../isolation/scope.ts';
import { recordAccountEvent } from '../repositories/access-log.ts';
import { AccountRepository } from '../repositories/accounts.ts';
import { withIsolation } from './database.ts';
import { printJson, printRows } from './print.ts';

const reasonCharsMax = 500;

/**
 * Runs the statement as the application role with the user's identity. Rolled back unless `write`; that it was asked
 * for is in the user's access log in any case, since it is written in a transaction of its own before.
 *
 * @throws Problem `not_found` without such a user, `statement_failed` with what Postgres said
 */
export async function sqlAs(config: Config, email: string, statement: string, write: boolean): Promise<SqlResult> {
  if (statement.trim() === '') throw problem('usage_error', 'statement: must not be empty');
  return withIsolation(config, async (isolation) => {
    if (isolation.enforcement !== 'on') {
      throw problem(
        'migration_failed',
        'The schema has no isolation yet, so there is nobody to be. Run `ringfence migrate up`.',
      );
    }
    const caller: Caller = { userId: await activeUser(), actor: 'cli', requestId: uuidv7() };
    try {
      return await isolation.sqlAs(caller, statement, { write });
    } catch (error) {
      throw statementFault(error);
    }

    async function activeUser() {
      return isolation.withAccounts('sql', async (scope) => {
        const account = await new AccountRepository(scope).findByEmail(email);
        const userId = parseUserId(account?.id);
        if (!account || userId === null) throw problem('not_found', `--as: there is no user with the address ${email}`);
        if (account.status !== 'active') throw problem('validation_failed', `--as: the user is ${account.status}`);
        await recordAccountEvent(scope, {
          userId,
          operation: write ? 'sql_write' : 'sql',
          outcome: 'ok',
          reason: [...statement].slice(0, reasonCharsMax).join(''),
          requestId: uuidv7(),
          actor: 'cli',
        });
        return userId;
      });
    }
  });
}

/** What Postgres refuses is the statement's fault and no defect of ours: one line, with the SQLSTATE. */
function statementFault(error: unknown): unknown {
  if (!(error instanceof Error) || !('severity' in error) || !('code' in error)) return error;
  return problem('statement_failed', `${error.message} (SQLSTATE ${String(error.code)})`, {}, { cause: error });
}

export async function runSql(
  config: Config,
  statement: string,
  { as, write = false, json = false }: { as: string; write?: boolean; json?: boolean },
): Promise<void> {
  const result = await sqlAs(config, as, statement, write);
  if (json) printJson({ command: result.command, count: result.count, written: write, rows: result.rows });
  else if (result.columns.length > 0) printRows(result.rows, result.columns, false);
  const outcome = write || result.command === 'SELECT' ? '' : '; rolled back, add --write to keep it';
  process.stderr.write(`${result.command} ${result.count}${outcome}\n`);
}
