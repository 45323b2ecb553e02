#!/usr/bin/env node
/** The command line: verbs, flags, and what comes out of a fault. Each verb is a file under commands/. */
import { Command, CommanderError, Option } from 'commander';
import { loadConfig } from './config.ts';
import { Problem } from './errors.ts';
import { version } from './version.ts';

const exitUsage = 2;
const exitFailed = 3;

interface GlobalFlags {
  readonly dataDir?: string;
}

function program(): Command {
  const cli = new Command('ringfence')
    .description('A task and context server whose every row belongs to one user, and Postgres enforces it.')
    .version(version, '-V, --version')
    .addOption(
      new Option('--data-dir <directory>', 'where the embedded Postgres lives (default: DATA_DIR, .ringfence)'),
    )
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'ringfence: ')) })
    .exitOverride();
  const config = () => {
    const { dataDir } = cli.opts<GlobalFlags>();
    return loadConfig(process.env, { DATA_DIR: dataDir });
  };
  cli
    .command('serve')
    .description('start the server')
    .action(async () => (await import('./commands/serve.ts')).serve(config()));
  return cli;
}

try {
  await program().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : exitUsage);
  if (error instanceof Problem) {
    process.stderr.write(`ringfence: ${error.message}\n`);
    process.exit(error.kind.exit);
  }
  process.stderr.write(`ringfence: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(exitFailed);
}
