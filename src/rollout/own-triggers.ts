/**
 * The application's triggers that would fail inside the rollout's: from `owners` to the seal a row follows its parent by an
 * UPDATE of a SECURITY DEFINER trigger, whose search_path is closed. What such a trigger names without a schema is not
 * found there, and the old application's write fails. To lend it the session's search_path is no way out: whoever may make
 * a function, or a temporary table, would have it run as the rollout's owner.
 */
import type { Trigger } from './catalog.ts';
import { identifier } from './identifier.ts';

const column = '(?:new|old)\\.(?:\\w+|"[^"]+")';
const moment =
  '(?:pg_catalog\\.)?(?:now|(?:clock|statement|transaction)_timestamp)\\(\\)|current_timestamp|localtimestamp';
const value = `(?:${column}|${moment}|coalesce\\(${column}, *\\d+\\)|\\d+|'[^'\\\\]*'|null)`;
const assignment = `${column} *:?= *${value}(?: *[+-] *\\d+)* *; *`;
/** `new.updated_at := now()` and its like: nothing in it is looked up but by Postgres' own names. */
const namesNothing = new RegExp(`^ *begin (?:${assignment})*return (?:new|old|null) *; *end *;? *$`, 'i');

/** Fires when a row follows its parent, and its function may name what it would not find. */
export function missesNames(trigger: Trigger): boolean {
  const { onAnyUpdate, enabled, definition, language, body, settings } = trigger;
  if (!onAnyUpdate || enabled === 'disabled' || enabled === 'replica') return false;
  // By what our triggers do it is not fired then (docs/rollout.md).
  const [, condition = ''] = / WHEN \((.*)\) EXECUTE FUNCTION /s.exec(definition) ?? [];
  if (/\bpg_trigger_depth\(\) (?:= 0|< 1)\b/.test(condition) && !/ OR |\bNOT \(|\bCASE\b/.test(condition)) return false;
  if (language === 'c' || language === 'internal') return false;
  if (settings.some((setting) => setting.startsWith('search_path='))) return false;
  return language !== 'plpgsql' || !namesNothing.test(body.replaceAll(/--.*$/gm, '').replaceAll(/\s+/g, ' '));
}

export function missesNamesText({ name, function: called }: Trigger): { message: string; remedy: string } {
  return {
    message: `trigger ${identifier(name)} fires when a row follows its parent to another user, as the rollout's owner and with a closed search_path; ${called} has none of its own, so what it names without a schema would not be found and the old application's write would fail.`,
    remedy: `alter function ${called} set search_path = … with the schemas that it needs, or let the trigger pass over it: \`when (pg_trigger_depth() = 0)\`.`,
  };
}
