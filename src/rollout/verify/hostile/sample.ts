/**
 * The hostile sample: every form of the catalogue of attacks on every table, up to a number, each undone at once. No mark of
 * the victim's may come back in any form, nothing of his may change, and a hidden row must answer as no row does.
 */
import { createHash } from 'node:crypto';
import { type Finding, fail, warn } from '../../finding.ts';
import { stemOf } from '../../synthetic/marks.ts';
import { needlesOf } from '../../synthetic/needles.ts';
import type { Unplanted } from '../../synthetic/plant.ts';
import { appRoleCheck } from '../app-role.ts';
import type { Check, Context } from '../check.ts';
import { notDone } from '../data.ts';
import { hasReached } from '../expectation.ts';
import { policyCheck } from '../policies.ts';
import { type Limits, withSession } from '../session.ts';
import { type Answer, Assault } from './assault.ts';
import { existenceForms, otherForms } from './other-forms.ts';
import { readingForms } from './reading-forms.ts';
import { type Attacked, makeWorld, type World } from './world.ts';

/** How an attack went, over all tables. */
export interface AttackCount {
  readonly attack: string;
  tried: number;
  refused: number;
  /** Not to be judged: a time-out, or a lock not had. */
  undecided: number;
  faults: number;
}

export interface HostileSample {
  /** Forms for tables that there were; more than `attempts` when there was no room for all. */
  possible: number;
  attempts: number;
  tables: number;
  readonly attacks: Map<string, AttackCount>;
  readonly unplanted: Unplanted[];
  /** A phrase: why nothing was tried. */
  refusal: string | null;
}

/** Attempts at most: the sample of a large schema is drawn evenly, and by names, so that it is the same the next time. */
export const attemptsMax = 700;

const limits: Limits = { statementMs: 3_000, lockMs: 100, silent: true };

/** Cancelled for its length, a lock not had, a concurrent change: says nothing about the walls. */
const undecided: ReadonlySet<string> = new Set(['57014', '55P03', '40001', '40P01']);

export function newSample(): HostileSample {
  return { possible: 0, attempts: 0, tables: 0, attacks: new Map(), unplanted: [], refusal: null };
}

/**
 * @param sample is counted up
 * @param max attempts
 */
export function hostileCheck(sample: HostileSample, max: number): Check {
  return {
    name: 'hostile-sample',
    since: 'cutover',
    holds: () => `${sample.attempts} hostile statements on ${sample.tables} tables learnt nothing and changed nothing`,
    run: async (context) => {
      sample.refusal = await refusal(context);
      if (sample.refusal !== null) {
        const remedy = 'Put the other findings right first.';
        return [fail('hostile-sample', undefined, `not tried: ${sample.refusal}`, remedy)];
      }
      try {
        return await withSession(context, limits, async (session) => {
          const world = await makeWorld(context, session);
          return attackAll(context, world, session.identityOf(world.attacker.id), sample, max);
        });
      } catch (error) {
        return [notDone('hostile-sample', undefined, error)];
      }
    },
  };
}

/** What stands above the policies, or owns a table, might really do what it is told. */
async function refusal(context: Context): Promise<string | null> {
  if (context.facts.roles.length === 0) return 'the application’s role does not exist';
  const mighty = (await appRoleCheck.run(context)).some(({ severity }) => severity === 'fail');
  return mighty ? 'the application’s role could do harm where it is' : null;
}

async function attackAll(
  context: Context,
  world: World,
  identity: string,
  sample: HostileSample,
  max: number,
): Promise<readonly Finding[]> {
  const { client, expectation } = context;
  const victims = frameOf(world);
  if (victims === null) return [nothingPlanted()];
  const assault = new Assault(client, expectation.ownership.appRole, identity, victims);
  const judge = new Judge(world, await assault.probe());
  sample.tables = world.targets.length;
  sample.unplanted.push(...world.unplanted);
  const suspect = new Set((await policyCheck.run(context)).map(({ object }) => object));
  const attempts = attemptsOf(world, suspect, hasReached(expectation, 'contract'));
  sample.possible = attempts.length;
  const findings: Finding[] = [];
  for (const attempt of drawn(attempts, max)) {
    const fault = await attempt.run(assault, judge);
    tally(sample, attempt.attack, fault);
    if (fault.verdict !== null) findings.push(faultOf(attempt, fault.verdict));
  }
  return findings;
}

function nothingPlanted(): Finding {
  const message = 'no table could be given a row of a synthetic user, so nothing could be tried';
  return warn('hostile-sample', undefined, message, 'The page says why, table by table.');
}

function faultOf({ attack, label }: Attempt, verdict: string): Finding {
  const remedy = 'Take the application off the database until this is put right; the other findings name the cause.';
  return fail('hostile-sample', label, `${attack}: ${verdict}`, remedy);
}

interface Outcome {
  /** Null when it is as it has to be. */
  readonly verdict: string | null;
  readonly code: string | null;
}

interface Attempt {
  readonly attack: string;
  readonly label: string;
  /** Two of one name differ in it. */
  readonly number: number;
  /** Where there is not room for all, in any case. */
  readonly always: boolean;
  run(assault: Assault, judge: Judge): Promise<Outcome>;
}

/** @param suspect tables whose policies are not as they have to be */
function attemptsOf(world: World, suspect: ReadonlySet<string | undefined>, contracted: boolean): Attempt[] {
  return world.targets.flatMap((attacked) => {
    const { target, guarded } = attacked;
    const forms = [...readingForms, ...otherForms].filter((form) => !(form.sweeping && suspect.has(guarded.label)));
    const made = forms.flatMap((form) => {
      const forgeries = form.switches ? target.forgeries : [''];
      return forgeries.flatMap((forged) => {
        const statements = form.make(target, forged);
        return statements === null ? [] : [{ form, statements }];
      });
    });
    const attempts = made.map(
      ({ form, statements }, number): Attempt => ({
        attack: form.attack,
        label: guarded.label,
        number,
        always: false,
        run: async (assault, judge) =>
          judge.answer(await assault.make(statements), statements, attacked, form.empty === true),
      }),
    );
    // Until the contraction a key is one for all users, as it was before.
    return contracted && attacked.hasOwnKey ? [...attempts, ...existenceAttempts(attacked)] : attempts;
  });
}

function existenceAttempts({ guarded, target, hidden, absent }: Attacked): Attempt[] {
  return existenceForms.flatMap(({ attack, make }, number) => {
    const [one, other] = [make(target, hidden.row, hidden.values), make(target, absent.row, absent.values)];
    if (one === null || other === null) return [];
    const run = async (assault: Assault, judge: Judge) => {
      const answers = [await assault.make(one), await assault.make(other)] as const;
      return judge.same(...answers, [...hidden.key, ...absent.key]);
    };
    return [{ attack, label: guarded.label, number, always: true, run }];
  });
}

function drawn(attempts: readonly Attempt[], max: number): readonly Attempt[] {
  if (attempts.length <= max) return attempts;
  const place = ({ attack, label, number }: Attempt) =>
    createHash('sha256').update(`${attack}\0${label}\0${number}`).digest('hex');
  return attempts
    .map((attempt) => ({ attempt, place: attempt.always ? '' : place(attempt) }))
    .toSorted((a, b) => (a.place < b.place ? -1 : 1))
    .slice(0, max)
    .map(({ attempt }) => attempt);
}

function tally(sample: HostileSample, attack: string, { verdict, code }: Outcome): void {
  const none: AttackCount = { attack, tried: 0, refused: 0, undecided: 0, faults: 0 };
  const count = sample.attacks.get(attack) ?? none;
  sample.attacks.set(attack, count);
  sample.attempts += 1;
  count.tried += 1;
  if (verdict !== null) count.faults += 1;
  else if (code !== null && undecided.has(code)) count.undecided += 1;
  else if (code !== null) count.refused += 1;
}

/** All of the victim's rows as one hash; null when there are none. */
function frameOf({ targets, victim }: World): string | null {
  if (targets.length === 0) return null;
  const hashes = targets.map(
    ({ target }) => `select md5(t::text) as h from ${target.table} t where ${target.owner} = '${victim.id}'`,
  );
  return `select md5(string_agg(h, ' ' order by h)) as hash from (${hashes.join(' union all ')}) rows`;
}

class Judge {
  readonly #needles: readonly string[];
  readonly #frame: string;

  constructor({ stem, victim }: World, frame: string) {
    this.#needles = needlesOf(stemOf(stem, victim.who)).map(({ bytes }) => bytes.toString('latin1'));
    this.#frame = frame;
  }

  answer(
    { code, count, said, after }: Answer,
    statements: readonly string[],
    { secrets }: Attacked,
    empty: boolean,
  ): Outcome {
    const asked = statements.join('\n');
    const shown = (text: string) => said.includes(text) && !asked.includes(text);
    if (this.#needles.some(shown)) return { code, verdict: 'it showed a mark that another user’s row holds' };
    if (secrets.some(shown)) return { code, verdict: 'it showed a value of another user’s row' };
    if (empty && code === null && count > 0) return { code, verdict: `it reached ${count} rows of another user` };
    if (after !== null && after !== this.#frame) return { code, verdict: 'it changed another user’s rows' };
    return { code, verdict: null };
  }

  same(one: Answer, other: Answer, keys: readonly string[]): Outcome {
    const { code } = one;
    if ([one, other].some((answer) => answer.code !== null && undecided.has(answer.code))) {
      return { code: '57014', verdict: null };
    }
    const without = (text: string) => keys.reduce((rest, key) => rest.replaceAll(key, '…'), text);
    const equal = code === other.code && one.count === other.count && without(one.said) === without(other.said);
    return {
      code,
      verdict: equal
        ? null
        : `it answers otherwise where another user has a row (${code ?? 'done'}) than where nobody has (${other.code ?? 'done'})`,
    };
  }
}
