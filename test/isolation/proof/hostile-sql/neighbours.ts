/** What a hostile statement leaves on a connection of the real pool, and the next user's request there. */
import { openIsolation } from '../../../../src/database/isolation.ts';
import { roleUrl, systemRole } from '../../../../src/database/provision.ts';
import type { Caller } from '../../../../src/isolation/scope.ts';
import { testSecret } from '../../../support/templates.ts';
import { makeAttempt } from './families.ts';
import { readWords } from './vocabulary.ts';
import { attacker, guessedUsers, type Worlds } from './worlds.ts';

/**
 * One connection, used by turns: a hostile statement that is committed, then a request of a user whose rows are known.
 *
 * @returns how many requests were made
 */
export async function checkNeighbours(
  worlds: Worlds,
  seed: number,
  count: number,
  report: (fault: string) => void,
): Promise<number> {
  const [world] = worlds.both;
  const { isolation, close } = openIsolation({
    appUrl: world.appUrl,
    systemUrl: roleUrl(world.url, systemRole, testSecret),
    poolSize: 1,
    secret: testSecret,
    enforcement: 'on',
  });
  const caller = (userId: Caller['userId']): Caller => ({ userId, actor: 'session', requestId: 'proof' });
  const next = caller(guessedUsers[0]);
  const words = await readWords(world.url);
  const read = () =>
    isolation.readAsUser(next, async (scope) => {
      const [labels, tasks] = await Promise.all([
        scope.all(
          scope.db.selectFrom('labels').select(['id', 'name', 'user_id']).where('name', '<>', 'another').orderBy('id'),
        ),
        scope.all(scope.db.selectFrom('tasks').select(['id', 'title', 'version', 'user_id']).orderBy('id')),
      ]);
      return JSON.stringify([labels, tasks]);
    });
  try {
    const known = await read();
    for (let made = 0; made < count; made += 1) {
      const attempt = makeAttempt(seed, 1_000_000 + made, words);
      for (const { sql } of attempt.statements) {
        await isolation.sqlAs(caller(attacker), sql.replaceAll('$1', 'null'), { write: true }).catch(() => {});
      }
      // A request may fail for what was done to its connection; it may not answer with anything else.
      const answer = await read().catch(() => read());
      if (answer !== known) {
        report(
          `the next user on a connection was answered otherwise after: ${attempt.statements.map(({ sql }) => sql).join('; ')}`,
        );
        return made;
      }
    }
    return count;
  } finally {
    await close();
  }
}
