/**
 * JSON whose scalars stay the text that they are written in: nothing of a number is lost, and nothing is decoded that
 * nobody looks at. Objects are Maps by their decoded names.
 */
export type RawJson = string | readonly RawJson[] | RawObject;
export type RawObject = ReadonlyMap<string, RawJson>;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** What an object, array or text may nest at most: no record of ours comes near, and nobody makes us run out of stack. */
const MAX_DEPTH = 32;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** Parses a whole text. A name may stand only once in an object. @throws {SyntaxError}, which shows nothing of the text */
export function parseRawJson(text: string): RawJson {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.skipSpace();
  if (parser.at !== text.length) throw parser.error('there is more');
  return value;
}

/** The text that a raw string stands for. @throws {SyntaxError} */
export function decodeRawString(raw: string): string {
  if (!raw.includes('\\')) return raw.slice(1, -1);
  return JSON.parse(raw) as string;
}

/** What {@link parseRawJson} reads. */
export function formatRawJson(value: RawJson): string {
  if (typeof value === 'string') return value;
  if (!(value instanceof Map)) return `[${(value as readonly RawJson[]).map(formatRawJson).join()}]`;
  const members = [...(value as RawObject)].map(([name, member]) => `${JSON.stringify(name)}:${formatRawJson(member)}`);
  return `{${members.join()}}`;
}

class Parser {
  at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  error(what: string): SyntaxError {
    return new SyntaxError(`not JSON: ${what} at character ${this.at}`);
  }

  value(depth: number): RawJson {
    this.skipSpace();
    switch (this.#text.charCodeAt(this.at)) {
      case QUOTE:
        return this.#string();
      case 0x7b: // {
        return this.#object(depth + 1);
      case 0x5b: // [
        return this.#array(depth + 1);
      case 0x6e: // n
        return this.#word('null');
      case 0x74: // t
        return this.#word('true');
      case 0x66: // f
        return this.#word('false');
      default:
        return this.#number();
    }
  }

  skipSpace(): void {
    for (; ; this.at++) {
      const code = this.#text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  }

  /** With its quotes. By the next quote, so that no text is too long for a pattern. */
  #string(): string {
    const text = this.#text;
    const start = this.at;
    if (text.charCodeAt(start) !== QUOTE) throw this.error('no name');
    for (let from = start + 1; ;) {
      const end = text.indexOf('"', from);
      if (end < 0) throw this.error('a string without end');
      let escapes = 0;
      while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++;
      if (escapes % 2 === 0) {
        this.at = end + 1;
        return text.slice(start, end + 1);
      }
      from = end + 1;
    }
  }

  #object(depth: number): RawObject {
    if (depth > MAX_DEPTH) throw this.error('too deep');
    const object = new Map<string, RawJson>();
    this.at++;
    if (this.#take(0x7d)) return object;
    do {
      this.skipSpace();
      const name = decodeRawString(this.#string());
      if (!this.#take(0x3a)) throw this.error('no colon');
      if (object.has(name)) throw this.error('a name that stands twice');
      object.set(name, this.value(depth));
    } while (this.#take(0x2c));
    if (!this.#take(0x7d)) throw this.error('no closing brace');
    return object;
  }

  #array(depth: number): RawJson[] {
    if (depth > MAX_DEPTH) throw this.error('too deep');
    const array: RawJson[] = [];
    this.at++;
    if (this.#take(0x5d)) return array;
    do array.push(this.value(depth));
    while (this.#take(0x2c));
    if (!this.#take(0x5d)) throw this.error('no closing bracket');
    return array;
  }

  #word(word: string): string {
    if (!this.#text.startsWith(word, this.at)) throw this.error('no value');
    this.at += word.length;
    return word;
  }

  #number(): string {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.#text);
    if (!match) throw this.error('no value');
    this.at += match[0].length;
    return match[0];
  }

  #take(code: number): boolean {
    this.skipSpace();
    if (this.#text.charCodeAt(this.at) !== code) return false;
    this.at++;
    return true;
  }
}
