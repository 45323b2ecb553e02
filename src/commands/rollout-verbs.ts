/** The verbs of the rollout. Each is a file of its own, loaded when it is called. */
import { type Command, Option } from 'commander';
import type { Config } from '../config.ts';
import { phases } from '../rollout/plan.ts';

interface Cli {
  verb(parent: Command, name: string, description: string, example: string): Command;
  config(): Config;
  exitWith(code: 0 | 1): void;
}

const phase = (flags: string, description: string) => new Option(flags, description).choices([...phases]);
const configFile = ['--config <file>', 'the rollout’s configuration (default: ringfence.config.ts or .json)'] as const;

export function addRolloutVerbs(root: Command, { verb, config, exitWith }: Cli): void {
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

  const assign = verb(
    root,
    'assign',
    'give rows to users: by a list, a condition or the rule',
    'ringfence assign --table public.projects --csv owners.csv --dry-run',
  )
    .option('--table <label>', 'which table: public.tasks')
    .option('--csv <file>', 'key columns and user, with a header')
    .option('--where <condition>', 'an SQL condition on the rows; needs --to')
    .option('--by-rule', 'run the plan’s rule over rows that nobody has claimed')
    .option('--to <user>', 'whose they become')
    .option('--from <user>', 'whose they are now; "any" for anybody’s (default: nobody’s, in quarantine)')
    .option('--user-column <name>', 'users are named by this column of the users’ table')
    .option('--detach', 'empty references that would lead to another user’s rows, where they may be')
    .option('--skip-missing', 'go on when rows of the list are not there')
    .option('--dry-run', 'show what would move')
    .action(async (flags) => exitWith(await (await import('./assign.ts')).runAssign(config(), flags)));
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
    .option('--detach', 'empty references that would lead to another user’s rows, where they may be')
    .option('--dry-run', 'show what would move')
    .action(async (flags) => exitWith(await (await import('./assign.ts')).runAssignTransfer(config(), flags)));
}
