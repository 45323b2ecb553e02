/** Every route there is, with its generator. */
import { z } from 'zod';
import { type RouteModel, refusedAdministration, routeModels } from './routes.ts';

export interface ModelledRoute extends RouteModel {
  readonly name: string;
  readonly method: string;
  /** With `{id}`. */
  readonly path: string;
}

const document = z.object({
  paths: z.record(
    z.string(),
    z.record(z.string(), z.object({ security: z.array(z.object({ bearer: z.array(z.string()) })) })),
  ),
});

/** @returns the routes, and a sentence for each that has no generator or is no longer there */
export async function modelledRoutes(
  url: string,
  models: Readonly<Record<string, RouteModel>> = routeModels,
): Promise<{ routes: ModelledRoute[]; faults: string[] }> {
  const { paths } = document.parse(await (await fetch(`${url}/openapi.json`)).json());
  const found = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      isAdministration: security[0]?.bearer[0] === 'admin',
    })),
  );
  const known = new Set(found.map(({ name }) => name));
  const faults = [
    ...found
      .filter(({ name, isAdministration }) => !isAdministration && !(name in models))
      .map(({ name }) => `${name} has no generator: add one to test/isolation/proof/model/routes.ts`),
    ...Object.keys(models)
      .filter((name) => !known.has(name))
      .map((name) => `test/isolation/proof/model/routes.ts has a generator for ${name}, which is no route`),
  ];
  const routes = found.flatMap(({ name, method, path, isAdministration }): ModelledRoute[] => {
    const model = isAdministration ? refusedAdministration : models[name];
    return model ? [{ ...model, name, method, path }] : [];
  });
  // The plainest route first: where shrinking goes.
  return { routes: routes.sort((a, b) => b.weight - a.weight), faults };
}
