/** Our own server asked as two users (G31, G32, G36, G37): neither sees the other's tasks, nor that there are any. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';

export interface HttpProbe {
  readonly url: string;
  readonly tokenA: string;
  readonly tokenB: string;
}

export interface HttpResult {
  readonly findings: readonly Finding[];
  readonly requests: number;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const timeoutMs = 10_000;

const page = z.object({ items: z.array(z.object({ id: z.string() })) });

export async function probeServer({ url, tokenA, tokenB }: HttpProbe): Promise<HttpResult> {
  let requests = 0;
  const get = async (path: string, token?: string): Promise<Answer> => {
    requests += 1;
    const response = await fetch(new URL(path, url), {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    return { status: response.status, body: parsed(text) };
  };
  try {
    return { findings: await probe(get, tokenA, tokenB), requests };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const finding = fail('http', url, `The server does not answer: ${reason}`, 'Start it, or put the address right.');
    return { findings: [finding], requests };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function probe(get: (path: string, token?: string) => Promise<Answer>, a: string, b: string): Promise<Finding[]> {
  const health = await get('/health');
  const faults = health.status === 200 ? [] : [unexpected('/health', 'without a token', health.status, 200)];
  const nobody = await get('/api/tasks');
  if (nobody.status !== 401) faults.push(unexpected('/api/tasks', 'without a token', nobody.status, 401));
  const [ofA, ofB] = [await idsOf(get, a, 'as A', faults), await idsOf(get, b, 'as B', faults)];
  if (ofA === null || ofB === null) return faults;
  const shared = ofA.filter((id) => ofB.includes(id));
  if (shared.length > 0) {
    const message = `A and B both see ${shared.length === 1 ? 'the task' : `${shared.length} tasks, such as`} ${shared[0]}`;
    faults.push(fail('http-isolation', '/api/tasks', message, 'Take the server down until the cause is found.'));
  }
  const foreign: readonly [ids: readonly string[], token: string, who: string][] = [
    [ofB, a, 'A asks for a task of B'],
    [ofA, b, 'B asks for a task of A'],
  ];
  for (const [ids, token, who] of foreign) {
    const other = ids.find((id) => !shared.includes(id));
    if (other !== undefined) faults.push(...(await compareWithAbsent(get, other, token, who)));
  }
  if (faults.length > 0) return faults;
  if (ofA.length === 0 || ofB.length === 0) {
    const remedy = 'Create a task as each of them (G34, G35), then run verify again.';
    return [warn('http', '/api/tasks', 'one of the two users has no task, so there was little to tell apart', remedy)];
  }
  return [pass('http', undefined, 'two users see their own tasks alone, and nobody sees any without a token')];
}

async function idsOf(
  get: (path: string, token?: string) => Promise<Answer>,
  token: string,
  who: string,
  faults: Finding[],
): Promise<string[] | null> {
  const answer = await get('/api/tasks', token);
  const body = page.safeParse(answer.body);
  if (answer.status === 200 && body.success) return body.data.items.map(({ id }) => id);
  faults.push(unexpected('/api/tasks', who, answer.status, 200));
  return null;
}

/** Another user's task and no task must look the same (I8), but for the request's own number. */
async function compareWithAbsent(
  get: (path: string, token?: string) => Promise<Answer>,
  id: string,
  token: string,
  who: string,
): Promise<Finding[]> {
  const hidden = await get(`/api/tasks/${id}`, token);
  const absent = await get(`/api/tasks/${randomUUID()}`, token);
  if (hidden.status !== 404) return [unexpected('/api/tasks/:id', who, hidden.status, 404)];
  if (absent.status === 404 && withoutRequestId(hidden.body) === withoutRequestId(absent.body)) return [];
  const message = `${who}: the answer differs from that for a task which does not exist`;
  return [fail('http-existence', '/api/tasks/:id', message, 'Both must be the same 404.')];
}

function withoutRequestId(body: unknown): string {
  return JSON.stringify(body, (key, value: unknown) => (key === 'request_id' ? undefined : value));
}

function unexpected(path: string, who: string, status: number, wanted: number): Finding {
  return fail('http', path, `answered ${status} ${who}, not ${wanted}`, 'See the application log for the reason.');
}
