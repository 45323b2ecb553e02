/** A database that the test run builds once and test files clone. */
export interface Template {
  /** What `createDatabase(name)` is asked for. */
  readonly name: string;
  /**
   * Fills the empty database. Close every connection: Postgres clones only a database that nobody is connected to.
   *
   * @param url the owner's connection string of that database
   */
  build(url: string): Promise<void>;
}

export const templates: readonly Template[] = [];
