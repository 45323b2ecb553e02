/**
 * Reads the text of a statement as far as monitoring needs it: which tables it works on, and which columns stand where
 * rows are chosen. The guide asks `LIKE '%tasks%'` and `NOT LIKE '%user_id%'` (G55, G56), which also finds
 * `select tasks_done from reports` and takes `select user_id from tasks` for filtered.
 *
 * No parser: whoever writes a statement to deceive it can. It is for finding mistakes; policies are what holds.
 */

export interface StatementText {
  /** The first word, in lower case: `select`, `insert`, `with`. */
  readonly verb: string;
  /** The comments, without their marks. */
  readonly comments: readonly string[];
  /** Tables it names, as written but for upper case: one part, or schema and name. */
  readonly tables: readonly (readonly string[])[];
  /** Columns in WHERE, ON, HAVING and USING and in the column list of INSERT. */
  readonly conditions: ReadonlySet<string>;
  /** Every name in it. */
  readonly names: ReadonlySet<string>;
}

interface Token {
  readonly kind: 'name' | 'word' | 'symbol' | 'value';
  /** Words in lower case, quoted names without quotes. */
  readonly text: string;
}

type Clause = 'output' | 'source' | 'condition' | 'arguments';

interface Frame {
  clause: Clause;
  /** A table's name comes next. */
  expecting: boolean;
  /** The function whose arguments these are. */
  readonly call: string | undefined;
  /** The WITH query whose body this is. */
  readonly body: string | undefined;
  joined: boolean;
  /** In the condition of a join, behind which the list of tables goes on. */
  onJoin: boolean;
}

/** PostgreSQL manual, 4.1: E'' has escapes, dollar quotes have tags. */
const lexer = new RegExp(
  [
    /(?<space>\s+)/,
    /--(?<line>[^\n]*)/,
    /(?<block>\/\*)/,
    /(?<string>[eE]'(?:[^'\\]|\\.|'')*'|(?:[nNbBxX]|[uU]&)?'(?:[^']|'')*')/,
    /(?:[uU]&)?"(?<quoted>(?:[^"]|"")*)"/,
    /(?<dollar>\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)/,
    /(?<value>\$\d+|\d[\w.]*)/,
    /(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)/,
    /(?<symbol>[\s\S])/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

function tokens(sql: string): { tokens: Token[]; comments: string[] } {
  const found: Token[] = [];
  const comments: string[] = [];
  const from = new RegExp(lexer);
  for (let match = from.exec(sql); match; match = from.exec(sql)) {
    const { line, block, dollar, quoted, word, symbol, space } = match.groups ?? {};
    if (space !== undefined) continue;
    if (line !== undefined) comments.push(line.trim());
    else if (block !== undefined) {
      const end = endOfComment(sql, from.lastIndex);
      comments.push(sql.slice(from.lastIndex, end).replace(/\*\/$/, '').trim());
      from.lastIndex = end;
    } else if (dollar !== undefined) {
      const end = sql.indexOf(dollar, from.lastIndex);
      from.lastIndex = end < 0 ? sql.length : end + dollar.length;
      found.push({ kind: 'value', text: '' });
    } else if (quoted !== undefined) found.push({ kind: 'name', text: quoted.replaceAll('""', '"') });
    else if (word !== undefined) found.push({ kind: 'word', text: word.toLowerCase() });
    else if (symbol !== undefined) found.push({ kind: 'symbol', text: symbol });
    else found.push({ kind: 'value', text: '' });
  }
  return { tokens: found, comments };
}

/** Comments nest (PostgreSQL manual, 4.1.5). */
function endOfComment(sql: string, from: number): number {
  const marks = /\/\*|\*\//g;
  marks.lastIndex = from;
  let depth = 1;
  for (let match = marks.exec(sql); match; match = marks.exec(sql)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return sql.length;
}

/** Functions whose arguments are parted by FROM. */
const withFrom = new Set(['extract', 'substring', 'trim', 'overlay', 'position']);
const beginsOutput = new Set(
  'select returning group order set values limit offset window union intersect except for fetch'.split(' '),
);
const beginsCondition = new Set(['where', 'having']);
const beginsSource = new Set(['join', 'into']);
/** Words that stand before a table's name without being it. */
const beforeName = new Set(['only', 'lateral', 'table', 'as']);

export function readStatement(sql: string): StatementText {
  const { tokens: list, comments } = tokens(sql);
  return new Reader(list, comments).read();
}

class Reader {
  readonly #tokens: readonly Token[];
  readonly #comments: readonly string[];
  readonly #frames: Frame[] = [
    { clause: 'output', expecting: false, call: undefined, body: undefined, joined: false, onJoin: false },
  ];
  readonly #queries = new Set<string>();
  readonly #tables: string[][] = [];
  readonly #conditions = new Set<string>();
  readonly #names = new Set<string>();
  #at = 0;

  constructor(list: readonly Token[], comments: readonly string[]) {
    this.#tokens = list;
    this.#comments = comments;
  }

  read(): StatementText {
    for (; this.#at < this.#tokens.length; this.#at += 1) this.#step();
    return {
      verb: this.#word(0),
      comments: this.#comments,
      tables: this.#tables,
      conditions: this.#conditions,
      names: this.#names,
    };
  }

  get #frame(): Frame {
    return (
      this.#frames.at(-1) ?? {
        clause: 'output',
        expecting: false,
        call: undefined,
        body: undefined,
        joined: false,
        onJoin: false,
      }
    );
  }

  /** The unquoted word there, or '' where something else stands. */
  #word(at: number): string {
    const token = this.#tokens[at];
    return token?.kind === 'word' ? token.text : '';
  }

  #symbol(at: number): string {
    const token = this.#tokens[at];
    return token?.kind === 'symbol' ? token.text : '';
  }

  #step(): void {
    const token = this.#tokens[this.#at];
    if (!token || token.kind === 'value') return;
    if (token.kind === 'symbol') this.#take(token.text);
    else if (token.kind === 'name' || !this.#keyword(token.text)) this.#path();
  }

  #take(symbol: string): void {
    const frame = this.#frame;
    if (symbol === '(') this.#open();
    else if (symbol === ')') this.#close();
    else if (symbol === ',' && (frame.clause === 'source' || frame.onJoin)) {
      Object.assign(frame, { clause: 'source', expecting: true, onJoin: false });
    } else if (symbol === ';') Object.assign(frame, { clause: 'output', expecting: false });
  }

  #open(): void {
    const { clause, expecting } = this.#frame;
    const body = this.#bodyBegins();
    const call = this.#word(this.#at - 1) || undefined;
    // Behind a name in FROM: a function's arguments or an alias' columns, no list of tables.
    const isCall = clause === 'source' && !expecting;
    const inner = body !== undefined ? 'output' : isCall ? 'arguments' : clause;
    this.#frames.push({
      clause: inner,
      expecting: body === undefined && expecting,
      call,
      body,
      joined: false,
      onJoin: false,
    });
  }

  #close(): void {
    if (this.#frames.length === 1) return;
    const closed = this.#frames.pop();
    this.#frame.expecting = false;
    if (closed?.body !== undefined) this.#queries.add(closed.body);
  }

  /** `name [(columns)] AS [NOT] [MATERIALIZED] (`: the WITH query whose body opens here. */
  #bodyBegins(): string | undefined {
    let at = this.#at - 1;
    if (this.#word(at) === 'materialized') at -= 1;
    if (this.#word(at) === 'not') at -= 1;
    if (this.#word(at) !== 'as') return undefined;
    at -= 1;
    if (this.#symbol(at) === ')') {
      while (at > 0 && this.#symbol(at) !== '(') at -= 1;
      at -= 1;
    }
    const token = this.#tokens[at];
    if (!token || (token.kind !== 'word' && token.kind !== 'name')) return undefined;
    if (this.#names.has('recursive')) this.#queries.add(token.text);
    return token.text;
  }

  /** @returns false when the word is a name here */
  #keyword(word: string): boolean {
    const frame = this.#frame;
    const before = this.#word(this.#at - 1);
    const begin = (clause: Clause, expecting = false) => {
      Object.assign(frame, { clause, expecting, onJoin: word === 'on' || word === 'using' });
      return true;
    };
    if (this.#symbol(this.#at - 1) === '.' || this.#symbol(this.#at + 1) === '.') return false;
    if (word === 'from') return this.#from(frame, before) || begin('source', true);
    if (word === 'recursive') this.#names.add(word);
    if (word === 'join') frame.joined = true;
    if (beginsSource.has(word)) return begin('source', true);
    if (word === 'update')
      return begin(['for', 'key', 'do', 'on'].includes(before) ? 'output' : 'source', before === '');
    if (['copy', 'truncate', 'lock', 'table'].includes(word) && this.#at <= 1) return begin('source', true);
    if (word === 'using') {
      const columns = frame.joined && this.#symbol(this.#at + 1) === '(' && this.#word(this.#at + 2) !== 'select';
      return columns ? begin('condition') : begin('source', true);
    }
    if (word === 'on')
      return before === 'distinct' || begin(this.#word(this.#at + 1) === 'conflict' ? 'output' : 'condition');
    if (beginsOutput.has(word)) return begin('output');
    // FILTER (WHERE …) chooses what is counted, not what is read.
    if (beginsCondition.has(word)) return begin(frame.call === 'filter' ? 'output' : 'condition');
    return frame.expecting && beforeName.has(word);
  }

  /** FROM that begins no list of tables. */
  #from(frame: Frame, before: string): boolean {
    if (frame.call !== undefined && withFrom.has(frame.call)) return true;
    return before === 'distinct' && ['is', 'not'].includes(this.#word(this.#at - 2));
  }

  #path(): void {
    const path = [this.#tokens[this.#at]?.text ?? ''];
    while (this.#symbol(this.#at + 1) === '.' && ['word', 'name'].includes(this.#tokens[this.#at + 2]?.kind ?? '')) {
      path.push(this.#tokens[this.#at + 2]?.text ?? '');
      this.#at += 2;
    }
    for (const part of path) this.#names.add(part);
    const frame = this.#frame;
    const [last = ''] = path.slice(-1);
    if (frame.clause === 'condition') this.#conditions.add(last);
    if (frame.clause === 'source' && frame.expecting) this.#source(frame, path);
  }

  #source(frame: Frame, path: string[]): void {
    frame.expecting = false;
    const into = this.#word(this.#at - (path.length * 2 - 1)) === 'into';
    const copied = this.#word(0) === 'copy';
    // A function, not a table.
    if (this.#symbol(this.#at + 1) === '(' && !into && !copied) return;
    const [name = ''] = path;
    // A WITH query hides the table of its name, but for itself, unless it is recursive.
    const inside = !this.#names.has('recursive') && this.#frames.some(({ body }) => body === name);
    if (path.length > 1 || !this.#queries.has(name) || inside) this.#tables.push(path);
    if (into) frame.clause = 'condition';
    else if (copied) frame.clause = 'output';
  }
}
