/**
 * The catalogue of attacks as statements: what somebody tries who can run SQL of his own as the application's role, with his
 * own identity in place. Data alone. For a database in use: none ends the transaction, takes a lock on a table, draws from a
 * sequence, ends a backend, or does anything else that a rollback to a savepoint does not take back.
 */

/** One table, a victim's row in it and the attacker's own. Everything is SQL already: quoted where it has to be. */
export interface Target {
  readonly table: string;
  readonly owner: string;
  /** A column whose values are marks. */
  readonly text: string;
  /** Users, as literals. */
  readonly victim: string;
  readonly attacker: string;
  /** Conditions that are true of the one row. */
  readonly itsRow: string;
  readonly ownRow: string;
  /** A copy of the attacker's row in the victim's name, and of the victim's row: columns and values, where he may insert. */
  readonly columns: string;
  readonly inHisName: string;
  readonly itsCopy: string;
  /** What he may update, if anything. */
  readonly updatable: string | null;
  readonly mayInsert: boolean;
  readonly mayDelete: boolean;
  readonly mayRead: boolean;
  /** What an attacker may have put into the setting, as literals. */
  readonly forgeries: readonly string[];
  /** Key columns, for ON CONFLICT; null where there is no key. */
  readonly key: string | null;
  readonly isOwned: boolean;
}

export interface Form {
  /** As the field calls it. */
  readonly attack: string;
  /** One after the other, until one fails. Null where it cannot be tried. */
  readonly make: (target: Target, forged: string) => readonly string[] | null;
  /** Once for each forged identity. */
  readonly switches?: true;
  /** Without a condition: where the policy is not the one that it has to be, it would go through the whole table. */
  readonly sweeping?: true;
  /** Nothing may come back or be changed, in numbers too. */
  readonly empty?: true;
}

/** Asked of a row that another user has and of one that nobody has: the answers must be the same. */
export interface ExistenceForm {
  readonly attack: string;
  /** @param row a condition, @param values of a row with the same key */
  readonly make: (target: Target, row: string, values: string) => readonly string[] | null;
}

export const set = (forged: string, name = 'ringfence.identity') => `set_config('${name}', ${forged}, true)`;
export const all = ({ table, text }: Target) => `select ${text}::text as c from ${table}`;
export const its = ({ table, itsRow, text }: Target) => `select ${text}::text as c from ${table} where ${itsRow}`;
export const text = (sql: string) => `'${sql.replaceAll("'", "''")}'`;
export const reading =
  (make: (target: Target, forged: string) => readonly string[]) =>
  (target: Target, forged: string): readonly string[] | null =>
    target.mayRead ? make(target, forged) : null;
