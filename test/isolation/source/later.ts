/** What a module does when nobody waits for it: timers, listeners, hooks after the answer, promises left to themselves. */
import { isNode, type Module, type Node, pathOf, walk } from './modules.ts';

const timers = /^(?:setTimeout|setInterval|setImmediate|queueMicrotask|process\.nextTick)$/;
const hooksAfterwards = /^(?:onResponse|onClose|onTimeout|onRequestAbort)$/;
const functions = /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression|MethodDefinition)$/;

/** @returns what, and in which function: `src/a.ts: setTimeout in note` */
export function doneLaterBy({ path, program, imports }: Module): string[] {
  const found = new Set<string>();
  const fromTimers = [...imports].some(([from]) => /^node:timers/.test(from));
  walk(program, (node, above) => {
    const what = laterIn(node, fromTimers);
    if (what !== undefined) found.add(`${path}: ${what} in ${enclosing(above)}`);
  });
  return [...found];
}

function laterIn(node: Node, fromTimers: boolean): string | undefined {
  if (node.type === 'ExpressionStatement') return floatingIn(node.expression);
  if (node.type !== 'CallExpression') return undefined;
  const callee = pathOf(node.callee);
  if (timers.test(callee) || (fromTimers && callee === 'delay')) return callee;
  const [first] = Array.isArray(node.arguments) ? node.arguments : [];
  const event = isNode(first) && first.type === 'Literal' ? String(first.value) : '';
  const method = isNode(node.callee) && node.callee.type === 'MemberExpression' ? pathOf(node.callee.property) : '';
  if (method === 'addHook' && hooksAfterwards.test(event)) return `hook ${event}`;
  if (/^(?:on|once|addListener|subscribe)$/.test(method) && /^\w+$/.test(event)) return `${method} ${event}`;
  return undefined;
}

/** `x.catch(…);`, `x.then(…);`, `void x;` */
function floatingIn(expression: unknown): string | undefined {
  if (!isNode(expression)) return undefined;
  if (expression.type === 'UnaryExpression' && expression.operator === 'void') return 'void';
  if (expression.type !== 'CallExpression' || !isNode(expression.callee)) return undefined;
  if (expression.callee.type !== 'MemberExpression') return undefined;
  const method = pathOf(expression.callee.property);
  return method === 'then' || method === 'catch' || method === 'finally' ? `left to itself: ${method}` : undefined;
}

function enclosing(above: readonly Node[]): string {
  for (const [i, node] of [...above.entries()].toReversed()) {
    if (!functions.test(node.type)) continue;
    const parent = above[i - 1];
    const name =
      pathOf(node.id) ||
      pathOf(node.key) ||
      (parent?.type === 'VariableDeclarator' ? pathOf(parent.id) : '') ||
      pathOf(parent?.key);
    if (name !== '' && name !== 'constructor') return name;
    if (name === 'constructor')
      return pathOf(above.findLast(({ type }) => /^Class(?:Declaration|Expression)$/.test(type))?.id);
  }
  return 'the module';
}
