import { type Catalog, type TableLabel, tableOf } from './catalog.ts';

/**
 * The roles that the old application may come as: whoever may read or write an owned table today, its owner included.
 * Superusers and BYPASSRLS roles need no exemption; no policy binds them.
 *
 * @param declared the configuration's list, taken as it is; the rollout's own role is added, or its triggers would be blind
 */
export function legacyRolesOf(
  catalog: Catalog,
  owned: readonly TableLabel[],
  declared: readonly string[] | undefined,
): readonly string[] {
  const uses = new Set(['select', 'insert', 'update', 'delete']);
  const found = owned.flatMap((label) => {
    const table = tableOf(catalog, label);
    return [table.owner, ...table.grants.filter((g) => uses.has(g.privilege)).map((g) => g.grantee)];
  });
  const above = new Set(catalog.roles.filter((r) => r.superuser || r.bypassRls).map((r) => r.name));
  const ours = (role: string) =>
    role === 'ringfence_app' || role === 'ringfence_system' || role === 'ringfence_accounts';
  const roles = [...(declared ?? found), catalog.role.name];
  // An exemption of everybody would be the new application's as well: unsupported() refuses such grants.
  return [...new Set(roles)].filter((role) => role !== 'public' && !above.has(role) && !ours(role)).sort();
}
