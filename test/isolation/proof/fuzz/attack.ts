/** Makes cases out of numbers, sends them as one attacker after the other, and judges the answers. */
import type { ProofContext } from '../part.ts';
import type { Case, Given, Scene } from './case.ts';
import { bytesOf, type Draft, shown, smaller } from './draft.ts';
import { exchange } from './exchange.ts';
import { families } from './families.ts';
import { type Forbidden, judge, perceived, uuidsIn } from './judge.ts';
import type { Api, Operation } from './operations.ts';
import { type Person, plantPerson } from './people.ts';
import { Random } from './random.ts';
import { rawCase } from './raw.ts';
import type { Target } from './server.ts';
import { kindOf, type Tally } from './tally.ts';
import { type Outcome, Wire } from './wire.ts';

export interface Battlefield {
  readonly context: ProofContext;
  readonly target: Target;
  readonly api: Api;
  readonly operations: readonly Operation[];
  readonly victims: readonly Person[];
  readonly admin: Person;
  readonly forbidden: Forbidden;
  readonly given: Given;
  readonly tally: Tally;
  /** Everybody's secrets, for the logs. */
  readonly secrets: Set<string>;
  /** Request ids of refusals that must be in the security log. */
  readonly refusals: Set<string>;
  readonly deadlineMs: number;
  /** When the last one that has to go one at a time is over. */
  readonly turn: { last: Promise<void> };
}

const familyNames = Object.keys(families);
const wheel = Object.entries(families).flatMap(([name, { weight }]) => Array.from({ length: weight }, () => name));
const rawShare = 0.04;
/** Routes that hash a password: a hundred times as dear as the others. */
const dear = /\/auth\/(login|register|change-password)$|DELETE \/api\/user$/;
const dearShare = 0.1;
/** Exports run a few at a time and the rest is told to come back (503): that is for other tests, here there is one at a time. */
const oneAtATime = 'GET /api/user/export';
/** After so many cases somebody new attacks, with all rows in place. */
const freshAfter = 400;
const shrinkMax = 60;

/** Which family and route a case is of. The first cases go through all of them, the others are drawn. */
function planOf(
  random: Random,
  operations: readonly Operation[],
  index: number,
): { family: string; operation: Operation } {
  const systematic = index < operations.length * familyNames.length;
  const operation = systematic ? operations[index % operations.length] : random.pick(operations);
  if (!operation) throw new Error('there are no routes');
  const family = systematic ? familyNames[Math.floor(index / operations.length)] : undefined;
  if (family !== undefined) return { family, operation };
  if (random.chance(rawShare)) return { family: 'raw', operation };
  const cheap = dear.test(operation.name) && !random.chance(dearShare) ? random.pick(operations) : operation;
  return { family: random.pick(wheel), operation: cheap };
}

export class Attacker {
  readonly #field: Battlefield;
  readonly #number: number;
  readonly #wire: Wire;
  #self: Person | undefined;
  #left = 0;
  #generation = 0;
  #known = new Set<string>();

  constructor(field: Battlefield, number: number) {
    this.#field = field;
    this.#number = number;
    this.#wire = new Wire(field.target.url, field.deadlineMs);
  }

  close(): void {
    this.#wire.close();
  }

  nameOf(index: number | undefined): string {
    const { context, operations } = this.#field;
    return index === undefined ? 'unknown' : planOf(new Random(context.seed, index), operations, index).operation.name;
  }

  async run(index: number): Promise<void> {
    if (this.nameOf(index) !== oneAtATime) return this.#run(index);
    const turn = this.#field.turn.last.then(() => this.#run(index));
    this.#field.turn.last = turn.catch(() => {});
    return turn;
  }

  async #run(index: number): Promise<void> {
    const { context, operations, tally } = this.#field;
    const random = new Random(context.seed, index);
    const { family, operation } = planOf(random, operations, index);
    const self = await this.#person();
    if (family === 'raw') return this.#runRaw(index, random, operation, self);
    const made = this.#make(family, operation, random, self, index);
    if (!made) return;
    const faults = await this.#attempt(made, true);
    for (const what of faults) {
      const fault = { family, operation: operation.name, what, path: index };
      if (!tally.fault(fault)) continue;
      const draft = await this.#shrink(made, what);
      tally.describe(fault, this.#shown(bytesOf(draft)));
    }
  }

  /** With names for the credentials, which are others in the next run. */
  #shown(bytes: Uint8Array): string {
    const { accessToken, apiTokens } = this.#self ?? this.#field.admin;
    const text = Buffer.from(bytes)
      .toString('latin1')
      .replaceAll(accessToken, '$TOKEN')
      .replaceAll(apiTokens.good, '$API_TOKEN');
    return shown(Buffer.from(text.replaceAll(this.#field.admin.accessToken, '$ADMIN_TOKEN'), 'latin1'));
  }

  #make(family: string, operation: Operation, random: Random, self: Person, index: number): Case | undefined {
    const { api, admin, victims, given, context } = this.#field;
    const requestId = `fuzz-${context.seed}-${index}`;
    const scene: Scene = { api, operation, random, self, admin, victims, given, requestId };
    const made = families[family]?.make(scene);
    return made && { ...made, family, operation: operation.name };
  }

  async #person(): Promise<Person> {
    if (this.#self && this.#left > 0) {
      this.#left -= 1;
      return this.#self;
    }
    const { context, target, secrets } = this.#field;
    const random = new Random(context.seed, 1_000_000_000 + this.#number * 10_000 + this.#generation);
    this.#generation += 1;
    this.#self = await plantPerson(target.ownerUrl, random, { kind: 'attacker' });
    for (const secret of this.#self.secrets) secrets.add(secret);
    this.#known = new Set();
    this.#left = freshAfter;
    return this.#self;
  }

  /** @param counted false for attempts at making a request smaller */
  async #attempt(made: Case, counted: boolean): Promise<string[]> {
    const first = await this.#send(made, made.draft, counted);
    if (!made.twin || typeof first.outcome !== 'object') return first.faults;
    const second = await this.#send(made, made.twin, counted);
    if (typeof second.outcome !== 'object') return [...first.faults, ...second.faults];
    const [one, other] = [perceived(first.outcome), perceived(second.outcome)];
    const differs =
      one === other
        ? []
        : [`a victim's id is answered differently from nobody's: ${one.slice(0, 500)} ≠ ${other.slice(0, 500)}`];
    return [...first.faults, ...differs];
  }

  async #send(made: Case, draft: Draft, counted: boolean): Promise<{ outcome: Outcome; faults: string[] }> {
    const { tally, forbidden, refusals } = this.#field;
    const bytes = bytesOf(draft);
    for (const id of uuidsIn(bytes)) if (forbidden.ids.has(id)) this.#known.add(id);
    const outcome = await this.#wire.send(bytes, draft.method);
    if (counted) tally.count(made.family, made.operation, typeof outcome === 'object' ? outcome.status : outcome);
    const { must, mustNotSucceed } = made;
    const visible = made.caller === 'admin' ? undefined : forbidden;
    const faults = judge(outcome, { forbidden: visible, sent: bytes, known: this.#known, must, mustNotSucceed });
    if (typeof outcome === 'object') {
      if (outcome.status === 401) {
        if (outcome.body.includes('"Invalid token"')) refusals.add(outcome.headers.get('x-request-id') ?? '');
        // Its session ended or its account is erased, as it asked: somebody else goes on.
        if (made.caller === 'user') this.#left = 0;
      }
      this.#remember(outcome.body);
    }
    return { outcome, faults };
  }

  /** Tokens that the server gave out: they must be in no log. */
  #remember(body: Buffer): void {
    if (!body.includes('token":"')) return;
    for (const [, secret = ''] of body
      .toString('utf8')
      .matchAll(/token":"(?:rf[rt]_|[\w-]+\.[\w-]+\.)([\w-]{20,})"/g)) {
      this.#field.secrets.add(secret);
    }
  }

  async #shrink(made: Case, what: string): Promise<Draft> {
    const kind = kindOf(what);
    let best = made.draft;
    if (/deadline|differently/.test(what)) return best;
    let left = shrinkMax;
    for (let again = true; again && left > 0; ) {
      again = false;
      for (const draft of smaller(best)) {
        if (left-- <= 0) break;
        const faults = await this.#attempt({ ...made, draft, twin: undefined }, false);
        if (!faults.some((fault) => kindOf(fault) === kind)) continue;
        best = draft;
        again = true;
        break;
      }
    }
    return best;
  }

  async #runRaw(index: number, random: Random, operation: Operation, self: Person): Promise<void> {
    const { target, tally, forbidden, victims } = this.#field;
    const made = rawCase({ random, self, operation, victim: random.pick(victims) });
    const family = `raw: ${made.name}`;
    const { answers, malformed, hung } = await exchange(target.url, made);
    const sent = Buffer.concat(made.pieces);
    tally.count('raw', operation.name, answers[0]?.status ?? 'silence');
    const faults = answers.flatMap((answer) => judge(answer, { forbidden, sent, known: this.#known }));
    if (hung) faults.push('no answer within the deadline');
    if (malformed) faults.push('the answer is no HTTP');
    if (answers.length > made.answersMax) faults.push(`${answers.length} answers to ${made.answersMax} requests`);
    if (answers.length === 0 && !made.mayBeSilent && made.leaves !== true && !hung)
      faults.push('the server hung up without an answer');
    if (made.refused && answers.some(({ status }) => status < 400))
      faults.push(`status ${answers[0]?.status}: this cannot be read one way only`);
    for (const what of faults)
      tally.fault({ family, operation: operation.name, what, path: index, request: this.#shown(sent) });
    // It may have been the end of its session.
    if (answers.some(({ status }) => status === 401 || status === 204)) this.#left = 0;
  }
}
