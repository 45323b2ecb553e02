import { execFileSync, spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';

/** The user that Postgres runs as when we are root; Postgres refuses to run as root itself. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export const runsAsRoot = (): boolean => process.getuid?.() === 0;

/**
 * Chooses the user to run Postgres as, and makes one when there is none.
 *
 * @param cluster an existing cluster: its owner goes on owning it, whatever users there are by now
 * @param say told when a user is made, or when nothing better than `nobody` is left
 * @returns null when we are not root: then Postgres runs as ourselves
 */
export function chooseAccount(cluster: string | null, say: (line: string) => void): Account | null {
  if (!runsAsRoot()) return null;
  return (cluster === null ? null : ownerOf(cluster)) ?? account('postgres') ?? account('ringfence') ?? create(say);
}

function ownerOf(path: string): Account | null {
  const { uid, gid } = statSync(path);
  return uid === 0 ? null : { name: `user ${uid}`, uid, gid };
}

function account(name: string): Account | null {
  const uid = idOf('-u', name);
  const gid = idOf('-g', name);
  return uid === null || gid === null || uid === 0 ? null : { name, uid, gid };
}

function create(say: (line: string) => void): Account {
  const made = spawnSync(
    'useradd',
    [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
    ].concat('ringfence'),
    { stdio: 'ignore' },
  );
  const user = made.status === 0 ? account('ringfence') : null;
  if (user !== null) {
    say('Postgres does not run as root: made the system user "ringfence" for it');
    return user;
  }
  say('Warning: no user could be made for Postgres, it runs as "nobody", whom other programs may share');
  return account('nobody') ?? { name: 'nobody', uid: 65534, gid: 65534 };
}

function idOf(flag: '-u' | '-g', name: string): number | null {
  try {
    return Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    return null;
  }
}

/** Options that make a child process run as the account; `/` because our own directory may be closed to it. */
export function asAccount(user: Account | null): { cwd: string; uid?: number; gid?: number } {
  return user === null ? { cwd: '/' } : { cwd: '/', uid: user.uid, gid: user.gid };
}

/** Whether the account can enter a directory. Tried, not computed: that takes ACLs and the rest into account. */
export function canEnter(user: Account | null, directory: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', directory], { ...asAccount(user), stdio: 'ignore' }).status === 0;
}
