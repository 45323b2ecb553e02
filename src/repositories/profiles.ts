import { sql } from 'kysely';
import type { ProfilePatch } from '../contract/accounts.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';

/** What users see of their account. */
export const profileColumns = [
  'id',
  'email',
  'name',
  'roles',
  'status',
  'last_login_at',
  'version',
  'created_at',
  'updated_at',
] as const;

export class ProfileRepository extends BaseUserScopedRepository {
  protected readonly table = 'users';

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.db.selectFrom('users').select(profileColumns).where('users.id', '=', id));
  }

  /** What the account may do at this moment, whatever its token says. */
  async present(): Promise<{ readonly email: string; readonly roles: readonly string[] } | undefined> {
    return this.scope.first(this.db.selectFrom('users').select(['email', 'roles']));
  }

  /** @returns whether the account is at that version, if one is given */
  async update(id: string, patch: ProfilePatch, version?: number): Promise<boolean> {
    const changed = await this.write(
      'update',
      this.db
        .updateTable('users')
        .set({ ...patch, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }
}
