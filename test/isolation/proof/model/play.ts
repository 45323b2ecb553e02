/**
 * Plays a script: steps of several users, interleaved. Users who stand next to each other act at the same time; each
 * user's own steps follow one another, in every world the user is at home in.
 */
import type { WireAnswer } from './client.ts';
import type { Knowledge } from './knowledge.ts';
import { type Home, type Participant, type Resolved, specialRoutes } from './participant.ts';
import type { ModelledRoute } from './surface.ts';

export interface Step {
  readonly user: number;
  readonly route: number;
  readonly numbers: readonly number[];
}

export interface PlayOptions {
  readonly routes: readonly ModelledRoute[];
  readonly participants: readonly Participant[];
  /** What is known of others who do not act. */
  readonly known?: readonly Knowledge[];
  /** Called after each step that has an answer in all worlds. */
  readonly after?: (participant: Participant) => Promise<void>;
}

export interface Played {
  /** What differs; undefined when all traces are equal. */
  readonly fault: string | undefined;
  readonly requests: number;
  readonly statuses: ReadonlyMap<number, number>;
  readonly routesAsked: ReadonlySet<string>;
}

/**
 * Left out of the comparison: `date` (the time of day), `connection`, `keep-alive` and `transfer-encoding` (of the
 * connection, not of the answer), `content-length` (moments are of different length, since Postgres leaves zeros at
 * the end of a fraction away; Node checks it against the body).
 */
const ofTheConnection = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding', 'content-length']);

export async function play(steps: readonly Step[], options: PlayOptions): Promise<Played> {
  const { routes, participants } = options;
  const special = specialRoutes(routes);
  const statuses = new Map<number, number>();
  const routesAsked = new Set<string>();
  const owners = new Map<string, number>();
  let requests = 0;
  for (const turn of turnsOf(steps, participants.length)) {
    // All are resolved before any is sent: what a user may know of others is what was known before this turn.
    const acts = turn.flatMap((step) => {
      const participant = participants[step.user % participants.length];
      const route = routes[step.route % routes.length];
      if (!participant || !route) return [];
      const acting = participants.filter((one) => one !== participant).map(({ knowledge }) => knowledge);
      const others = [...acting, ...(options.known ?? [])];
      return [{ participant, resolved: participant.resolve(route, step.numbers, others, special) }];
    });
    const answered = await answersOf(acts);
    for (const { participant, resolved, answers } of answered) {
      requests += answers.length;
      routesAsked.add(resolved.route.name);
      const [first] = answers;
      if (first) statuses.set(first.status, (statuses.get(first.status) ?? 0) + 1);
      const fault = compare(participant, resolved, answers, owners);
      if (fault !== undefined) return { fault, requests, statuses, routesAsked };
      participant.learn(resolved, answers);
    }
    await settle(answered);
    if (options.after) for (const { participant } of answered) await options.after(participant);
  }
  return { fault: undefined, requests, statuses, routesAsked };
}

/** As many steps at a time as are of different users. */
function turnsOf(steps: readonly Step[], users: number): Step[][] {
  const turns: Step[][] = [];
  let present = new Set<number>();
  for (const step of steps) {
    const user = step.user % users;
    if (turns.length === 0 || present.has(user)) {
      turns.push([]);
      present = new Set();
    }
    present.add(user);
    turns.at(-1)?.push(step);
  }
  return turns;
}

interface Act {
  readonly participant: Participant;
  readonly resolved: Resolved;
}

interface Answered extends Act {
  readonly answers: readonly WireAnswer[];
}

async function answersOf(acts: readonly Act[]): Promise<Answered[]> {
  const ask = ({ participant, resolved }: Act, home: Home) => home.world.client.send(participant.wire(resolved, home));
  const together = acts.map(async (act): Promise<Answered | undefined> => {
    if (takesTurns(act)) return undefined;
    return { ...act, answers: await Promise.all(act.participant.homes.map((home) => ask(act, home))) };
  });
  const answered = await Promise.all(together);
  const all: Answered[] = [];
  for (const [i, act] of acts.entries()) {
    const done = answered[i];
    if (done) {
      all.push(done);
      continue;
    }
    const answers: WireAnswer[] = [];
    for (const home of act.participant.homes) answers.push(await ask(act, home));
    all.push({ ...act, answers });
  }
  return all;
}

/**
 * Two exports at a time are written in a process and further ones are answered 503: how much the server has to do is
 * everybody's, and is felt by everybody.
 */
function takesTurns({ resolved }: Act): boolean {
  return resolved.route.path === '/api/user/export';
}

/** Refusals are written down after the answer; what comes next must find them, or be sure not to. */
async function settle(answered: readonly Answered[]): Promise<void> {
  const unsettled = answered.filter(
    ({ resolved, answers }) =>
      resolved.route.path === '/api/tasks/bulk' || answers.some(({ status }) => status === 404),
  );
  const worlds = new Set(unsettled.flatMap(({ participant }) => participant.homes.map(({ world }) => world)));
  await Promise.all([...worlds].map((world) => world.quiet()));
}

/** @returns what differs between the worlds, or what the user cannot have */
function compare(
  participant: Participant,
  resolved: Resolved,
  answers: readonly WireAnswer[],
  owners: Map<string, number>,
): string | undefined {
  const seen = answers.map((answer, i) => observationOf(participant, resolved, answer, participant.homes[i], owners));
  const [first, ...rest] = seen;
  const leak = seen.find(({ leaked }) => leaked !== undefined)?.leaked;
  if (leak !== undefined)
    return `${described(participant, resolved)} showed ${leak}, which another user was given first`;
  for (const [i, other] of rest.entries()) {
    if (other.text === first?.text) continue;
    const [here, there] = [participant.homes[0]?.world.name, participant.homes[i + 1]?.world.name];
    return `${described(participant, resolved)} differs:\n--- ${here}\n${excerpt(first?.text, other.text)}\n--- ${there}\n${excerpt(other.text, first?.text)}`;
  }
  const status = answers[0]?.status ?? 0;
  // The server's own faults are no answers; one that is there in all worlds would hide what is behind it.
  if (status >= 500) return `${described(participant, resolved)} failed: ${status} ${answers[0]?.text.slice(0, 500)}`;
  return undefined;
}

interface Observation {
  readonly text: string;
  readonly leaked: string | undefined;
}

function observationOf(
  participant: Participant,
  resolved: Resolved,
  { status, headers, text }: WireAnswer,
  home: Home | undefined,
  owners: Map<string, number>,
): Observation {
  if (!home) return { text: '', leaked: undefined };
  const { renaming } = home;
  const wire = participant.wire(resolved, home);
  renaming.apply(`${wire.target} ${wire.body ?? ''}`);
  const told = renaming.size;
  const lines = Object.entries(headers)
    .filter(([name]) => !ofTheConnection.has(name))
    .map(([name, value]) => `${name}: ${value}`)
    .sort();
  const observed = renaming
    .apply(`${status}\n${lines.join('\n')}\n\n${text}`)
    .replace(/^(retry-after: )\d+$/m, '$1‹n›');
  // What this user sees for the first time, without having said it, must be new to everybody in this world.
  const isFirst = home === participant.homes[0];
  let leaked: string | undefined;
  for (const name of isFirst ? renaming.since(told) : []) {
    const owner = owners.get(name);
    if (owner === undefined) owners.set(name, participant.slot);
    else if (owner !== participant.slot && name.includes('-')) leaked = name;
  }
  return { text: observed, leaked };
}

function described({ slot }: Participant, { method, target, body, headers }: Resolved): string {
  const also = ['if-match', 'idempotency-key']
    .filter((name) => name in headers)
    .map((name) => `${name}: ${headers[name]}`);
  return [`user ${slot}: ${method} ${target}`, ...also, body?.slice(0, 500)].filter(Boolean).join(' ');
}

/** Around the first difference. */
function excerpt(text = '', other = ''): string {
  let at = 0;
  while (at < text.length && text[at] === other[at]) at += 1;
  const status = text.split('\n', 1)[0];
  return `${status} …${text.slice(Math.max(0, at - 200), at + 300)}`;
}
