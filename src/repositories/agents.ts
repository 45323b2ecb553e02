import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { AgentCreate, AgentFilter, AgentPatch } from '../contract/agents.ts';
import { problem } from '../errors.ts';
import { BaseUserScopedRepository, type JsonDocument } from './base-user-scoped-repository.ts';
import type { Page, PageRequest, Sort } from './page.ts';

const newestFirst: Sort = { name: 'created_at', key: 'v.created_at', type: 'timestamptz', direction: 'desc' };

export class AgentRepository extends BaseUserScopedRepository {
  protected readonly table = 'agents';

  list(filter: AgentFilter, request: PageRequest): Promise<Page> {
    const { status, role, q } = filter;
    const pattern = `%${(q ?? '').replaceAll(/[\\%_]/g, '\\$&')}%`;
    const view = this.#view()
      .$if(status !== undefined, (query) => query.where('agents.status', '=', status ?? ''))
      .$if(role !== undefined, (query) => query.where('agents.role', '=', role ?? ''))
      .$if(q !== undefined, (query) =>
        query.where((eb) => eb.or([eb('agents.name', 'ilike', pattern), eb('agents.description', 'ilike', pattern)])),
      );
    return this.page(view, newestFirst, request);
  }

  get(id: string): Promise<JsonDocument | undefined> {
    return this.document(this.#view().where('agents.id', '=', id));
  }

  async exists(id: string): Promise<boolean> {
    return (await this.scope.first(this.db.selectFrom('agents').select('id').where('id', '=', id))) !== undefined;
  }

  /** @returns the id of the new agent */
  async create(agent: AgentCreate): Promise<string> {
    const id = uuidv7();
    const { metadata, ...columns } = agent;
    await this.write(
      'create',
      this.db
        .insertInto('agents')
        .values({ id, ...columns, metadata: JSON.stringify(metadata ?? {}) })
        .returning('id'),
    );
    return id;
  }

  /** @returns the id of the agent with this name, which is registered if there is none */
  async register(name: string): Promise<string> {
    const [, agent] = await Promise.all([
      this.write(
        'create',
        this.db
          .insertInto('agents')
          .values({ id: uuidv7(), name })
          .onConflict((oc) => oc.constraint('uq_agents_name').doNothing())
          .returning('id'),
      ),
      this.scope.first<{ id: string }>(
        this.db.selectFrom('agents').select('id').where('name', '=', name).orderBy('created_at').orderBy('id').limit(1),
      ),
    ]);
    // The second statement sees what the first one made or waited for; only a removal in between takes it away.
    if (!agent) throw problem('conflict', 'agent_name: the agent was just being removed; try again.');
    return agent.id;
  }

  /** @returns whether there was such a row, at that version if one is given */
  async update(id: string, patch: AgentPatch, version?: number): Promise<boolean> {
    const { metadata, ...columns } = patch;
    const changed = await this.write(
      'update',
      this.db
        .updateTable('agents')
        .set({
          ...columns,
          ...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
          version: sql<number>`version + 1`,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .$if(version !== undefined, (query) => query.where('version', '=', version ?? 0))
        .returning('id'),
    );
    return changed > 0;
  }

  /** Branches and tasks that it was assigned to stay, without it. */
  async remove(id: string): Promise<boolean> {
    return (await this.write('delete', this.db.deleteFrom('agents').where('id', '=', id).returning('id'))) > 0;
  }

  #view() {
    return this.db
      .selectFrom('agents')
      .select([
        'id',
        'name',
        'description',
        'role',
        'capabilities',
        'status',
        'availability_score',
        'last_active_at',
        'metadata',
        'version',
        'created_at',
        'updated_at',
      ]);
  }
}
