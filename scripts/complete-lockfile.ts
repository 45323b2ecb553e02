// Adds to package-lock.json the packages for other platforms that npm left out, and says which.
//
// `npm ci` refuses a lockfile that lacks any optional package, also one for a machine we never saw, and `npm install`
// drops those that the registry in use does not serve. Such an entry has no integrity: nobody here could compute it.
// Run this after every `npm install`; test/lockfile.test.ts says so when it was forgotten.
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const lockedPackage = z.object({
  dev: z.boolean().optional(),
  optionalDependencies: z.record(z.string(), z.string()).optional(),
});
// Records, not objects: zod puts an object's known keys first, and the lockfile's order is npm's.
const lockfile = z.record(z.string(), z.unknown());
const packageTable = z.record(z.string(), z.record(z.string(), z.unknown()));

type PackageTable = z.infer<typeof packageTable>;

export interface MissingPackage {
  readonly name: string;
  readonly version: string;
  readonly dev: boolean;
}

/** The optional packages that something in the lockfile names and the lockfile does not have. */
export function missingFrom(packages: PackageTable): MissingPackage[] {
  return Object.entries(packages).flatMap(([path, entry]) => {
    const { optionalDependencies = {}, dev = false } = lockedPackage.parse(entry);
    return Object.entries(optionalDependencies)
      .filter(([name]) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages))
      .map(([name, version]) => ({ name, version, dev }));
  });
}

/** The lockfile's `packages`: path below the project → what is installed there. */
export function readPackages(path: string): PackageTable {
  return packageTable.parse(readLockfile(path).packages);
}

function readLockfile(path: string): z.infer<typeof lockfile> {
  return lockfile.parse(JSON.parse(readFileSync(path, 'utf8')));
}

/** Platform packages carry their platform in the name: `binding-linux-arm64-musl`, `cli-win32-x64`. */
function platformEntry({ name, version, dev }: MissingPackage): PackageTable[string] {
  const match = /-(?<os>aix|android|darwin|freebsd|linux|openharmony|sunos|win32)-(?<cpu>[a-z0-9]+)(?:-(?<abi>\w+))?$/;
  const { os, cpu, abi } = match.exec(name)?.groups ?? {};
  if (os === undefined || cpu === undefined || !/^\d+\.\d+\.\d+\S*$/.test(version)) {
    throw new Error(`${name}@${version}: not a platform package of an exact version; add it by hand`);
  }
  const libc = os !== 'linux' || abi === undefined ? {} : { libc: [abi.startsWith('musl') ? 'musl' : 'glibc'] };
  return { version, cpu: [cpu], ...(dev ? { dev } : {}), ...libc, optional: true, os: [os] };
}

if (import.meta.main) {
  const path = new URL('../package-lock.json', import.meta.url).pathname;
  const packages = readPackages(path);
  const missing = missingFrom(packages);
  for (const each of missing) packages[`node_modules/${each.name}`] = platformEntry(each);
  const sorted = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')));
  const lock = { ...readLockfile(path), packages: sorted };
  if (missing.length > 0) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
  for (const { name, version } of missing) console.log(`added ${name}@${version}`);
}
