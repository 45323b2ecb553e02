/** `ringfence serve`: starts the server, says what to do next, and ends in order. */
import type { Config } from '../config.ts';
import type { RunningServer } from '../server.ts';
import { version } from '../version.ts';

/** Signals end it; a fault of the program does too, but with exit code 3 and after Postgres is stopped. */
export async function serve(config: Config): Promise<void> {
  const stopping = endInOrder();
  const { startServer } = await import('../server.ts');
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const server = await startServer(config, { say });
  stopping.armed(server);
  say(welcome(server, config));
}

/** Handlers stand before anything is started, so that Ctrl-C while Postgres starts also stops it. */
function endInOrder(): { armed(server: RunningServer): void } {
  let server: RunningServer | undefined;
  let asked = false;
  const end = (code: number) => {
    if (asked) process.exit(code === 0 ? 130 : code);
    asked = true;
    // Not started yet: leaving runs the exit handler that stops Postgres.
    if (server === undefined) process.exit(code === 0 ? 130 : code);
    server.close().then(
      () => process.exit(code),
      () => process.exit(3),
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => end(0));
  process.on('SIGHUP', () => server?.logs.reopen());
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      if (server === undefined) return fail(error);
      server.logs.log.fatal({ err: error }, 'the server has a fault and ends');
      server.logs.flush();
      end(3);
    });
  }
  return {
    armed(started) {
      server = started;
    },
  };
}

function fail(error: unknown): never {
  process.stderr.write(`ringfence: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(3);
}

function welcome(server: RunningServer, config: Config): string {
  const { url } = server;
  const logs = server.logs.files.length > 0 ? server.logs.files.join(', ') : 'standard output (set LOG_DIR for files)';
  return [
    ...(server.enforcement === 'on' ? [] : [disabledBanner]),
    '',
    `ringfence ${version} serves on ${url}`,
    `  data  ${server.place}`,
    `  logs  ${logs}`,
    '',
    'Try it: the first command registers a user, the second creates a task as that user.',
    '',
    firstCommands(url, config),
    '',
  ].join('\n');
}

/** To be pasted into any shell; a test runs them. */
export function firstCommands(url: string, config: Pick<Config, 'registrationEnabled'>): string {
  const account = '"email":"you@example.com","password":"a long pass phrase"';
  const signIn = config.registrationEnabled
    ? `${url}/api/auth/register -d '{${account},"name":"You"}'`
    : `${url}/api/auth/login -d '{${account}}'`;
  return [
    `  TOKEN=$(curl -s ${signIn} | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')`,
    `  curl -s ${url}/api/tasks -H "Authorization: Bearer $TOKEN" -d '{"title":"My first task","description":"Made with curl"}'`,
  ].join('\n');
}

const disabledBanner = `
!! USER ISOLATION IS OFF (USER_ISOLATION_ENABLED=false)
!! Everybody who is signed in sees and changes everybody's data. This is the immediate rollback, not a mode to live
!! in: set USER_ISOLATION_ENABLED=true and start again. Nothing is lost by that.`;
