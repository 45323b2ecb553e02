/** The context of a part when vitest runs it, and defects to plant. */
import { inject } from 'vitest';
import type {} from '../../../support/provided.ts';
import type { ProofContext } from '../part.ts';
import type { World } from './world.ts';

const usualSeed = 20_260_101;

/** RINGFENCE_PROOF_SEED replaces the seed. */
export function contextInVitest(): ProofContext {
  const { url, templates } = inject('postgres');
  const seed = Number(process.env.RINGFENCE_PROOF_SEED ?? usualSeed);
  console.log(`seed ${seed}`);
  return { size: 'short', seed, postgresUrl: url, templates, say: () => {}, signal: new AbortController().signal };
}

/** Runs statements as the owner of a world's database. */
export const alter =
  (...statements: readonly string[]) =>
  async ({ database }: World): Promise<void> => {
    for (const statement of statements) await database.query(statement);
  };

export const defects = {
  openPolicy: (table: string) => alter(`alter policy user_isolation on ${table} using (true) with check (true)`),
  uniqueWithoutOwner: alter('create unique index on agents (name)'),
  referenceWithoutOwner: alter(
    'create unique index on projects (id)',
    'alter table rules drop constraint fk_rules_project_id',
    'alter table rules add constraint fk_rules_project_id foreign key (project_id) references projects (id)',
    'alter table project_git_branchs drop constraint fk_project_git_branchs_project_id',
    `alter table project_git_branchs add constraint fk_project_git_branchs_project_id
       foreign key (project_id) references projects (id)`,
  ),
} as const;
