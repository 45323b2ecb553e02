/** What global-setup.ts hands to the test files. */
declare module 'vitest' {
  interface ProvidedContext {
    postgres: {
      /** The owner's connection string of the run's server, to its maintenance database. */
      readonly url: string;
      /** Template name → the database that holds it in this run. */
      readonly templates: Readonly<Record<string, string>>;
    };
  }
}

export {};
