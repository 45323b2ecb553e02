/**
 * The command line: verbs, flags, and what comes out of a fault. Each verb is a file under commands/, loaded when it is
 * called. Exit codes: 0 well, 1 findings, 2 usage, 3 failed.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type Config, loadConfig } from '../config.ts';
import { latestVersion } from '../database/migrations.ts';
import { Problem } from '../errors.ts';
import { version } from '../version.ts';
import { wholeNumber } from './number-flags.ts';
import { addRolloutVerbs } from './rollout-verbs.ts';

const exitUsage = 2;
const exitFailed = 3;

const cli = new Command('ringfence')
  .description('A task and context server whose every row belongs to one user, and Postgres enforces it.')
  .version(version, '-V, --version')
  // `assign transfer --table …`: what stands behind a verb is its own, also where the verb above it has that flag.
  .enablePositionalOptions()
  .option(
    '--data-dir <directory>',
    'before the verb: where the embedded Postgres lives (default: DATA_DIR, else .ringfence)',
  )
  .addHelpText('after', '\nExit codes: 0 well, 1 findings, 2 wrong usage, 3 failed.')
  .configureOutput({
    outputError: (text, write) =>
      write(
        `ringfence: ${text
          .replace(/^error: /, '')
          .trim()
          .replaceAll(/\s*\n\s*/g, ' ')}\n`,
      ),
  })
  .exitOverride();

const overrides = () => ({ DATA_DIR: cli.opts<{ dataDir?: string }>().dataDir });
const config = (): Config => loadConfig(process.env, overrides());

/** For what works on anybody's database. */
const rolloutConfig = (): Config => loadConfig(process.env, overrides(), false);

function verb(parent: Command, name: string, description: string, example: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('--json', 'print JSON, for programs')
    .addHelpText('after', `\nExample:\n  ${example}`);
}

function group(name: string, description: string): Command {
  return cli.command(name).description(description);
}

cli
  .command('serve')
  .description('start the server, with an embedded Postgres unless DATABASE_URL is set')
  .option('--json', 'has no effect: the log on standard output is JSON')
  .addHelpText('after', '\nExample:\n  PORT=9000 ringfence serve')
  .action(async () => (await import('./serve.ts')).serve(config()));

const migrate = group('migrate', 'bring the schema to a version');
verb(
  migrate,
  'up',
  'apply what is missing; at version 3 also set up the roles and the identity key',
  'ringfence migrate up --to 2',
)
  .option('--to <version>', `stop at this version (1 to ${latestVersion})`, wholeNumber(1, latestVersion))
  .action(async (flags) => (await import('./migrate.ts')).runMigrateUp(config(), flags));
verb(migrate, 'down', 'take back everything after a version', 'ringfence migrate down --to 2')
  .requiredOption('--to <version>', `the version to end at (0 to ${latestVersion})`, wholeNumber(0, latestVersion))
  .action(async (flags) => (await import('./migrate.ts')).runMigrateDown(config(), flags));
verb(
  migrate,
  'status',
  'show what is applied; exit code 1 when something is missing',
  'ringfence migrate status --json',
).action(async (flags) => exitWith(await (await import('./migrate.ts')).runMigrateStatus(config(), flags)));

const user = group('user', 'administer accounts');
verb(
  user,
  'create',
  'create an account',
  'ringfence user create --admin --email ann@example.com --name Ann --password-stdin < password.txt',
)
  .requiredOption('--email <address>', 'e-mail address')
  .requiredOption('--name <name>', 'name')
  .option('--admin', 'make it an administrator')
  .option('--password-stdin', 'read the password from standard input; without it there is none')
  .action(async (flags) => (await import('./user.ts')).runUserCreate(config(), flags));
for (const [name, description, admin] of [
  ['promote', 'make somebody an administrator', true],
  ['demote', 'make an administrator an ordinary user', false],
] as const) {
  verb(user, name, description, `ringfence user ${name} --email ann@example.com`)
    .requiredOption('--email <address>', 'e-mail address')
    .action(async (flags) => (await import('./user.ts')).runUserPromote(config(), flags, admin));
}
verb(user, 'list', 'list the accounts', 'ringfence user list --json').action(async (flags) =>
  (await import('./user.ts')).runUserList(config(), flags),
);

verb(
  group('token', 'access tokens for scripts'),
  'mint',
  'print an access token, and nothing else',
  'TOKEN=$(ringfence token mint --email ann@example.com --hours 1)',
)
  .requiredOption('--email <address>', 'whose token it is')
  .option('--hours <hours>', 'how long it is good (default: JWT_TOKEN_EXPIRE_HOURS)', hours)
  .action(async (flags) => (await import('./token.ts')).runTokenMint(config(), flags));

verb(
  group('db', 'the database itself'),
  'url',
  'print a connection string; it holds a password',
  'psql "$(ringfence db url --role app)"',
)
  .addOption(new Option('--role <role>', 'whose log-in').choices(['app', 'system', 'owner']).makeOptionMandatory())
  .action(async (flags) => (await import('./db.ts')).runDbUrl(config(), flags));

verb(
  cli,
  'sql',
  'run one statement as a user, rolled back unless --write',
  'ringfence sql --as ann@example.com "select id, title from tasks"',
)
  .argument('<statement>', 'one SQL statement')
  .requiredOption('--as <address>', 'whose rows it may reach')
  .option('--write', 'keep what it changes')
  .action(async (statement, flags) => (await import('./sql.ts')).runSql(config(), statement, flags));

addRolloutVerbs(cli, { verb, config: rolloutConfig, overrides, exitWith });

verb(
  group('config', 'the configuration'),
  'check',
  'show every variable and every fault; exit code 1 when there is one',
  'ringfence config check',
).action(async (flags) => exitWith((await import('./config.ts')).runConfigCheck(process.env, overrides(), flags)));

function hours(text: string): number {
  const value = /^\d{1,5}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (value > 0 && value <= 8_760) return value;
  throw new InvalidArgumentError('It must be a number of hours above 0 and up to 8760.');
}

function exitWith(code: 0 | 1): void {
  process.exitCode = code;
}

/** One line each on standard error; a stack trace only for a fault of the program itself. */
function complain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitUsage;
  const known = error instanceof Problem && error.code !== 'internal_error';
  const text = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  const lines = known ? text.split('\n').map((line) => `ringfence: ${line}`) : [`ringfence: ${text}`];
  process.stderr.write(`${lines.join('\n')}\n`);
  return error instanceof Problem ? error.kind.exit : exitFailed;
}

/** Parses the arguments, runs the verb, and sets the exit code. */
export async function runProgram(): Promise<void> {
  // `ringfence user list | head`: the reader has what it wanted.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : exitFailed));
  try {
    await cli.parseAsync();
  } catch (error) {
    process.exitCode = complain(error);
  }
}
