/** Defects of the owner filter. */
import { inCode, type Mutant, suite } from './mutant.ts';

const { ownerFilter: tests, scope } = suite;
const filter = 'src/isolation/owner-filter.ts';
const skip = (kind: string, when: string): readonly [string, string] => [
  `protected override transform${kind}Query(node: ${kind}QueryNode): ${kind}QueryNode {`,
  `protected override transform${kind}Query(node: ${kind}QueryNode): ${kind}QueryNode {\n    if (${when}) return super.transform${kind}Query(node);`,
];

export const filterMutants: readonly Mutant[] = [
  inCode('I3', 'reads are not confined', tests, filter, skip('Select', 'this.nodeStack.length < 2')),
  inCode('I3', 'sub-queries are not confined', tests, filter, skip('Select', 'this.nodeStack.length > 1')),
  inCode(
    'I3',
    'common table expressions are not confined',
    tests,
    filter,
    skip('Select', "this.nodeStack.some(({ kind }) => kind === 'WithNode')"),
  ),
  inCode('I3', 'updates are not confined', tests, filter, skip('Update', 'true')),
  inCode('I3', 'removals are not confined', tests, filter, skip('Delete', 'true')),
  inCode('I3', 'inserts get no owner', tests, filter, [
    'return super.transformInsertQuery(this.#withOwner(node, table));',
    'return super.transformInsertQuery(node);',
  ]),
  inCode('I3', 'joins are not confined', tests, filter, ['if (!condition) return join;', 'return join;']),
  inCode('I3', 'cross joins are not confined', tests, filter, ['conditions.push(condition);\n', '']),
  inCode('I3', 'what an update reads from is not confined', tests, filter, [
    '...(node.table ? [node.table] : []), ...(node.from?.froms ?? [])',
    '...(node.table ? [node.table] : [])',
  ]),
  inCode('I3', 'what a removal uses is not confined', tests, filter, [
    '...node.from.froms, ...(node.using?.tables ?? [])',
    '...node.from.froms',
  ]),
  inCode('I3', 'a statement may name the owner of what it writes', tests, filter, [
    "if (plain.column.name === table.column && table.column === 'user_id') {",
    'if (false) {',
  ]),
  inCode('I3', 'raw SQL may read tables', tests, filter, [
    'if (this.#mentionsTable.test(text) || disguises.test(text)) {',
    'if (false) {',
  ]),
  inCode('I3', 'raw SQL may read tables in disguise', tests, filter, [' || disguises.test(text)', '']),
  inCode('I3', 'raw SQL may name tables by the builder', tests, filter, [
    'this.#isInRaw() && !this.#qualifiesColumn()',
    'false',
  ]),
  inCode('I3', 'an OR of the statement’s own takes the condition in', tests, filter, [
    'AndNode.create(ParensNode.create(node.where.where), all)',
    'AndNode.create(node.where.where, all)',
  ]),
  inCode('I3', 'an OR of a join’s own takes the condition in', tests, filter, [
    'AndNode.create(ParensNode.create(join.on.on), condition)',
    'AndNode.create(join.on.on, condition)',
  ]),
  inCode('I3', 'a table in a place that is not known passes', tests, filter, ['!knownParents.has(parent)', 'false']),
  inCode(
    'I3',
    'right and full joins pass',
    tests,
    filter,
    [
      "if (join.joinType === 'InnerJoin' || join.joinType === 'LeftJoin') return confinedOn(join, condition);",
      "if (join.joinType !== 'CrossJoin') return confinedOn(join, condition);",
    ],
    ["if (joins?.some((join) => join.joinType === 'RightJoin' || join.joinType === 'FullJoin')) {", 'if (false) {'],
  ),
  inCode(
    'I3',
    'MERGE passes',
    tests,
    filter,
    [
      "transformMergeQuery(_: MergeQueryNode): MergeQueryNode {\n    throw new UnconfinedStatementError('MERGE is not confined; use INSERT … ON CONFLICT');",
      'transformMergeQuery(node: MergeQueryNode): MergeQueryNode {\n    return super.transformMergeQuery(node);',
    ],
    ["  'UsingNode',\n", "  'UsingNode',\n  'MergeQueryNode',\n"],
  ),
  inCode('I3', 'rows made from a query get no owner', tests, filter, [
    'values: SelectQueryNode.cloneWithSelections(values, [owner]),',
    'values,',
  ]),
  inCode('I1', 'the accounts scope reaches owned tables', [tests, scope], filter, [
    "if (table.kind === 'owned') throw new UnconfinedStatementError(`the accounts scope cannot reach ${name}`);",
    '',
  ]),
  inCode('I7', 'while isolation is off, accounts are everybody’s', tests, filter, [
    "if (table.kind === 'owned' && this.#reach.kind === 'everyone') return [ofEverybody(alias)];",
    "if (this.#reach.kind === 'everyone') return [ofEverybody(alias)];",
  ]),
  inCode('I7', 'while isolation is off, a child is the caller’s and not its parent’s owner’s', tests, filter, [
    'if (owners.length === 0) return self;',
    'return self;',
  ]),
];
