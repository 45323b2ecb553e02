/** Asks a server for all its lists with users' tokens, and looks for marks in what comes back. */
import { z } from 'zod';
import { problem } from '../errors.ts';
import { type Sighting, searchFor } from '../rollout/canary/search.ts';
import type { Canaries } from '../rollout/canary/state.ts';
import type { Who } from '../rollout/synthetic/marks.ts';

export interface AskedPath {
  /** `GET /api/tasks`, with the number of the token. */
  readonly path: string;
  readonly status: number;
  readonly bytes: number;
  /** The canary users' own rows seen by themselves are not among them. */
  readonly sightings: readonly Sighting[];
}

export interface HttpSearch {
  readonly url: string;
  readonly tokens: readonly string[];
  /** Beside those of /openapi.json. */
  readonly paths: readonly string[];
}

const timeoutMs = 30_000;
const pageSize = 100;
/** Of one list. */
const pagesMax = 10_000;
/** Above this a page is not read for its cursor. */
const readBytesMax = 32 * 1024 * 1024;

export async function searchServer(
  { url, tokens, paths }: HttpSearch,
  canaries: Canaries,
  onPath: (asked: AskedPath) => void,
): Promise<void> {
  const lists = [...(await listsOf(url, paths.length > 0)), ...paths.map((path) => ({ path, pages: false }))];
  for (const [number, token] of [null, ...tokens].entries()) {
    const own = token === null ? null : whoseToken(token, canaries);
    const name = token === null ? 'without a token' : `with token ${number}`;
    for (const list of lists) {
      for await (const asked of pagesOf(url, list, token, canaries)) {
        const sightings = asked.sightings.filter(({ who }) => who !== own);
        onPath({ ...asked, path: `GET ${list.path} ${name}`, sightings });
      }
    }
  }
}

interface List {
  readonly path: string;
  readonly pages: boolean;
}

const openApi = z.object({
  paths: z.record(
    z.string(),
    z.object({
      get: z.object({ parameters: z.array(z.object({ name: z.string().optional() })).optional() }).optional(),
    }),
  ),
});

async function listsOf(url: string, isOptional: boolean): Promise<readonly List[]> {
  const answer = await ask(url, '/openapi.json', null);
  const parsed = answer.ok ? openApi.safeParse(await answer.json()) : null;
  if (parsed?.success) {
    return Object.entries(parsed.data.paths).flatMap(([path, { get }]) => {
      if (get === undefined || path.includes('{')) return [];
      return [{ path, pages: get.parameters?.some(({ name }) => name === 'cursor') === true }];
    });
  }
  if (isOptional) return [];
  throw problem('usage_error', '--url: has no /openapi.json to take the lists from; name them with --path');
}

async function* pagesOf(url: string, { path, pages }: List, token: string | null, canaries: Canaries) {
  let cursor: string | null = null;
  for (let page = 0; page < pagesMax; page++) {
    const query = new URLSearchParams(pages ? { limit: String(pageSize), ...(cursor === null ? {} : { cursor }) } : {});
    const answer = await ask(url, query.size > 0 ? `${path}?${query}` : path, token);
    const search = searchFor(canaries);
    const kept: Buffer[] = [];
    for (const [name, value] of answer.headers) search.feed(Buffer.from(`${name}: ${value}\n`));
    for await (const chunk of answer.body ?? []) {
      const bytes = Buffer.from(chunk);
      search.feed(bytes);
      if (pages && search.bytes <= readBytesMax) kept.push(bytes);
    }
    yield { status: answer.status, bytes: search.bytes, sightings: search.end() };
    cursor = pages && answer.ok ? cursorIn(Buffer.concat(kept).toString()) : null;
    if (cursor === null) return;
  }
}

function ask(url: string, path: string, token: string | null): Promise<Response> {
  return fetch(new URL(path, url), {
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((cause: unknown) => {
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw problem('unavailable', `${url} does not answer: ${reason}`, {}, { cause });
  });
}

const page = z.object({ next_cursor: z.string().nullable() });

function cursorIn(text: string): string | null {
  try {
    const parsed = page.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data.next_cursor : null;
  } catch {
    return null;
  }
}

/** Who a token is for, by what it says of itself: nothing is granted for it. */
function whoseToken(token: string, { users }: Canaries): Who | null {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const subject = z.object({ sub: z.string() }).safeParse(claims);
    return users.find(({ id }) => id === subject.data?.sub)?.who ?? null;
  } catch {
    return null;
  }
}
