/** JSON with integers of any size as bigint; other numbers are numbers (`-0.0` keeps its sign), objects are Maps. */
export type LosslessJson = null | boolean | string | number | bigint | LosslessJson[] | Map<string, LosslessJson>;

/** Parses a whole text. Stricter than JSON.parse: a key may stand only once. @throws {SyntaxError} */
export function parseLossless(text: string): LosslessJson {
  const parser = new Parser(text);
  const value = parser.value();
  if (parser.at !== text.length) throw parser.error('there is more');
  return value;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** Where a string ends; what may stand in it JSON.parse knows. */
const STRING = /"(?:[^"\\]|\\.)*"/y;
const LITERALS: readonly (readonly [string, null | boolean])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
];

class Parser {
  at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  error(what: string): SyntaxError {
    return new SyntaxError(`${what} at ${this.at} of ${this.#text.slice(0, 2000)}`);
  }

  value(): LosslessJson {
    const char = this.#text[this.at];
    if (char === '{') return this.#object();
    if (char === '[') return this.#array();
    if (char === '"') return this.#string();
    for (const [word, literal] of LITERALS)
      if (this.#text.startsWith(word, this.at)) {
        this.at += word.length;
        return literal;
      }
    const number = this.#match(NUMBER);
    return /^-?\d+$/.test(number) ? BigInt(number) : Number(number);
  }

  #string(): string {
    return JSON.parse(this.#match(STRING)) as string;
  }

  #object(): Map<string, LosslessJson> {
    const object = new Map<string, LosslessJson>();
    this.at++;
    if (this.#take('}')) return object;
    do {
      const name = this.#string();
      if (!this.#take(':')) throw this.error('no colon');
      if (object.has(name)) throw this.error(`${name} stands twice`);
      object.set(name, this.value());
    } while (this.#take(','));
    if (!this.#take('}')) throw this.error('no closing brace');
    return object;
  }

  #array(): LosslessJson[] {
    const array: LosslessJson[] = [];
    this.at++;
    if (this.#take(']')) return array;
    do array.push(this.value());
    while (this.#take(','));
    if (!this.#take(']')) throw this.error('no closing bracket');
    return array;
  }

  #take(char: string): boolean {
    if (this.#text[this.at] !== char) return false;
    this.at++;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (!match) throw this.error('not JSON');
    this.at += match[0].length;
    return match[0];
  }
}
