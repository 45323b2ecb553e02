/** What the serving process is made of: every module that src/server.ts reaches by imports, parsed. */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'vite';

/** A node of the syntax tree (ESTree); its other members are looked into only where its type is known. */
export interface Node {
  readonly type: string;
  readonly [member: string]: unknown;
}

export interface Module {
  /** From the root of the project. */
  readonly path: string;
  readonly program: Node;
  /** What it imports to run, types left out: names by the package or module. */
  readonly imports: ReadonlyMap<string, readonly string[]>;
}

const root = fileURLToPath(new URL('../../../', import.meta.url));

export function modulesOf(entry: string): Module[] {
  const found = new Map<string, Module>();
  const visit = (path: string) => {
    if (found.has(path)) return;
    const module = parseModule(relative(root, path), readFileSync(path, 'utf8'));
    found.set(path, module);
    for (const target of module.imports.keys()) if (target.startsWith('.')) visit(resolve(dirname(path), target));
  };
  visit(resolve(root, entry));
  return [...found.values()];
}

export function parseModule(path: string, text: string): Module {
  const { program, module, errors } = parseSync(path, text, { preserveParens: false });
  if (errors.length > 0) throw new Error(`${path} cannot be parsed: ${errors[0]?.message}`);
  const imports = new Map<string, string[]>();
  const add = (target: string, names: readonly string[]) =>
    imports.set(target, [...(imports.get(target) ?? []), ...names]);
  for (const { moduleRequest, entries } of module.staticImports) {
    const values = entries.filter(({ isType }) => !isType);
    if (entries.length > 0 && values.length === 0) continue;
    add(
      moduleRequest.value,
      values.map(({ importName }) => importName.name ?? '*'),
    );
  }
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest, isType } of entries) if (moduleRequest && !isType) add(moduleRequest.value, ['*']);
  }
  for (const { moduleRequest } of module.dynamicImports) {
    add(text.slice(moduleRequest.start + 1, moduleRequest.end - 1), ['*']);
  }
  return { path, program: program as unknown as Node, imports };
}

export const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';

/** The nodes right below. */
export function childrenOf(node: Node): Node[] {
  return Object.entries(node).flatMap(([name, value]) => {
    // Types do nothing when the program runs.
    if (name === 'typeAnnotation' || name === 'returnType' || name === 'typeArguments') return [];
    return (Array.isArray(value) ? value : [value]).filter(isNode);
  });
}

/** Calls `look` with each node and those above it, the nearest last. */
export function walk(
  node: Node,
  look: (node: Node, above: readonly Node[]) => void,
  above: readonly Node[] = [],
): void {
  look(node, above);
  const here = [...above, node];
  for (const child of childrenOf(node)) walk(child, look, here);
}

/** `a.b.c`, or the empty string for anything that is no plain path. */
export function pathOf(node: unknown): string {
  if (!isNode(node)) return '';
  if (node.type === 'Identifier' || node.type === 'PrivateIdentifier') {
    return `${node.type === 'PrivateIdentifier' ? '#' : ''}${String(node.name)}`;
  }
  if (node.type === 'ThisExpression') return 'this';
  if (node.type === 'ChainExpression') return pathOf(node.expression);
  if (node.type !== 'MemberExpression' || node.computed === true) return '';
  return `${pathOf(node.object)}.${pathOf(node.property)}`;
}
