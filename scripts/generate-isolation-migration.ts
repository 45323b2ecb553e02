/**
 * Writes database/migrations/003_add_user_isolation.sql and its way down from the catalogue of owned tables and
 * database/isolation/identity.sql. `--check` compares instead and exits 1 when they are out of step.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { isolationDown, isolationUp } from '../src/isolation/migration.ts';

const at = (path: string) => new URL(`../database/${path}`, import.meta.url);
const identity = readFileSync(at('isolation/identity.sql'), 'utf8');
const files = [
  { path: 'migrations/003_add_user_isolation.sql', text: isolationUp(identity) },
  { path: 'migrations/003_add_user_isolation.down.sql', text: isolationDown() },
];

let stale = 0;
for (const { path, text } of files) {
  if (process.argv.includes('--check')) {
    if (readFileSync(at(path), 'utf8') !== text) {
      stale += 1;
      console.error(`database/${path} is out of step: run npm run generate`);
    }
  } else {
    writeFileSync(at(path), text);
    console.log(`wrote database/${path}`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
