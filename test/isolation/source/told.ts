/** What a module writes to a log: the names of the members of each line. */
import { isNode, type Module, type Node, pathOf, walk } from './modules.ts';

const levels = /^(?:trace|debug|info|warn|error|fatal|event)$/;
const logs = /(?:^|\.)(?:log|logger|security|securityLog)$/i;

/** @returns each with where it is written: `user_id` → `src/a.ts`; `…` stands for what is not written out at the call */
export function toldBy({ path, program }: Module): Map<string, string> {
  const found = new Map<string, string>();
  walk(program, (node) => {
    if (node.type !== 'CallExpression') return;
    const callee = pathOf(node.callee);
    const at = callee.lastIndexOf('.');
    if (!levels.test(callee.slice(at + 1)) || !logs.test(callee.slice(0, Math.max(at, 0)))) return;
    for (const argument of Array.isArray(node.arguments) ? node.arguments.filter(isNode) : []) {
      for (const name of membersOf(argument, program)) found.set(name, path);
    }
  });
  return found;
}

function membersOf(value: Node, program: Node): string[] {
  switch (value.type) {
    case 'Literal':
    // A text that is chosen by name: it is written out elsewhere in the file.
    case 'Identifier':
      return value.type === 'Literal' ? [] : namedAs(pathOf(value), program);
    case 'TemplateLiteral':
      return ['a text made of parts'];
    case 'ConditionalExpression':
      return [value.consequent, value.alternate].filter(isNode).flatMap((arm) => membersOf(arm, program));
    case 'CallExpression':
      return namedAs(pathOf(value.callee), program);
    case 'ObjectExpression':
      return (Array.isArray(value.properties) ? value.properties.filter(isNode) : []).flatMap((property) => {
        if (property.type !== 'SpreadElement') return [pathOf(property.key) || '…'];
        return isNode(property.argument) ? membersOf(property.argument, program) : [];
      });
    default:
      return ['…'];
  }
}

/** What a variable of the file is set to, or a function of it returns. */
function namedAs(name: string, program: Node): string[] {
  const found: string[] = [];
  let known = false;
  walk(program, (node, above) => {
    const isVariable = node.type === 'VariableDeclarator' && pathOf(node.id) === name && isNode(node.init);
    const isReturn = node.type === 'ReturnStatement' && isNode(node.argument) && around(above) === name;
    const isParameter =
      /Function/.test(node.type) && Array.isArray(node.params) && node.params.some((one) => pathOf(one) === name);
    if (isVariable || isReturn || isParameter) known = true;
    const value = isVariable ? node.init : isReturn ? node.argument : undefined;
    if (isNode(value) && value.type !== 'Identifier') found.push(...membersOf(value, program));
  });
  return known ? found : ['…'];
}

const around = (above: readonly Node[]) => pathOf(above.findLast(({ type }) => type === 'FunctionDeclaration')?.id);
