/** One attempt: a request, who makes it, and what must become of it beside what every answer must be. */

import type { World } from '../../../support/world.ts';
import type { Draft } from './draft.ts';
import type { Api, Operation } from './operations.ts';
import { rowFor } from './operations.ts';
import type { Person } from './people.ts';
import type { Random } from './random.ts';
import { valueFor } from './values.ts';

/** `admin` may see everybody's rows: what its answers show is no leak. */
export type CallerKind = 'user' | 'admin' | 'none' | 'hostile';

export interface Case {
  readonly family: string;
  readonly operation: string;
  readonly caller: CallerKind;
  readonly draft: Draft;
  /** The same request with ids of nobody's in the place of a victim's: both must be answered alike. */
  readonly twin?: Draft | undefined;
  /** The only statuses that are right here. */
  readonly must?: { readonly statuses: readonly number[]; readonly why: string } | undefined;
  readonly mustNotSucceed?: string | undefined;
}

export interface Scene {
  readonly api: Api;
  readonly operation: Operation;
  readonly random: Random;
  readonly self: Person;
  readonly admin: Person;
  readonly victims: readonly Person[];
  /** What the server gave out itself, to be sent back changed. */
  readonly given: Given;
  readonly requestId: string;
}

export interface Given {
  readonly cursors: readonly string[];
  readonly victimCursors: readonly string[];
  readonly victimKeys: readonly string[];
}

/** A request as it should be. @param world whose ids it names */
export function properDraft(scene: Scene, world: World, optional = 0.25): Draft {
  const { operation, random, api } = scene;
  const maker = { api, operation, random, world, account: scene.self };
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => world[rowFor(operation, name)]);
  const of = (place: 'query' | 'header') =>
    operation.parameters.filter((one) => one.in === place && (one.required || random.chance(optional)));
  const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  const query = of('query').map(
    ({ name, schema }) => `${encodeURIComponent(name)}=${encodeURIComponent(text(valueFor(maker, schema, name)))}`,
  );
  const headers = of('header').map(
    ({ name, schema }) => [name, headerValue(name, valueFor(maker, schema, name))] as const,
  );
  const body = operation.body && Buffer.from(JSON.stringify(valueFor(maker, operation.body, 'body')));
  return {
    method: operation.method,
    path,
    query: query.filter((part) => !part.startsWith('cursor=')),
    headers: [
      ['x-request-id', scene.requestId],
      ...headers,
      ...(body ? [['content-type', 'application/json'] as const] : []),
    ],
    body,
  };
}

function headerValue(name: string, value: unknown): string {
  if (name === 'If-Match') return '"1"';
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('latin1');
}

export function withHeader(draft: Draft, name: string, value: string): Draft {
  const others = draft.headers.filter(([known]) => known.toLowerCase() !== name.toLowerCase());
  return { ...draft, headers: [...others, [name, value]] };
}

/** Signs the request as whom the route is for. Of the routes for administrators some calls come from others. */
export function signed(scene: Scene, draft: Draft): { readonly draft: Draft; readonly caller: CallerKind } {
  const { operation, random, self, admin } = scene;
  if (operation.access === 'admin' && random.chance(0.8)) {
    return { caller: 'admin', draft: withHeader(draft, 'authorization', `Bearer ${admin.accessToken}`) };
  }
  const token = random.chance(0.15) ? self.apiTokens.good : self.accessToken;
  return { caller: 'user', draft: withHeader(draft, 'authorization', `Bearer ${token}`) };
}
