/** The application's clock jumps, and the key changes, while requests run. */
import { openIsolation } from '../../../../src/database/isolation.ts';
import { withOwner } from '../../../../src/database/owner.ts';
import { appRole, installIdentityKey, roleUrl, systemRole } from '../../../../src/database/provision.ts';
import { deriveIdentityKey } from '../../../../src/isolation/identity.ts';
import { testSecret } from '../../../support/templates.ts';
import { type Found, type Undisturbed, undisturbed } from './disturb.ts';
import { callerOf } from './handles.ts';
import { asReply, codeOf, judge, type Reply } from './judge.ts';
import { callOf, type Disturbed } from './requests.ts';
import type { Stage } from './stage.ts';

const hour = 3_600_000;
const read: Disturbed = { name: 'GET /api/tasks', again: 'same' };

/** Whose the two clocks of the process are: the one that is set, and the one that only runs. */
const clocks = { calendar: Date, running: performance } as const;

/** @returns the undoing */
function turn(clock: keyof typeof clocks, milliseconds: number): () => void {
  const owner: { now(): number } = clocks[clock];
  const { now } = owner;
  const original = now.bind(owner);
  Object.defineProperty(owner, 'now', { value: () => original() + milliseconds, configurable: true, writable: true });
  return () => Object.defineProperty(owner, 'now', { value: now, configurable: true, writable: true });
}

/**
 * Identities are good by the database's clock. So a jump of the calendar changes nothing but what access tokens are
 * worth; and where our running clock stood still (a machine that slept), a request may fail once for each connection.
 */
export async function jumpInTime(stage: Stage): Promise<Found> {
  const faults: string[] = [];
  const known = await undisturbed(stage, read);
  let requests = 0;
  const ask = async (when: string, problems: readonly string[]) => {
    for (const [i, actor] of stage.pair.entries()) {
      requests += 1;
      const reply = await asReply(stage.send(actor, callOf(read, actor)));
      const wrong = judge(reply, known[i]?.answer ?? '', { stage, actor, problems });
      faults.push(...wrong.map((fault) => `${when}: ${fault}`));
    }
  };
  for (const hours of [-30, -3, 3, 30]) {
    const back = turn('calendar', hours * hour);
    try {
      await ask(`with the clock ${hours} hours off`, ['unauthenticated']);
      for (const actor of stage.pair) {
        requests += 1;
        const rows = await stage.world.server.isolation.readAsUser(callerOf(actor), (scope) =>
          scope.all(scope.db.selectFrom('tasks').select('title')),
        );
        const right = rows.length > 0 && rows.every(({ title }) => title === actor.mark);
        if (!right) faults.push(`with the clock ${hours} hours off a scope read ${JSON.stringify(rows)}`);
      }
    } finally {
      back();
    }
    await ask(`after the clock was ${hours} hours off`, []);
  }
  for (const hours of [-1, 1]) {
    const back = turn('running', hours * hour);
    try {
      for (let turnOf = 0; turnOf < stage.poolSize; turnOf += 1)
        await ask('when the running clock jumped', ['unavailable']);
      await ask('once the clock was learnt anew', []);
    } finally {
      back();
    }
    await stage.emptyPool();
    await ask('after the running clock jumped', []);
  }
  return { figures: { 'requests around jumps of the clock': requests }, faults };
}

const nextSecret = 'the secret that comes next, long enough to be one of those';

/** Two keys hold, then the old one is taken away, and a server that still signs with it is refused everything. */
export async function rotateKeys(stage: Stage, requestsEach: number): Promise<Found> {
  const faults: string[] = [];
  const known = await undisturbed(stage, read);
  const { databaseUrl } = stage.world.server;
  // The log-ins stay; only the key that identities are signed with changes.
  const next = openIsolation({
    appUrl: roleUrl(databaseUrl, appRole, testSecret),
    systemUrl: roleUrl(databaseUrl, systemRole, testSecret),
    poolSize: 2,
    secret: nextSecret,
    enforcement: 'on',
  });
  const withNext = () =>
    Promise.all(
      stage.pair.map(async (actor) => {
        const rows = await next.isolation.readAsUser(callerOf(actor), (scope) =>
          scope.all(scope.db.selectFrom('tasks').select('title')),
        );
        if (!rows.every(({ title }) => title === actor.mark) || rows.length === 0)
          faults.push('the new key read otherwise');
      }),
    );
  try {
    const before = traffic(stage, requestsEach);
    await withOwner(databaseUrl, (owner) => installIdentityKey(owner, nextSecret));
    faults.push(...wrongIn(await before, known, stage, 'while two keys hold'));
    await withNext();
    const during = traffic(stage, requestsEach);
    await stage.world.database.query('delete from ringfence.identity_keys where key_id = $1', [
      deriveIdentityKey(testSecret).keyId,
    ]);
    // Some of these were answered before.
    faults.push(...wrongIn(await during, known, stage, 'while the old key goes', ['internal_error']));
    for (const replies of await traffic(stage, 2)) {
      for (const reply of replies) {
        const refused = 'status' in reply && codeOf(reply) === 'internal_error';
        if (!refused) faults.push(`without its key the server answers ${JSON.stringify(reply)}`);
      }
    }
    await withNext();
  } finally {
    await withOwner(databaseUrl, (owner) => installIdentityKey(owner, testSecret));
    await next.close();
  }
  faults.push(...wrongIn(await traffic(stage, 2), known, stage, 'with its key back'));
  return { figures: { 'requests while keys changed': stage.pair.length * (2 * requestsEach + 4) }, faults };
}

/** @returns for each of the two what was answered */
const traffic = (stage: Stage, count: number): Promise<Reply[][]> =>
  Promise.all(
    stage.pair.map(async (actor) => {
      const replies: Reply[] = [];
      for (let i = 0; i < count; i += 1) replies.push(await asReply(stage.send(actor, callOf(read, actor))));
      return replies;
    }),
  );

function wrongIn(
  answered: readonly Reply[][],
  known: readonly Undisturbed[],
  stage: Stage,
  when: string,
  problems: readonly string[] = [],
): string[] {
  return stage.pair.flatMap((actor, i) =>
    (answered[i] ?? []).flatMap((reply) =>
      judge(reply, known[i]?.answer ?? '', { stage, actor, problems }).map((fault) => `${when}: ${fault}`),
    ),
  );
}
