/** A copy of the sources to make defects in. The working copy is only read. */
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Edit } from './mutant.ts';

const copied = [
  ...['bin', 'database', 'docs', 'scripts', 'src', 'test'],
  ...['biome.json', 'package.json', 'package-lock.json', 'tsconfig.json', 'vitest.config.ts'],
];

export function copyTree(root: string, target: string): void {
  mkdirSync(target);
  for (const name of copied.filter((entry) => existsSync(join(root, entry)))) {
    cpSync(join(root, name), join(target, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(target, 'node_modules'));
}

/** @throws Error when a piece does not stand there exactly once: the code has changed, and the mutant has to follow */
export function edited(text: string, { file, from, to }: Edit): string {
  const places = text.split(from).length - 1;
  if (places !== 1) throw new Error(`the mutant no longer applies: ${file} holds this ${places} times: ${from}`);
  if (from === to) throw new Error(`the mutant changes nothing in ${file}: ${from}`);
  return text.replace(from, () => to);
}

/** @returns what puts everything back */
export function applyEdits(tree: string, edits: readonly Edit[]): () => void {
  const originals = new Map(edits.map(({ file }) => [join(tree, file), readFileSync(join(tree, file), 'utf8')]));
  const changed = new Map(originals);
  for (const edit of edits) {
    const path = join(tree, edit.file);
    changed.set(path, edited(changed.get(path) ?? '', edit));
  }
  for (const [path, text] of changed) writeFileSync(path, text);
  return () => {
    for (const [path, text] of originals) writeFileSync(path, text);
  };
}
