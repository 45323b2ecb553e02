/**
 * A user who takes part in a case, at home in one or two worlds. Requests are made of what the user saw in the first
 * world; in the second one each id goes out as its counterpart, the one that stands at the same place of that trace.
 */
import { Choice, passwords } from './choice.ts';
import type { WireAnswer, WireRequest } from './client.ts';
import { Draw } from './draw.ts';
import { type Kind, Knowledge, kinds, type SecretKind, Secrets } from './knowledge.ts';
import { Renaming } from './renaming.ts';
import type { Parts } from './routes.ts';
import type { ModelledRoute } from './surface.ts';
import type { World } from './world.ts';

export interface Home {
  readonly world: World;
  readonly renaming: Renaming;
  readonly secrets: Secrets;
}

/** A request before it is known which world it goes to. */
export interface Resolved {
  readonly route: ModelledRoute;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** The place of the session whose token goes along. */
  readonly session: number | undefined;
}

/** Routes that are asked in place of what a step says. */
export interface SpecialRoutes {
  readonly login: ModelledRoute;
  readonly creations: ReadonlyMap<Kind, ModelledRoute>;
}

export function specialRoutes(routes: readonly ModelledRoute[]): SpecialRoutes {
  const named = (name: string) => {
    const found = routes.find((route) => route.name === name);
    if (!found) throw new Error(`there is no route ${name}`);
    return found;
  };
  return {
    login: named('POST /api/auth/login'),
    creations: new Map<Kind, ModelledRoute>([
      ['projects', named('POST /api/projects')],
      ['branches', named('POST /api/branches')],
      ['tasks', named('POST /api/tasks')],
      ['subtasks', named('POST /api/tasks/{id}/subtasks')],
      ['labels', named('POST /api/labels')],
      ['agents', named('POST /api/agents')],
      ['rules', named('POST /api/rules')],
      ['tokens', named('POST /api/user/tokens')],
    ]),
  };
}

/** Of the `{id}` in a path. */
function kindOf(path: string): Kind | undefined {
  const [, area, name = '', level] = path.split('/');
  if (area !== 'api') return undefined;
  const of = name === 'contexts' ? `${level}s`.replace('branchs', 'branches') : name === 'user' ? level : name;
  return kinds.find((kind) => kind === of);
}

export class Participant {
  readonly id: string;
  readonly slot: number;
  readonly knowledge: Knowledge;
  readonly homes: readonly Home[];
  /** Sessions that were refused are not used by default any more, in any world. */
  readonly #dead = new Set<number>();
  #requests = 0;

  constructor(id: string, slot: number, email: string, worlds: readonly World[]) {
    this.id = id;
    this.slot = slot;
    this.knowledge = new Knowledge(email);
    this.knowledge.remember('accounts', id);
    this.homes = worlds.map((world) => ({ world, renaming: new Renaming(), secrets: new Secrets() }));
  }

  resolve(
    route: ModelledRoute,
    numbers: readonly number[],
    others: readonly Knowledge[],
    special: SpecialRoutes,
  ): Resolved {
    const draw = new Draw(numbers);
    const secrets = this.homes[0]?.secrets ?? new Secrets();
    const choice = new Choice(draw, this.knowledge, others, secrets);
    const session = this.#session(secrets);
    // Somebody without a session would only ever hear that it is over.
    const isLogin = session === undefined;
    const asked = isLogin ? special.login : this.#useful(route, draw, special.creations);
    const parts: Parts = isLogin
      ? { as: 'nobody', body: { email: this.knowledge.email, password: draw.pick(passwords) } }
      : asked.make(choice);
    const body = parts.body === undefined ? undefined : JSON.stringify(parts.body);
    this.#requests += 1;
    const credentials = this.#credentials(choice, parts.as ?? 'session', session, secrets);
    return {
      route: asked,
      method: asked.method,
      target: targetOf(asked, parts),
      headers: {
        'x-request-id': `user-${this.slot}-request-${this.#requests}`,
        'user-agent': 'model',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...parts.headers,
        ...credentials.headers,
      },
      body,
      session: credentials.session,
    };
  }

  /** Who has nothing of a kind makes something first, mostly: questions about nothing are all answered alike. */
  #useful(route: ModelledRoute, draw: Draw, creations: SpecialRoutes['creations']): ModelledRoute {
    const kind = route.path.includes('{') ? kindOf(route.path) : undefined;
    const creation = kind === undefined || this.knowledge.ids(kind).length > 0 ? undefined : creations.get(kind);
    return creation !== undefined && draw.below(100) < 70 ? this.#useful(creation, draw, creations) : route;
  }

  /** The latest one that is not over. */
  #session(secrets: Secrets): number | undefined {
    for (let place = secrets.count('session') - 1; place >= 0; place -= 1) if (!this.#dead.has(place)) return place;
    return undefined;
  }

  #credentials(
    { draw }: Choice,
    as: NonNullable<Parts['as']>,
    session: number | undefined,
    secrets: Secrets,
  ): { headers: Record<string, string>; session: number | undefined } {
    if (as === 'nobody' || session === undefined) return { headers: {}, session: undefined };
    const total = secrets.count('session');
    const way = draw.below(100);
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` }, session: undefined });
    const ofSession = (place: number) => ({
      headers: { authorization: `Bearer {{session:${total - 1 - place}}}` },
      session: place,
    });
    if (as === 'other-session') return ofSession(way < 80 ? draw.below(total) : session);
    if (way >= 99) return bearer('garbage');
    if (way >= 98) return { headers: {}, session: undefined };
    if (way >= 97) return ofSession(draw.below(total));
    if (way >= 92 && secrets.count('api') > 0)
      return bearer(`{{api:${draw.below(Math.min(secrets.count('api'), 3))}}}`);
    return ofSession(session);
  }

  /** What goes out to one of the worlds. */
  wire(resolved: Resolved, home: Home): WireRequest {
    const first = this.homes[0];
    const local = (text: string) => {
      const own = first && first !== home ? first.renaming.translate(text, home.renaming) : text;
      return own.replaceAll(/\{\{(\w+):(\d+)\}\}/g, (_, kind: SecretKind, back: string) =>
        home.secrets.get(kind, Number(back)),
      );
    };
    return {
      method: resolved.method,
      target: local(resolved.target),
      headers: Object.fromEntries(Object.entries(resolved.headers).map(([name, value]) => [name, local(value)])),
      body: resolved.body === undefined ? undefined : local(resolved.body),
    };
  }

  /** What the user takes note of. */
  learn(resolved: Resolved, answers: readonly WireAnswer[]): void {
    const [first] = answers;
    if (first?.status === 401 && resolved.session !== undefined) this.#dead.add(resolved.session);
    // The second account that somebody registers is somebody else.
    if (resolved.route.path.endsWith('/register')) return;
    for (const [i, answer] of answers.entries()) {
      const body = bodyOf(answer);
      if (i === 0 && answer.status < 300) this.knowledge.learn(resolved.route.kind, body);
      this.homes[i]?.secrets.learn(body);
    }
  }
}

function bodyOf({ status, headers, text }: WireAnswer): unknown {
  if (status >= 300 || text.length > 200_000 || !headers['content-type']?.startsWith('application/json'))
    return undefined;
  return JSON.parse(text);
}

function targetOf({ path }: ModelledRoute, { params = {}, query = {} }: Parts): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encode(params[name] ?? ''));
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}=${encode(String(one))}`),
  );
  return pairs.length === 0 ? filled : `${filled}?${pairs.join('&')}`;
}

/** Stand-ins for secrets stay as they are: what they stand for needs no encoding. Neither does a lone surrogate have any. */
function encode(text: string): string {
  return /^\{\{\w+:\d+\}\}$/.test(text) ? text : encodeURIComponent(text.toWellFormed());
}
