/**
 * Where a task goes that names no branch (G40): a project and a branch of the user's own, made on first use. What a
 * user has one of has the user's id, so two first uses at once make one inbox and need no lock.
 */
import type { ProductUserScope } from '../database/isolation.ts';
import { BaseUserScopedRepository } from './base-user-scoped-repository.ts';

class InboxProject extends BaseUserScopedRepository {
  protected readonly table = 'projects';

  async ensure(): Promise<void> {
    await this.write(
      'create',
      this.db
        .insertInto('projects')
        .values({ id: this.scope.caller.userId, name: 'Inbox', description: 'Tasks that name no branch.' })
        .onConflict((oc) => oc.doNothing())
        .returning('id'),
    );
  }
}

class InboxBranch extends BaseUserScopedRepository {
  protected readonly table = 'project_git_branchs';

  async ensure(): Promise<void> {
    const id = this.scope.caller.userId;
    await this.write(
      'create',
      this.db
        .insertInto('project_git_branchs')
        .values({ id, project_id: id, name: 'inbox', description: 'Tasks that name no branch.' })
        .onConflict((oc) => oc.doNothing())
        .returning('id'),
    );
  }
}

/** The id of the inbox branch, which is there once `made` has come true. Sends both statements at once. */
export function inboxBranch(scope: ProductUserScope): { readonly id: string; readonly made: Promise<unknown> } {
  const made = Promise.all([new InboxProject(scope).ensure(), new InboxBranch(scope).ensure()]);
  return { id: scope.caller.userId, made };
}
