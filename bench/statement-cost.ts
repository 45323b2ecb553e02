/** What it costs to make the text of a statement that is not prepared, before anything is sent. */
import { createQueryId, Kysely, PostgresQueryCompiler } from 'kysely';
import type { ProductUserScope } from '../src/database/isolation.ts';
import type { Database } from '../src/database/tables.gen.ts';
import { coldDialect } from '../src/isolation/cold-dialect.ts';
import { ownership } from '../src/isolation/owned-tables.ts';
import { OwnerFilter } from '../src/isolation/owner-filter.ts';
import type { Compilable } from '../src/isolation/scope.ts';
import { TaskRepository } from '../src/repositories/tasks.ts';
import { callerFor, listQuery } from './core-load.ts';
import { type BenchCaller, median } from './measurement.ts';

/** Microseconds, medians. */
export interface StatementCost {
  /** The builder's calls, up to the tree. */
  readonly build: number;
  /** The owner filter over the tree. */
  readonly filter: number;
  /** The tree to text and parameters. */
  readonly compile: number;
}

const batches = 30;
const callsPerBatch = 100;
const warmUpBatches = 10;

/** Without a filter the list is prepared; with one it is made for each request. */
export function statementCosts(caller: BenchCaller): { 'filtered list': StatementCost } {
  return { 'filtered list': costOf(caller, (tasks) => tasks.list({ ...listQuery, status: ['todo'] })) };
}

function costOf(caller: BenchCaller, call: (tasks: TaskRepository) => Promise<unknown>): StatementCost {
  const built: Compilable<unknown>[] = [];
  const tasks = new TaskRepository(scopeThatOnlyKeeps(caller, built));
  const build = () => {
    built.length = 0;
    call(tasks).catch(() => {});
    const [query] = built;
    if (!query) throw new Error('the repository made no statement');
    return query.toOperationNode();
  };
  const compiler = new PostgresQueryCompiler();
  const node = build();
  const filter = () => new OwnerFilter(ownership, { kind: 'own', userId: caller.userId }).transformNode(node);
  const filtered = filter();
  return {
    build: microseconds(build),
    filter: microseconds(filter),
    compile: microseconds(() => compiler.compileQuery(filtered, createQueryId())),
  };
}

/** A scope that sends nothing: only what comes before sending is measured. The cast is what no program may do. */
function scopeThatOnlyKeeps(caller: BenchCaller, built: Compilable<unknown>[]): ProductUserScope {
  const keep = (query: Compilable<unknown>) => {
    built.push(query);
    return new Promise<never>(() => {});
  };
  const db = new Kysely<Database>({ dialect: coldDialect });
  return { db, all: keep, first: keep, run: keep, caller: callerFor(caller) } as unknown as ProductUserScope;
}

function microseconds(work: () => unknown): number {
  const times: number[] = [];
  for (let batch = 0; batch < warmUpBatches + batches; batch++) {
    const started = performance.now();
    for (let call = 0; call < callsPerBatch; call++) work();
    if (batch >= warmUpBatches) times.push(((performance.now() - started) * 1000) / callsPerBatch);
  }
  return median(times);
}
