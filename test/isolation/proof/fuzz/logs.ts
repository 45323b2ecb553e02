/** The two logs after the attack: every refusal that somebody on watch must see, and no secret. */

import type { Battlefield } from './attack.ts';
import { objectOf } from './operations.ts';
import { passwordMark } from './people.ts';
import type { Target } from './server.ts';

/** @returns what is wrong with them, each in a sentence */
export function faultsOfLogs(logs: ReturnType<Target['logs']>, field: Battlefield): string[] {
  const { application, security } = logs;
  return [
    ...[...application, ...security].flatMap((line) => faultsOfLine(line, field)).slice(0, 20),
    ...missingRefusals(security, field),
    ...(security.some((line) => line.includes('"UNAUTHORIZED_ACCESS"')) || field.tally.requests < 500
      ? []
      : ['security.log has no UNAUTHORIZED_ACCESS']),
  ];
}

const words = /[\w-]{20,}/g;

function faultsOfLine(line: string, { secrets, forbidden }: Battlefield): string[] {
  const mark = forbidden.marks.find((text) => line.includes(text));
  // Passed over a million secrets one by one it would take longer than the attack.
  const secret = line.match(words)?.find((word) => secrets.has(word) || secrets.has(word.replace(/^rf[rt]_/, '')));
  return [
    ...(mark === undefined ? [] : [`a log shows a victim's text: ${line.slice(0, 300)}`]),
    ...(secret === undefined ? [] : [`a log shows a secret: ${line.slice(0, 300)}`]),
    ...(/\beyJ[\w-]{5,}\.[\w-]+\./.test(line) ? [`a log shows a token: ${line.slice(0, 300)}`] : []),
    ...(/\brf[rt]_[\w-]{16,}/.test(line) ? [`a log shows an API token: ${line.slice(0, 300)}`] : []),
    ...(line.includes(passwordMark) ? [`a log shows a password: ${line.slice(0, 300)}`] : []),
    ...(line.includes('"level":"error"') || line.includes('"level":"fatal"')
      ? [`a log has an error: ${line.slice(0, 1_500)}`]
      : []),
  ];
}

function missingRefusals(security: readonly string[], { refusals }: Battlefield): string[] {
  const written = new Set<unknown>();
  for (const line of security) {
    const event = objectOf(JSON.parse(line));
    if (event.event === 'INVALID_TOKEN') written.add(event.request_id);
  }
  const missing = [...refusals].filter((id) => !written.has(id));
  return missing.length === 0
    ? []
    : [`${missing.length} refusals of a token are not in security.log, such as ${missing[0]}`];
}
