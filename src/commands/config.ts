/** `ringfence config check`: what the environment says, and everything that is wrong with it at once. */
import { configVariables, loadConfig } from '../config.ts';
import { Problem } from '../errors.ts';
import { printJson, printRows } from './print.ts';

/** @returns exit code 1 when there are faults */
export function runConfigCheck(
  env: NodeJS.ProcessEnv,
  overrides: Parameters<typeof loadConfig>[1],
  { json = false }: { json?: boolean },
): 0 | 1 {
  const faults = faultsOf(env, overrides);
  const flags = new Map<string, string | undefined>(Object.entries(overrides ?? {}));
  const variables = configVariables.map(({ name, default: fallback, secret }) => {
    const flag = flags.get(name);
    const value = flag ?? env[name];
    return {
      variable: name,
      value: value === undefined ? (fallback ?? '') : secret ? '[hidden]' : value,
      from: flag !== undefined ? 'flag' : value === undefined ? 'default' : 'environment',
    };
  });
  if (json) printJson({ ok: faults.length === 0, faults, variables });
  else {
    printRows(variables, ['variable', 'value', 'from'], false);
    console.log(faults.length === 0 ? '\nThe configuration is valid.' : `\n${faults.join('\n')}`);
  }
  return faults.length === 0 ? 0 : 1;
}

function faultsOf(env: NodeJS.ProcessEnv, overrides: Parameters<typeof loadConfig>[1]): string[] {
  try {
    loadConfig(env, overrides);
    return [];
  } catch (error) {
    if (error instanceof Problem && error.code === 'config_invalid') return error.message.split('\n');
    throw error;
  }
}
