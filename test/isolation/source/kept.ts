/** What a module keeps from one request to the next: variables and fields that outlive the call that writes to them. */
import { isNode, type Module, type Node, pathOf, walk } from './modules.ts';

const storeTypes = /^(?:Map|Set|WeakMap|WeakSet|Array|WeakRef|AsyncLocalStorage|EventEmitter)$/;
const changing = /^(?:set|add|delete|clear|push|pop|shift|unshift|splice|sort|reverse|fill|run|enterWith)$/;
/** These change what they are given first. */
const changingFirst =
  /^(?:Object\.(?:assign|defineProperty|defineProperties|setPrototypeOf)|Reflect\.(?:set|defineProperty))$/;
/** What these answer is still a part of the store. */
const reaching = /^(?:get|at|find|findLast)$/;
/** Functions given to these are over when the call is. */
const atOnce =
  /^(?:map|flatMap|filter|forEach|some|every|find|findIndex|findLast|reduce|sort|toSorted|replace|replaceAll|from|fromEntries|transform|refine)$/;
const functions = /^(?:FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;

interface Variable {
  readonly name: string;
  readonly home: Node | undefined;
}

/** @returns names, each with the file: `src/a.ts: cache`, `src/a.ts: Pool.#clients` */
export function keptBy({ path, program }: Module): string[] {
  const found = new Set<string>();
  const variables: Variable[] = [];
  walk(program, (node, above) => {
    if (node.type === 'VariableDeclaration') variables.push(...declared(node, functionAround(above)));
    if (node.type === 'PropertyDefinition' && (node.readonly !== true || isStore(node.value) || isRecord(node.value))) {
      if (node.declare === true || node.type.startsWith('TSAbstract')) return;
      const owner = above.findLast(({ type }) => /^Class(?:Declaration|Expression)$/.test(type));
      found.add(`${path}: ${pathOf(owner?.id) || 'class'}.${pathOf(node.key)}`);
    }
  });
  walk(program, (node, above) => {
    const name = changedIn(node);
    if (name === undefined) return;
    const inner = above.filter(({ type }) => functions.test(type));
    const variable = nearest(variables, name, inner);
    if (!variable) return;
    // What a function changes of its own ends with it; what an inner function changes may be called again.
    const between = inner.slice(variable.home === undefined ? 0 : inner.indexOf(variable.home) + 1);
    if (between.some((one) => !isOverAtOnce(one, above))) found.add(`${path}: ${name}`);
  });
  return [...found];
}

const functionAround = (above: readonly Node[]) => above.findLast(({ type }) => functions.test(type));

function declared(node: Node, home: Node | undefined): Variable[] {
  const declarations = Array.isArray(node.declarations) ? node.declarations.filter(isNode) : [];
  return declarations.flatMap(({ id }) => {
    const name = pathOf(id);
    return name === '' ? [] : [{ name, home }];
  });
}

function isStore(value: unknown): boolean {
  if (!isNode(value)) return false;
  if (value.type === 'ArrayExpression') return true;
  return value.type === 'NewExpression' && storeTypes.test(pathOf(value.callee));
}

const isRecord = (value: unknown) => isNode(value) && value.type === 'ObjectExpression';

/** The variable that a node writes to, if it is one. */
function changedIn(node: Node): string | undefined {
  switch (node.type) {
    case 'AssignmentExpression':
      return baseOf(node.left);
    case 'UpdateExpression':
      return baseOf(node.argument);
    case 'CallExpression': {
      const { callee } = node;
      if (changingFirst.test(pathOf(callee)))
        return baseOf(Array.isArray(node.arguments) ? node.arguments[0] : undefined);
      if (!isNode(callee) || callee.type !== 'MemberExpression' || !changing.test(pathOf(callee.property)))
        return undefined;
      return baseOf(callee.object);
    }
    default:
      return undefined;
  }
}

/** `cache` of `cache[key] = …`, of `cache.a.b.set(…)` and of `cache.get(key)?.push(…)`. */
function baseOf(target: unknown): string | undefined {
  if (!isNode(target)) return undefined;
  switch (target.type) {
    case 'Identifier':
      return pathOf(target);
    case 'MemberExpression':
      return baseOf(target.object);
    case 'CallExpression': {
      const { callee } = target;
      const isReached = isNode(callee) && callee.type === 'MemberExpression' && reaching.test(pathOf(callee.property));
      return isReached ? baseOf(callee.object) : undefined;
    }
    case 'ChainExpression':
    case 'TSNonNullExpression':
    case 'TSAsExpression':
    case 'TSSatisfiesExpression':
      return baseOf(target.expression);
    default:
      return undefined;
  }
}

/** Of the variables of that name, the one of the innermost function around. */
function nearest(variables: readonly Variable[], name: string, inner: readonly Node[]): Variable | undefined {
  const here = variables.filter((one) => one.name === name);
  for (const around of inner.toReversed()) {
    const own = here.find(({ home }) => home === around);
    if (own) return own;
  }
  return here.find(({ home }) => home === undefined);
}

function isOverAtOnce(inner: Node, above: readonly Node[]): boolean {
  const call = above[above.indexOf(inner) - 1];
  if (call?.type !== 'CallExpression' || call.callee === inner) return call?.callee === inner;
  return atOnce.test(pathOf(call.callee).split('.').at(-1) ?? '') || isMethodOfCall(call);
}

/** `f(x).map(…)`: not a plain path, but as much over at once. */
function isMethodOfCall({ callee }: Node): boolean {
  return isNode(callee) && callee.type === 'MemberExpression' && atOnce.test(pathOf(callee.property));
}
