import { randomBytes } from 'node:crypto';
import { statement, withDatabase } from './postgres.ts';
import { templates } from './templates.ts';

/** Makes the databases that others are cloned from. @returns their names on the server, by the templates' */
export async function buildTemplates(url: string): Promise<Record<string, string>> {
  const built: Record<string, string> = {};
  for (const template of templates) {
    const name = `template_${template.name}_${randomBytes(4).toString('hex')}`;
    await statement(url, `create database ${name} template template0`);
    await template.build(withDatabase(url, name));
    built[template.name] = name;
  }
  return built;
}
