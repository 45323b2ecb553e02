/** The verbs of the rollout. Each is a file of its own, loaded when it is called. */
import { type Command, Option } from 'commander';
import type { Config } from '../config.ts';
import { phases } from '../rollout/plan.ts';
import { number, wholeNumber } from './number-flags.ts';

interface Cli {
  verb(parent: Command, name: string, description: string, example: string): Command;
  config(): Config;
  /** What flags say instead of the environment. */
  overrides(): Readonly<Record<string, string | undefined>>;
  exitWith(code: 0 | 1): void;
}

const phase = (flags: string, description: string) => new Option(flags, description).choices([...phases]);
const configFile = ['--config <file>', 'the rollout’s configuration (default: ringfence.config.ts or .json)'] as const;

export function addRolloutVerbs(root: Command, { verb, config, overrides, exitWith }: Cli): void {
  verb(
    root,
    'preflight',
    'look at a database before a rollout; exit code 1 when something must be put right',
    'DATABASE_URL=postgres://owner@db/shop ringfence preflight',
  )
    .option(...configFile)
    .option('--url <address>', 'where the application answers: its /health is asked')
    .option('--verbose', 'name what is well, too')
    .action(async (flags) => exitWith(await (await import('./preflight.ts')).runPreflight(config(), flags)));

  verb(root, 'plan', 'show the steps of the rollout: SQL, locks, time, inverses', 'ringfence plan --verbose')
    .option(...configFile)
    .option('--verbose', 'show every statement and its inverse')
    .option('--sql', 'print a script for psql')
    .option('--one-transaction', 'with --sql: all of it or nothing, for a database that stands still')
    .option('--down', 'with --sql: the way back')
    .addOption(phase('--until <phase>', 'with --sql: the last phase'))
    .option('--out <file>', 'keep the plan for `apply --plan`')
    .action(async (flags) => (await import('./plan.ts')).runPlan(config(), flags));

  verb(
    root,
    'apply',
    'run the plan, up to and with the cut-over; killed at any moment, run it again',
    'ringfence apply --workers 4 --max-lag 5',
  )
    .option(...configFile)
    .option('--plan <file>', 'refuse unless this is the plan (`ringfence plan --out`)')
    .addOption(phase('--until <phase>', 'the last phase (default: cutover)'))
    .option('--dry-run', 'show the steps that are left')
    .option('--workers <number>', 'connections that give rows their owners (default: 2)', wholeNumber(1, 64))
    .option('--max-lag <seconds>', 'pause while a standby is further behind (default: 10)', number)
    .option('--max-wal-rate <MB>', 'pause above so much WAL a second (default: no limit)', number)
    .option('--max-probe-ms <milliseconds>', 'pause while the p99 of a probe query is above (default: 250)', number)
    .option('--max-dead-ratio <ratio>', 'pause at so many dead rows for each live one (default: 3)', number)
    .option('--yes', 'with --until seal or contract: the old application is off')
    .option('--force', 'seal although sessions of the old application are connected')
    .action(async (flags) => (await import('./apply.ts')).runApply(config(), flags));

  verb(
    root,
    'rollback',
    'take the rollout back; rows and owners are kept',
    'ringfence rollback --level database --to prepare --yes',
  )
    .addOption(
      new Option('--level <level>', 'app: the old application comes back; database: the inverses of the plan')
        .choices(['app', 'database'])
        .makeOptionMandatory(),
    )
    .addOption(phase('--to <phase>', 'level database: the phase to be left standing (default: none)'))
    .option('--yes', 'do it; without this it is refused, saying so')
    .option('--accept-data-loss', 'set rows aside whose key several users have')
    .option('--no-compare', 'do not hash tables before and after')
    .option('--url <address>', 'level app: our own server, whose /health is asked')
    .option('--dry-run', 'show the steps that would be taken back')
    .action(async (flags) => exitWith(await (await import('./rollback.ts')).runRollback(config(), flags)));

  const assign = verb(
    root,
    'assign',
    'give rows to users: by a list, a condition or the rule',
    'ringfence assign --table public.projects --csv owners.csv --dry-run',
  )
    .option('--table <label>', 'which table: public.tasks')
    .option('--csv <file>', 'key columns and user, with a header')
    .option('--where <condition>', 'an SQL condition on the rows, names in sub-queries with their schema; needs --to')
    .option('--by-rule', 'run the plan’s rule over rows that nobody has claimed')
    .option('--to <user>', 'whose they become')
    .option('--from <user>', 'whose they are now; "any" for anybody’s (default: nobody’s, in quarantine)')
    .option('--user-column <name>', 'users are named by this column of the users’ table')
    .option('--with-references', 'take along rows in quarantine that these refer to')
    .option('--detach', 'empty references that would lead to another user’s rows, where they may be')
    .option(
      '--batch <rows>',
      'lines of a list in one transaction (default: about 1000, never one user in two)',
      wholeNumber(1, 1_000_000),
    )
    .option('--skip-missing', 'go on when rows of the list are not there')
    .option('--dry-run', 'show what would move')
    .action(async (flags) => exitWith(await (await import('./assign.ts')).runAssign(config(), flags)));
  assign.enablePositionalOptions();
  verb(
    assign,
    'transfer',
    'move a row and all that hangs on it from user to user',
    'ringfence assign transfer --table public.projects --key 42 --to ann@example.com --user-column email',
  )
    .requiredOption('--table <label>', 'which table: public.projects')
    .requiredOption('--key <value...>', 'the row’s primary key, a value for each column')
    .requiredOption('--to <user>', 'whose it becomes')
    .option('--from <user>', 'whose it is now')
    .option('--user-column <name>', 'users are named by this column of the users’ table')
    .option('--with-references', 'take along rows in quarantine that these refer to')
    .option('--detach', 'empty references that would lead to another user’s rows, where they may be')
    .option('--dry-run', 'show what would move')
    .action(async (flags) => exitWith(await (await import('./assign.ts')).runAssignTransfer(config(), flags)));

  const backup = verb(
    root,
    'backup',
    'back the database up, and prove by a restore that it can be had back',
    'ringfence backup --output /backups/before-isolation',
  )
    .option('--output <directory>', 'where it goes; must not exist (default: below the data directory)')
    .option('--no-restore-test', 'do not prove it; says so loudly')
    .option('--dry-run', 'say by what means and how large')
    .action(async (flags) => exitWith(await (await import('./backup.ts')).runBackup(config(), flags)));
  backup.enablePositionalOptions();
  verb(backup, 'verify', 'run the restore test of a backup again', 'ringfence backup verify /backups/before-isolation')
    .argument('<directory>', 'the backup')
    .action(async (directory, flags) =>
      exitWith(await (await import('./backup.ts')).runBackupVerify(config(), directory, flags)),
    );

  const identity = root.command('identity').description('keys that an application’s identities are verified with');
  const secretFrom = (command: Command) =>
    command
      .option('--secret-file <file>', 'the secret is in this file (default: in IDENTITY_SECRET)')
      .option('--secret-stdin', 'the secret comes on standard input');
  secretFrom(
    verb(
      identity,
      'install',
      'accept identities signed with a secret; a key that is there stays good, until it is removed',
      'ringfence identity install --secret-file identity-secret',
    ),
  ).action(async (flags) => (await import('./identity.ts')).runIdentityInstall(config(), flags));
  secretFrom(
    verb(identity, 'list', 'show the keys’ ids, and which is the secret’s', 'ringfence identity list --json'),
  ).action(async (flags) => (await import('./identity.ts')).runIdentityList(config(), flags));
  verb(identity, 'remove', 'refuse from now on what a key has signed', 'ringfence identity remove 0f3c5a7e9b1d2f40')
    .argument('<key>', 'its id: `ringfence identity list`')
    .option('--yes', 'also when it is the only one')
    .action(async (key, flags) => (await import('./identity.ts')).runIdentityRemove(config(), key, flags));

  verb(root, 'status', 'show how far the rollout is, from another terminal as well', 'ringfence status --watch')
    .option('--watch', 'again and again, until interrupted')
    .action(async (flags) => (await import('./status.ts')).runStatus(config(), flags));

  verb(
    root,
    'verify',
    'show that isolation holds: schema, data, and probes as the application; exit code 1 when not',
    'ringfence verify --strict',
  )
    .option('--strict', 'exit code 1 also with what should be known')
    .option('--verbose', 'name what is well, too')
    .option('--url <address>', 'our own server: ask it as two users')
    .option('--token-a <token>', 'with --url: the one user’s')
    .option('--token-b <token>', 'with --url: the other’s')
    .option('--token-a-file <file>', 'the same from a file, which other programs do not see')
    .option('--token-b-file <file>', 'the same from a file')
    .option('--deep', 'and all that the application can reach, and a sample of attacks: a page to sign')
    .option('--html <file>', 'with --deep: write the page as HTML')
    .option('--rate <number>', 'with --deep: statements a second at most (default: 200)', wholeNumber(1, 100_000))
    .option('--max-seconds <number>', 'with --deep: begin nothing after so long (default: 600)', wholeNumber(1, 86_400))
    .option('--reviewed <file>', 'with --deep: JSON, what may be reached all the same, and why')
    .action(async (flags) => exitWith(await (await import('./verify.ts')).runVerify(config(), flags)));

  const canary = root.command('canary').description('marked rows of two users who are nobody: find out what leaks');
  verb(canary, 'plant', 'make them, or take them away', 'ringfence canary plant')
    .option('--remove', 'take the users and their rows away')
    .action(async (flags) => (await import('./canary.ts')).runCanaryPlant(config(), flags));
  verb(
    canary,
    'scan',
    'look for their marks where they must not be; exit code 1 when there is one',
    'ringfence canary scan /var/log/app exports/ann.json.gz --url https://your-app.com --token-file ann.token',
  )
    .argument('[paths...]', 'files and directories: logs, exports, dumps; packed ones are unpacked')
    .option('--url <address>', 'ask every list of its /openapi.json')
    .option('--token-file <file...>', 'with --url: the files with users’ tokens')
    .option('--path <path...>', 'with --url: further paths to ask')
    .option('--database <url>', 'another database, every table of it')
    .option('--verbose', 'name what is well, too')
    .action(async (paths, flags) =>
      exitWith(await (await import('./canary.ts')).runCanaryScan(config(), paths, flags, process.env)),
    );

  verb(
    root,
    'monitor',
    'watch statements, indexes, drift and refusals; exit code 1 with findings',
    'ringfence monitor --watch 10',
  )
    .option('--watch [seconds]', 'again and again, until interrupted', number)
    .option('--prometheus', 'print metrics in the text format')
    .option('--verbose', 'name what is well, too')
    .action(async (flags) => exitWith(await (await import('./monitor.ts')).runMonitor(config(), flags)));

  verb(root, 'doctor', 'find the cause of a symptom; without one make every check', 'ringfence doctor "Token expired"')
    .argument('[symptom]', 'a message, or plain words')
    .option('--token', 'a token to look at comes on standard input')
    .option('--verbose', 'name what is well, too')
    .action(async (symptom, flags) =>
      exitWith(await (await import('./doctor.ts')).runDoctor(process.env, overrides(), symptom, flags)),
    );

  verb(
    root,
    'demo',
    'isolate a million rows in front of you, in a Postgres of its own, and take it back: nothing to set up',
    'ringfence demo --rows 100000',
  )
    .option('--rows <number>', 'all tables together (default: 1000000)', wholeNumber(1_000, 50_000_000))
    .option('--here', 'in a new database of the server of DATABASE_URL; no other is touched')
    .option('--keep', 'leave the database there when it is over, and say how to connect')
    .action(async (flags) => exitWith(await (await import('./demo.ts')).runDemo(config, flags)));

  verb(
    root,
    'report',
    'the guide’s success criteria and tasks on one page, with what was measured; exit code 1 when one is not met',
    'ringfence report --html report.html',
  )
    .option('--html <file>', 'write the page as HTML')
    .option('--markdown <file>', 'write the page as Markdown (default: Markdown on standard output)')
    .option('--no-verify', 'leave the fresh verify out')
    .option('--url <address>', 'our own server: its answers are looked at, and timed')
    .option('--baseline-url <address>', 'with --url: the same without isolation, to compare times with')
    .option('--token-a-file <file>', 'with --url: the file with one user’s token')
    .option('--token-b-file <file>', 'with --url: the file with another’s')
    .option('--admin-token-file <file>', 'with --url: the file with an administrator’s')
    .option('--requests <number>', 'with --url: how many are timed (default: 200)', wholeNumber(1, 100_000))
    .action(async (flags) => exitWith(await (await import('./report.ts')).runReport(config(), flags)));
}
