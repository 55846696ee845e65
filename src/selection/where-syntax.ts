/*
 * The text of a condition, as a tree. A small part of SQL: comparisons of a column with a literal, IN, BETWEEN, LIKE, IS
 * NULL, AND, OR, NOT and parentheses. What the names and literals mean is where.ts's to say, which knows the table.
 */

/** Where in the text something stands, from 1 on. */
interface Placed {
  readonly at: number;
}

export interface ColumnName extends Placed {
  readonly name: string;
}

/** A value as it is written: a number keeps its digits. */
export interface Literal extends Placed {
  readonly kind: 'text' | 'number' | 'bytes' | 'boolean';
  readonly text: string;
}

export type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>=';

export type Condition =
  | { readonly kind: 'and' | 'or'; readonly of: readonly [Condition, Condition] }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'compare'; readonly column: ColumnName; readonly by: Comparison; readonly with: Literal }
  | { readonly kind: 'in'; readonly column: ColumnName; readonly of: readonly Literal[] }
  | { readonly kind: 'like'; readonly column: ColumnName; readonly pattern: Literal }
  | { readonly kind: 'null'; readonly column: ColumnName };

/** The text is no condition; the message says where. */
export class WhereError extends Error {
  override readonly name = 'WhereError';

  constructor(message: string, at: number) {
    super(`character ${at}: ${message}`);
  }
}

/** What parentheses and NOT may nest at most. */
const MAX_DEPTH = 100;

interface Token extends Placed {
  readonly kind: 'word' | 'quoted' | 'text' | 'number' | 'bytes' | 'sign' | 'end';
  readonly text: string;
}

const TOKEN =
  /\s*(?:(?<bytes>[xX]'[^']*')|(?<word>[\p{L}_][\p{L}\p{N}_$]*)|(?<text>'(?:[^']|'')*')|(?<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)|(?<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?<sign><>|<=|>=|!=|[=<>(),+-]))/uy;
const COMPARISONS: ReadonlyMap<string, Comparison> = new Map([
  ['=', '='],
  ['!=', '!='],
  ['<>', '!='],
  ['<', '<'],
  ['<=', '<='],
  ['>', '>'],
  ['>=', '>='],
]);
/** With the sides changed over. */
const FLIPPED: Readonly<Record<Comparison, Comparison>> = {
  '=': '=',
  '!=': '!=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};
const KEYWORDS: ReadonlySet<string> = new Set([
  'AND',
  'OR',
  'NOT',
  'IN',
  'IS',
  'NULL',
  'LIKE',
  'BETWEEN',
  'TRUE',
  'FALSE',
]);

/** @throws {WhereError} */
export function parseCondition(text: string): Condition {
  return new Parser(tokensOf(text)).whole();
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < end;) {
    const from = TOKEN.lastIndex;
    const groups: Readonly<Record<string, string | undefined>> = TOKEN.exec(text)?.groups ?? {};
    const found = Object.entries(groups).find(([, part]) => part !== undefined);
    if (!found) {
      const at = from + /^\s*/.exec(text.slice(from))![0].length;
      const rest = text[at]!;
      const isOpen = rest === "'" || rest === '"' || rest === '`';
      throw new WhereError(
        isOpen ? `a ${rest} that is not closed` : `${JSON.stringify(rest)} means nothing here`,
        at + 1,
      );
    }
    const [kind, part] = found as [Token['kind'], string];
    tokens.push({ kind, text: part, at: TOKEN.lastIndex - part.length + 1 });
  }
  tokens.push({ kind: 'end', text: '', at: end + 1 });
  return tokens;
}

/** By precedence: OR, AND, NOT, then a comparison or parentheses. */
class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Condition {
    const condition = this.#or();
    if (this.#token.kind !== 'end') throw this.#unexpected('AND, OR or the end');
    return condition;
  }

  get #token(): Token {
    return this.#tokens[this.#next]!;
  }

  #or(): Condition {
    let condition = this.#and();
    while (this.#takeWord('OR')) condition = { kind: 'or', of: [condition, this.#and()] };
    return condition;
  }

  #and(): Condition {
    let condition = this.#not();
    while (this.#takeWord('AND')) condition = { kind: 'and', of: [condition, this.#not()] };
    return condition;
  }

  #not(): Condition {
    if (++this.#depth > MAX_DEPTH) throw new WhereError(`more than ${MAX_DEPTH} levels`, this.#token.at);
    const condition: Condition = this.#takeWord('NOT') ? { kind: 'not', of: this.#not() } : this.#primary();
    this.#depth--;
    return condition;
  }

  #primary(): Condition {
    if (this.#takeSign('(')) {
      const condition = this.#or();
      if (!this.#takeSign(')')) throw this.#unexpected('")"');
      return condition;
    }
    const flipped = this.#maybeLiteral();
    if (flipped) {
      const by = this.#comparison();
      if (!by) throw this.#unexpected('a comparison');
      return { kind: 'compare', column: this.#column(), by: FLIPPED[by], with: flipped };
    }
    return this.#predicate(this.#column());
  }

  #predicate(column: ColumnName): Condition {
    const by = this.#comparison();
    if (by) return { kind: 'compare', column, by, with: this.#literal() };
    if (this.#takeWord('IS')) {
      const isNot = this.#takeWord('NOT');
      if (!this.#takeWord('NULL')) throw this.#unexpected('NULL');
      return negated(isNot, { kind: 'null', column });
    }
    const isNot = this.#takeWord('NOT');
    if (this.#takeWord('IN')) return negated(isNot, { kind: 'in', column, of: this.#list() });
    if (this.#takeWord('LIKE')) return negated(isNot, { kind: 'like', column, pattern: this.#literal() });
    if (this.#takeWord('BETWEEN')) {
      const low: Condition = { kind: 'compare', column, by: '>=', with: this.#literal() };
      if (!this.#takeWord('AND')) throw this.#unexpected('AND');
      return negated(isNot, { kind: 'and', of: [low, { kind: 'compare', column, by: '<=', with: this.#literal() }] });
    }
    throw this.#unexpected(isNot ? 'IN, LIKE or BETWEEN' : 'a comparison, IS, IN, LIKE or BETWEEN');
  }

  #list(): Literal[] {
    if (!this.#takeSign('(')) throw this.#unexpected('"("');
    const literals: Literal[] = [];
    do literals.push(this.#literal());
    while (this.#takeSign(','));
    if (!this.#takeSign(')')) throw this.#unexpected('"," or ")"');
    return literals;
  }

  #column(): ColumnName {
    const { kind, text, at } = this.#token;
    if (kind === 'quoted') {
      this.#next++;
      const quote = text[0]!;
      return { name: text.slice(1, -1).replaceAll(quote + quote, quote), at };
    }
    if (kind !== 'word' || KEYWORDS.has(text.toUpperCase())) throw this.#unexpected('a column');
    this.#next++;
    return { name: text, at };
  }

  #literal(): Literal {
    const literal = this.#maybeLiteral();
    if (literal) return literal;
    if (this.#isWord('NULL')) throw new WhereError('nothing compares with NULL: use IS NULL', this.#token.at);
    throw this.#unexpected('a value');
  }

  #maybeLiteral(): Literal | null {
    const { kind, text, at } = this.#token;
    if (kind === 'text') return this.#took({ kind: 'text', text: text.slice(1, -1).replaceAll("''", "'"), at });
    if (kind === 'bytes') return this.#took({ kind: 'bytes', text: text.slice(2, -1), at });
    if (kind === 'number') return this.#took({ kind: 'number', text, at });
    if (this.#isWord('TRUE') || this.#isWord('FALSE'))
      return this.#took({ kind: 'boolean', text: text.toLowerCase(), at });
    if (kind !== 'sign' || (text !== '-' && text !== '+')) return null;
    const number = this.#tokens[this.#next + 1]!;
    if (number.kind !== 'number') return null;
    this.#next++;
    return this.#took({ kind: 'number', text: (text === '-' ? '-' : '') + number.text, at });
  }

  #took(literal: Literal): Literal {
    this.#next++;
    return literal;
  }

  #comparison(): Comparison | null {
    const by = this.#token.kind === 'sign' ? COMPARISONS.get(this.#token.text) : undefined;
    if (by) this.#next++;
    return by ?? null;
  }

  #isWord(word: string): boolean {
    return this.#token.kind === 'word' && this.#token.text.toUpperCase() === word;
  }

  #takeWord(word: string): boolean {
    const isIt = this.#isWord(word);
    if (isIt) this.#next++;
    return isIt;
  }

  #takeSign(sign: string): boolean {
    const isIt = this.#token.kind === 'sign' && this.#token.text === sign;
    if (isIt) this.#next++;
    return isIt;
  }

  #unexpected(wanted: string): WhereError {
    const { kind, text, at } = this.#token;
    return new WhereError(`${kind === 'end' ? 'the end' : JSON.stringify(text)} where ${wanted} is wanted`, at);
  }
}

function negated(isNot: boolean, condition: Condition): Condition {
  return isNot ? { kind: 'not', of: condition } : condition;
}
