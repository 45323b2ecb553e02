/**
 * Statements that are built, confined and compiled once, and then only bound. For the paths that are walked most:
 * building a list of tasks took 0.2 ms of processor time a request and made most of the garbage.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Compilable } from './scope.ts';

/** Stands in a statement for a value that is bound when it runs. */
export class Hole {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** The user on whose behalf the statement will run; where the owner filter puts a user, it puts this. */
export const callerHole = new Hole('caller');

type Values = Readonly<Record<string, unknown>>;

/** Refers to a value by its name while the statement is being built. */
export type Argument<Args extends Values> = <Name extends keyof Args & string>(name: Name) => RawBuilder<Args[Name]>;

export class PreparedStatement<DB, Args extends Values, Row> {
  readonly #build: (db: Kysely<DB>, argument: Argument<Args>) => Compilable<Row>;

  /** @param build is called once; it must not depend on anything but its arguments */
  constructor(build: (db: Kysely<DB>, argument: Argument<Args>) => Compilable<Row>) {
    this.#build = build;
  }

  build(db: Kysely<DB>): Compilable<Row> {
    return this.#build(db, (name) => sql`${new Hole(name)}`);
  }
}

/** Puts the values into the holes. */
export function bind(parameters: readonly unknown[], caller: string, values: Values): unknown[] {
  return parameters.map((parameter) => {
    if (!(parameter instanceof Hole)) return parameter;
    return parameter === callerHole ? caller : values[parameter.name];
  });
}
