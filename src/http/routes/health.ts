/**
 * Whether the server runs and whether it can serve (guide G11, G31, G60). Open to everybody, so it tells no secret, and
 * asks the database at most once a second however often it is asked.
 */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { monotonicMs } from '../../clock.ts';
import type { ProductIsolation } from '../../database/isolation.ts';
import { latestVersion } from '../../database/migrations.ts';
import { version } from '../../version.ts';
import type { AppDependencies } from '../app.ts';
import type { ContractApp } from '../validation.ts';

const cacheMs = 1_000;
const patienceMs = 3_000;

const health = z.object({
  status: z.enum(['ok', 'unavailable']),
  version: z.string(),
  uptime_seconds: z.int(),
  database: z.enum(['reachable', 'unreachable']),
  migration: z.object({ version: z.int().nullable(), latest: z.int() }),
  isolation: z.enum(['enforced', 'disabled']),
});

type Health = z.infer<typeof health>;
type Facts = Pick<Health, 'status' | 'database' | 'migration'>;

export async function healthRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  const look = atMostOnce(cacheMs, () => facts(isolation));
  const answer = async (reply: FastifyReply) => {
    const found = await look();
    const body: Health = {
      ...found,
      version,
      uptime_seconds: Math.floor(process.uptime()),
      isolation: isolation.enforcement === 'on' ? 'enforced' : 'disabled',
    };
    return reply
      .code(found.status === 'ok' ? 200 : 503)
      .header('cache-control', 'no-store')
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(body));
  };
  const config = { access: 'open' } as const;
  const ready = (summary: string) => ({
    config,
    schema: { tags: ['health'], summary, response: { 200: health, 503: health } },
  });

  app.get('/health', ready('Whether the server can serve'), (_, reply) => answer(reply));
  app.get('/health/ready', ready('Whether the server can serve; for load balancers'), (_, reply) => answer(reply));
  app.get(
    '/health/live',
    {
      config,
      schema: {
        tags: ['health'],
        summary: 'Whether the process runs; asks nobody else',
        response: { 200: z.object({ status: z.literal('ok') }) },
      },
    },
    async (_, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' } as const),
  );
}

/** What serving with this enforcement needs of the schema: the one with owners, or the one before them. */
function serves(isolation: ProductIsolation, found: number): boolean {
  return isolation.enforcement === 'ownerless' ? found === 2 : found >= 3;
}

async function facts(isolation: ProductIsolation): Promise<Facts> {
  const found = await within(patienceMs, schemaVersion(isolation)).catch(() => null);
  const migration = { version: found, latest: latestVersion };
  if (found === null) return { status: 'unavailable', database: 'unreachable', migration };
  return { status: serves(isolation, found) ? 'ok' : 'unavailable', database: 'reachable', migration };
}

async function schemaVersion(isolation: ProductIsolation): Promise<number> {
  const row = await isolation.withAccounts('health', (scope) =>
    scope.first<{ version: number | null }>(
      scope.db.selectFrom('ringfence_migrations').select((eb) => eb.fn.max('version').as('version')),
    ),
  );
  return row?.version ?? 0;
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('no answer in time')), ms);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

/** Everybody who asks while a look is under way, or within `ms` after it, gets the same answer. */
function atMostOnce<T>(ms: number, look: () => Promise<T>): () => Promise<T> {
  let last: Promise<T> | undefined;
  let staleAt = 0;
  return () => {
    if (last !== undefined && monotonicMs() < staleAt) return last;
    staleAt = Number.POSITIVE_INFINITY;
    last = look().finally(() => {
      staleAt = monotonicMs() + ms;
    });
    return last;
  };
}
