import type { ProjectCreate } from '../contract/projects.ts';
import type { ProductUserScope } from '../database/isolation.ts';
import { found, type JsonDocument } from '../repositories/base-user-scoped-repository.ts';
import { BranchRepository } from '../repositories/branches.ts';
import { ProjectRepository } from '../repositories/projects.ts';
import { ensureContext } from './contexts.ts';

/** A new project can be worked in at once: it has a branch and a context. */
export async function createProject(scope: ProductUserScope, project: ProjectCreate): Promise<JsonDocument> {
  const projects = new ProjectRepository(scope);
  const id = await projects.create(project);
  await new BranchRepository(scope).create({ project_id: id, name: 'main' });
  await ensureContext(scope, 'project', id);
  return found(await projects.get(id), 'project');
}
