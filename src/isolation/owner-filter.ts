/**
 * Wall one (I3): every statement built for a scope is rewritten so that each reference to an owned table is confined to
 * the scope's user. A repository that forgets the user cannot leak, since it never says the user in the first place.
 *
 * It fails closed: a place in a statement that it does not know how to confine is refused, not passed on.
 */
import {
  AliasNode,
  AndNode,
  BinaryOperationNode,
  CastNode,
  ColumnNode,
  DataTypeNode,
  type DeleteQueryNode,
  FunctionNode,
  IdentifierNode,
  type InsertQueryNode,
  type JoinNode,
  type MergeQueryNode,
  OnNode,
  type OperationNode,
  OperationNodeTransformer,
  OperatorNode,
  ParensNode,
  PrimitiveValueListNode,
  type RawNode,
  ReferenceNode,
  SelectionNode,
  SelectQueryNode,
  TableNode,
  type UpdateQueryNode,
  ValueListNode,
  ValueNode,
  ValuesNode,
  WhereNode,
} from 'kysely';
import type { UserId } from './identity.ts';
import { everybody, type TableOwnership } from './owned-tables.ts';
import type { Hole } from './prepared.ts';

export type Ownership = ReadonlyMap<string, TableOwnership>;

/** What a scope may reach. */
export type Reach =
  /** The user's own rows; the normal case. */
  | { readonly kind: 'own'; readonly userId: UserId | Hole }
  /** Isolation is off on a schema with owners: everybody's rows, new rows still get an owner. Accounts stay one's own. */
  | { readonly kind: 'everyone'; readonly userId: UserId | Hole }
  /** Isolation is off on the schema before it: there is no owner to filter by or to record. Accounts stay one's own. */
  | { readonly kind: 'ownerless'; readonly userId: UserId | Hole }
  /** System mode: everybody's rows, accounts included; `marked` where the schema has indexes for it, that is from 003 on. */
  | { readonly kind: 'system'; readonly marked: boolean }
  /** Before anybody is known: accounts alone, owned tables refused. */
  | { readonly kind: 'accounts' };

/** A statement that cannot be confined to its user. Always a fault of the program. */
export class UnconfinedStatementError extends Error {
  override readonly name = 'UnconfinedStatementError';
}

/** Made once a regular expression: it holds every table's name. */
const mentions = new WeakMap<Ownership, RegExp>();

/** Where a table may stand as a source of rows or as a mere name, also under an alias; anywhere else it is refused. */
const knownParents = new Set([
  'FromNode',
  'JoinNode',
  'UsingNode',
  'UpdateQueryNode',
  'InsertQueryNode',
  'DeleteQueryNode',
  'ReferenceNode',
  'SelectModifierNode',
]);

const queries = new Set(['SelectQueryNode', 'InsertQueryNode', 'UpdateQueryNode', 'DeleteQueryNode']);

/** Ways for raw SQL to read a table whose name does not stand in it as such. */
const disguises = /\b(?:query|table|cursor|schema|database)_to_xml|U&["']/i;

export class OwnerFilter extends OperationNodeTransformer {
  readonly #ownership: Ownership;
  readonly #reach: Reach;
  readonly #mentionsTable: RegExp;

  constructor(ownership: Ownership, reach: Reach) {
    super();
    this.#ownership = ownership;
    this.#reach = reach;
    this.#mentionsTable = tableMention(ownership);
  }

  protected override transformSelectQuery(node: SelectQueryNode): SelectQueryNode {
    const { joins, conditions } = this.#confineJoins(node.joins);
    const sources = [...(node.from?.froms ?? []).flatMap((from) => this.#confine(from)), ...conditions];
    return super.transformSelectQuery(withConditions({ ...node, ...(joins ? { joins } : {}) }, sources));
  }

  protected override transformUpdateQuery(node: UpdateQueryNode): UpdateQueryNode {
    for (const update of node.updates ?? []) this.#refuseOwnerColumn(node.table, update.column);
    const { joins, conditions } = this.#confineJoins(node.joins);
    const tables = [...(node.table ? [node.table] : []), ...(node.from?.froms ?? [])];
    const sources = [...tables.flatMap((table) => this.#confine(table)), ...conditions];
    return super.transformUpdateQuery(withConditions({ ...node, ...(joins ? { joins } : {}) }, sources));
  }

  protected override transformDeleteQuery(node: DeleteQueryNode): DeleteQueryNode {
    const { joins, conditions } = this.#confineJoins(node.joins);
    const tables = [...node.from.froms, ...(node.using?.tables ?? [])];
    const sources = [...tables.flatMap((table) => this.#confine(table)), ...conditions];
    return super.transformDeleteQuery(withConditions({ ...node, ...(joins ? { joins } : {}) }, sources));
  }

  protected override transformInsertQuery(node: InsertQueryNode): InsertQueryNode {
    const name = node.into ? tableName(node.into) : undefined;
    const table = name === undefined ? undefined : this.#ownership.get(name);
    if (!name || !table) return super.transformInsertQuery(node);
    for (const column of node.columns ?? []) this.#refuseOwnerColumn(node.into, column);
    for (const update of node.onConflict?.updates ?? []) this.#refuseOwnerColumn(node.into, update.column);
    this.#confine(node.into ?? node);
    if (this.#reach.kind === 'system' || this.#reach.kind === 'accounts') return super.transformInsertQuery(node);
    if (table.column === 'id') throw new UnconfinedStatementError(`a user's scope cannot make rows of ${name}`);
    if (this.#reach.kind === 'ownerless' && table.kind === 'owned') return super.transformInsertQuery(node);
    return super.transformInsertQuery(this.#withOwner(node, table));
  }

  protected override transformMergeQuery(_: MergeQueryNode): MergeQueryNode {
    throw new UnconfinedStatementError('MERGE is not confined; use INSERT … ON CONFLICT');
  }

  /** Raw SQL is opaque: it may qualify a column with a table's name, and never read from one. */
  protected override transformRaw(node: RawNode): RawNode {
    const text = node.sqlFragments.join(' ? ');
    if (this.#mentionsTable.test(text) || disguises.test(text)) {
      throw new UnconfinedStatementError('raw SQL names an owned table; build that part with the query builder');
    }
    return super.transformRaw(node);
  }

  protected override transformTable(node: TableNode): TableNode {
    const name = tableName(node);
    const above = this.nodeStack.at(-2)?.kind ?? 'none';
    const parent = above === 'AliasNode' ? (this.nodeStack.at(-3)?.kind ?? 'none') : above;
    if (name !== undefined && this.#ownership.has(name) && !knownParents.has(parent)) {
      throw new UnconfinedStatementError(`${name} is used in a place that is not confined (${parent})`);
    }
    return super.transformTable(node);
  }

  /** A table's name that comes into raw SQL through the builder (`sql.id`, `sql.ref`) instead of standing in its text. */
  protected override transformIdentifier(node: IdentifierNode): IdentifierNode {
    if (this.#ownership.has(node.name) && this.#isInRaw() && !this.#qualifiesColumn()) {
      throw new UnconfinedStatementError(`raw SQL names ${node.name}; build that part with the query builder`);
    }
    return super.transformIdentifier(node);
  }

  /** Whether raw SQL is nearer than the query that it is a part of. */
  #isInRaw(): boolean {
    return this.nodeStack.findLast(({ kind }) => kind === 'RawNode' || queries.has(kind))?.kind === 'RawNode';
  }

  /** `tasks` in `tasks.status`. */
  #qualifiesColumn(): boolean {
    return this.nodeStack.at(-3)?.kind === 'TableNode' && this.nodeStack.at(-4)?.kind === 'ReferenceNode';
  }

  /** The condition that keeps a source of rows within reach; none when it is no owned table. */
  #confine(source: OperationNode): OperationNode[] {
    const { name, alias } = named(source);
    const table = name === undefined ? undefined : this.#ownership.get(name);
    if (name === undefined || table === undefined) return [];
    if (this.#reach.kind === 'accounts') {
      if (table.kind === 'owned') throw new UnconfinedStatementError(`the accounts scope cannot reach ${name}`);
      return [];
    }
    if (this.#reach.kind === 'system') return this.#reach.marked ? [ofEverybody(alias)] : [];
    if (table.kind === 'owned' && this.#reach.kind === 'everyone') return [ofEverybody(alias)];
    if (table.kind === 'owned' && this.#reach.kind === 'ownerless') return [];
    return [equals(columnOf(alias, table.column), ValueNode.create(this.#reach.userId))];
  }

  #confineJoins(joins: readonly JoinNode[] | undefined): {
    joins: readonly JoinNode[] | undefined;
    conditions: OperationNode[];
  } {
    const conditions: OperationNode[] = [];
    const confined = joins?.map((join) => {
      const [condition] = this.#confine(join.table);
      if (!condition) return join;
      if (join.joinType === 'InnerJoin' || join.joinType === 'LeftJoin') return confinedOn(join, condition);
      if (join.joinType === 'CrossJoin') {
        conditions.push(condition);
        return join;
      }
      throw new UnconfinedStatementError(
        `${join.joinType} with an owned table is not confined; use an inner or left join`,
      );
    });
    // The left side of these is confined in WHERE, which a right or full join would not apply to its unmatched rows.
    if (joins?.some((join) => join.joinType === 'RightJoin' || join.joinType === 'FullJoin')) {
      throw new UnconfinedStatementError('right and full joins are not confined; use an inner or left join');
    }
    return { joins: confined, conditions };
  }

  #refuseOwnerColumn(target: OperationNode | undefined, column: OperationNode): void {
    const name = target ? named(target).name : undefined;
    const table = name === undefined ? undefined : this.#ownership.get(name);
    if (!table || this.#reach.kind === 'system' || this.#reach.kind === 'accounts') return;
    const plain = ReferenceNode.is(column) ? column.column : column;
    if (!ColumnNode.is(plain)) throw new UnconfinedStatementError(`a statement sets something of ${name} unknown here`);
    if (plain.column.name === table.column && table.column === 'user_id') {
      throw new UnconfinedStatementError(`a statement may not set ${name}.user_id; the scope does`);
    }
  }

  #withOwner(node: InsertQueryNode, table: TableOwnership): InsertQueryNode {
    const columns = node.columns ?? [];
    const { values } = node;
    if (!values || node.defaultValues) throw new UnconfinedStatementError('an insert without values has no owner');
    const ownerColumn = [...columns, ColumnNode.create(table.column)];
    if (ValuesNode.is(values)) {
      const rows = values.values.map((row) => {
        const items = PrimitiveValueListNode.is(row) ? row.values.map((value) => ValueNode.create(value)) : row.values;
        return ValueListNode.create([...items, this.#ownerOf(table, columns, items)]);
      });
      return { ...node, columns: ownerColumn, values: ValuesNode.create(rows) };
    }
    if (SelectQueryNode.is(values) && (this.#reach.kind === 'own' || isOwnAccount(this.#reach, table))) {
      const owner = SelectionNode.create(
        AliasNode.create(ValueNode.create(this.#reach.userId), IdentifierNode.create('user_id')),
      );
      return {
        ...node,
        columns: ownerColumn,
        values: SelectQueryNode.cloneWithSelections(values, [owner]),
      };
    }
    throw new UnconfinedStatementError('this form of insert is not confined; insert values');
  }

  /** The scope's user; while isolation is off, the owner of the row that the new one belongs to. */
  #ownerOf(table: TableOwnership, columns: readonly ColumnNode[], items: readonly OperationNode[]): OperationNode {
    if (this.#reach.kind !== 'own' && this.#reach.kind !== 'everyone') {
      if (this.#reach.kind === 'ownerless') return ValueNode.create(this.#reach.userId);
      throw new UnconfinedStatementError('there is no user to own the row');
    }
    const self = ValueNode.create(this.#reach.userId);
    if (this.#reach.kind === 'own' || table.kind === 'account') return self;
    const parents = table.references.filter((reference) => reference.onDelete === 'cascade');
    const owners = parents.flatMap((reference) => {
      const at = columns.findIndex((column) => column.column.name === reference.column);
      const id = at < 0 ? undefined : items[at];
      return id ? [ownerOfRow(reference.table, id)] : [];
    });
    if (owners.length === 0) return self;
    return FunctionNode.create('coalesce', [...owners, uuid(self)]);
  }
}

/** While isolation is off, accounts stay with their user. */
function isOwnAccount(
  reach: Reach,
  table: TableOwnership,
): reach is Extract<Reach, { readonly userId: UserId | Hole }> {
  return table.kind === 'account' && 'userId' in reach;
}

function ownerOfRow(table: string, id: OperationNode): OperationNode {
  const query = SelectQueryNode.createFrom([TableNode.create(table)]);
  const selected = SelectQueryNode.cloneWithSelections(query, [SelectionNode.create(columnOf(table, 'user_id'))]);
  return ParensNode.create({
    ...selected,
    where: WhereNode.create(equals(columnOf(table, 'id'), uuid(id))),
  } as OperationNode);
}

function uuid(node: OperationNode): OperationNode {
  return CastNode.create(node, DataTypeNode.create('uuid'));
}

function columnOf(table: string, column: string): ReferenceNode {
  return ReferenceNode.create(ColumnNode.create(column), TableNode.create(table));
}

function equals(left: OperationNode, right: OperationNode): OperationNode {
  return BinaryOperationNode.create(left, OperatorNode.create('='), right);
}

/** `everybodyMark` as a node. */
function ofEverybody(alias: string): OperationNode {
  return FunctionNode.create(everybody, [columnOf(alias, 'id')]);
}

function confinedOn(join: JoinNode, condition: OperationNode): JoinNode {
  const on = join.on ? AndNode.create(ParensNode.create(join.on.on), condition) : condition;
  return { ...join, on: OnNode.create(on) };
}

function withConditions<Node extends { readonly where?: WhereNode }>(node: Node, conditions: OperationNode[]): Node {
  const [first, ...rest] = conditions;
  if (!first) return node;
  const all = rest.reduce((left, right) => AndNode.create(left, right), first);
  // Parentheses, or an OR of the statement's own would take the condition in.
  const where = node.where ? AndNode.create(ParensNode.create(node.where.where), all) : all;
  return { ...node, where: WhereNode.create(where) };
}

/** The table a source stands for and the name its columns go by. Schema-qualified names count by their last part. */
function named(source: OperationNode): { name: string | undefined; alias: string } {
  if (AliasNode.is(source)) {
    const inner = named(source.node);
    if (inner.name === undefined) return inner;
    if (!IdentifierNode.is(source.alias)) throw new UnconfinedStatementError('an alias must be a plain name');
    return { name: inner.name, alias: source.alias.name };
  }
  const name = TableNode.is(source) ? tableName(source) : undefined;
  return { name, alias: name ?? '' };
}

function tableName(node: TableNode): string | undefined {
  return node.table.identifier.name;
}

/** Matches a table's name that is not the qualifier of a column (`tasks.status` is fine, `from tasks` is not). */
function tableMention(ownership: Ownership): RegExp {
  let mention = mentions.get(ownership);
  if (!mention) {
    const names = [...ownership.keys()].join('|');
    mention = new RegExp(`(?<!\\w)"?(?:${names})"?(?![\\w"]|\\s*\\.)`, 'i');
    mentions.set(ownership, mention);
  }
  return mention;
}
