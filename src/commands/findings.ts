/** Findings on standard output, the same way for every verb that has any: the worst first, what is well as a count. */
import type { Finding, Severity } from '../rollout/finding.ts';
import { printJson } from './print.ts';

export interface FindingsFlags {
  /** One JSON document: `findings`, `summary` and what the verb adds. */
  readonly json?: boolean | undefined;
  /** Name what passed as well. */
  readonly verbose?: boolean | undefined;
}

export interface FindingsSummary {
  readonly fail: number;
  readonly warn: number;
  readonly pass: number;
}

const columns = 100;
const indent = '      ';
const headings: Readonly<Record<Severity, string>> = { fail: 'FAIL', warn: 'WARN', pass: 'pass' };

/**
 * Prints findings.
 *
 * @param members what the verb has to say besides: further members of the JSON document
 * @returns the exit code: 1 when something must be put right, otherwise 0
 */
export function printFindings(
  findings: readonly Finding[],
  flags: FindingsFlags,
  members: Readonly<Record<string, unknown>> = {},
): 0 | 1 {
  const summary = summarise(findings);
  if (flags.json === true) printJson({ findings, ...members, summary });
  else console.log(findingsText(findings, flags.verbose === true));
  return summary.fail > 0 ? 1 : 0;
}

export function summarise(findings: readonly Finding[]): FindingsSummary {
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length;
  return { fail: count('fail'), warn: count('warn'), pass: count('pass') };
}

/** A block for each check, its objects below it, and each remedy once. */
export function findingsText(findings: readonly Finding[], verbose: boolean): string {
  const shown: readonly Severity[] = verbose ? ['fail', 'warn', 'pass'] : ['fail', 'warn'];
  const blocks = shown.flatMap((severity) => {
    const checks = Map.groupBy(
      findings.filter((finding) => finding.severity === severity),
      (finding) => finding.check,
    );
    return [...checks].map(([check, group]) => block(`${headings[severity]}  ${check}`, group));
  });
  const { fail, warn, pass } = summarise(findings);
  const folded = pass > 0 && !verbose ? ' (--verbose shows what passed)' : '';
  return [...blocks, `${fail} to put right, ${warn} to know of, ${pass} well${folded}`].join('\n\n');
}

function block(heading: string, findings: readonly Finding[]): string {
  const lines = [heading];
  for (const [remedy, group] of Map.groupBy(findings, (finding) => finding.remedy)) {
    for (const { object, message } of group) lines.push(...wrapped(object ? `${object}: ${message}` : message));
    if (remedy !== undefined) lines.push(...wrapped(`-> ${remedy}`));
  }
  return lines.join('\n');
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of visible(text).split(' ')) {
    if (line.trim() !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = `${indent}  `;
    }
    line += line.trim() === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}

/** Names come from the database: what a terminal would obey, or not show, is escaped. */
function visible(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
