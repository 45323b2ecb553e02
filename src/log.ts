/**
 * Two logs: application.log, with a line for each request and what the server has to tell, and security.log, with one
 * line for each event that somebody on watch has to see. Both go to LOG_DIR, where one is set, and to standard output.
 *
 * A line leaves when its event happens (`tail -f application.log | grep user_id`, guide G51–G54), is JSON, and passes
 * `withoutSecrets` as text on its way out, so that no path to the log goes round it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DestinationStream, type Logger, pino } from 'pino';
import { type Clock, systemClock } from './clock.ts';
import type { Config } from './config.ts';
import { problem } from './errors.ts';
import { describeError, withoutSecrets } from './log-redaction.ts';

/** What somebody on watch has to see. The name stands in the line itself, to be grepped for. */
export const securityEvents = [
  'LOGIN_FAILED',
  'LOGIN_LOCKED',
  'REFRESH_TOKEN_REUSED',
  'UNAUTHORIZED_ACCESS',
  'SYSTEM_MODE',
  'ISOLATION_DISABLED',
  'PASSWORD_CHANGED',
  'ACCOUNT_ERASED',
  'TOKEN_CREATED',
  'TOKEN_REVOKED',
  'INVALID_TOKEN',
] as const;

export type SecurityEvent = (typeof securityEvents)[number];

export interface SecurityLog {
  /** Never throws: a log that cannot be written must not fail what it reports. */
  event(name: SecurityEvent, fields: Record<string, unknown>): void;
}

export interface Logs {
  readonly log: Logger;
  readonly securityLog: SecurityLog;
  /** The files; empty when there is standard output alone. */
  readonly files: readonly string[];
  /** Opens the files anew, after logrotate has moved them away. */
  reopen(): void;
  /** Writes out what is waiting. The logs may still be used afterwards; the program ends soon. */
  flush(): void;
}

export interface LogOptions {
  readonly level: Config['logLevel'];
  /** Made where it is missing. Undefined: standard output alone. */
  readonly logDir: string | undefined;
  /** Standard output by default; for tests. */
  readonly output?: DestinationStream;
  readonly clock?: Clock;
}

/** @throws Problem `config_invalid` when LOG_DIR cannot be written */
export function createLogs({ level, logDir, output, clock = systemClock }: LogOptions): Logs {
  const standard = output ?? guarded(pino.destination({ dest: 1, sync: false }));
  const applicationFile = logDir === undefined ? undefined : openFile(logDir, 'application.log');
  const securityFile = logDir === undefined ? undefined : openFile(logDir, 'security.log');
  const options = {
    base: null,
    timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  const log = pino({ ...options, level }, to(standard, applicationFile?.stream));
  // Security events do not depend on LOG_LEVEL; `silent` merely keeps them off standard output.
  const security = pino(options, to(level === 'silent' ? undefined : standard, securityFile?.stream));
  const files = [applicationFile, securityFile].filter((file) => file !== undefined);
  return {
    log,
    securityLog: { event: (name, fields) => security.warn({ event: name, ...fields }) },
    files: files.map((file) => file.path),
    reopen() {
      for (const { stream } of files) stream.reopen();
    },
    flush() {
      for (const stream of [standard, ...files.map((file) => file.stream)]) {
        try {
          if ('flushSync' in stream && typeof stream.flushSync === 'function') stream.flushSync();
        } catch {
          // A full disk or a reader that went away: there is nobody left to tell.
        }
      }
    },
  };
}

/** One line to several places, without its secrets. */
function to(...streams: readonly (DestinationStream | undefined)[]): DestinationStream {
  const open = streams.filter((stream) => stream !== undefined);
  return {
    write(line) {
      const clean = withoutSecrets(line);
      for (const stream of open) stream.write(clean);
    },
  };
}

type FileStream = ReturnType<typeof pino.destination>;

function openFile(logDir: string, name: string): { path: string; stream: FileStream } {
  const path = join(logDir, name);
  try {
    mkdirSync(logDir, { recursive: true, mode: 0o750 });
    // Written before the call returns: the last lines before a crash are the ones that matter.
    return { path, stream: guarded(pino.destination({ dest: path, sync: true, mode: 0o600 })) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problem('config_invalid', `LOG_DIR: ${path} cannot be written (${reason})`, {}, { cause });
  }
}

/** A full disk or a reader that went away (`| head`) costs lines, not the server. */
function guarded(stream: FileStream): FileStream {
  let told = false;
  stream.on('error', (error: Error) => {
    if (!told) process.stderr.write(`ringfence: a log cannot be written: ${error.message}\n`, () => {});
    told = true;
  });
  return stream;
}
