import { migrateUp } from '../../src/database/migrations.ts';
import { provision } from '../../src/database/provision.ts';

export interface Template {
  readonly name: string;
  /** Fills a new, empty database; must close every connection it opens, or it cannot be cloned. */
  build(url: string): Promise<void>;
}

/** The secret of every test server; role passwords and the identity key are derived from it. */
export const testSecret = 'c2VjcmV0IG9mIHRoZSB0ZXN0cyBhbG9uZSwgbmV2ZXIgb2YgYSBzZXJ2ZXI';

/** The databases that test files clone: `createDatabase('isolated')`. */
export const templates: readonly Template[] = [
  {
    name: 'before_isolation',
    build: async (url) => {
      await migrateUp(url, 2);
    },
  },
  {
    name: 'isolated',
    build: async (url) => {
      await migrateUp(url);
      await provision(url, testSecret);
    },
  },
];
