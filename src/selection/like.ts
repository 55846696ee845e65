/** Whether the bytes of `text` from `from` to `to` match. */
export type LikeMatcher = (text: Uint8Array, from: number, to: number) => boolean;

/** In the place of a byte of a pattern. */
const ANY_CHARACTER = -1;
const ANY_CHARACTERS = -2;

/**
 * Compiles a pattern of LIKE: `%` stands for any characters, `_` for one, `\` takes the next one as it is. Works on UTF-8, in
 * which no character's bytes are part of another's. Takes no more steps than bytes of pattern times bytes of text.
 * @throws {RangeError} the pattern ends in the middle of an escape
 */
export function compileLike(pattern: string): LikeMatcher {
  const steps: number[] = [];
  for (let i = 0; i < pattern.length;) {
    let character = String.fromCodePoint(pattern.codePointAt(i)!);
    i += character.length;
    if (character === '%') steps.push(ANY_CHARACTERS);
    else if (character === '_') steps.push(ANY_CHARACTER);
    else {
      if (character === '\\') {
        if (i >= pattern.length)
          throw new RangeError('a pattern ends in "\\", which takes the next character as it is');
        character = String.fromCodePoint(pattern.codePointAt(i)!);
        i += character.length;
      }
      steps.push(...Buffer.from(character));
    }
  }
  return (text, from, to) => {
    let [p, n] = [0, from];
    let [star, starEnd] = [-1, from]; // the last one seen, and where what it stands for ends so far
    while (n < to) {
      const step = steps[p];
      if (step === ANY_CHARACTERS) [star, starEnd, p] = [p, n, p + 1];
      else if (step === ANY_CHARACTER) [p, n] = [p + 1, endOfCharacter(text, n, to)];
      else if (step === text[n]) [p, n] = [p + 1, n + 1];
      else if (star >= 0) {
        starEnd = endOfCharacter(text, starEnd, to);
        [p, n] = [star + 1, starEnd];
      } else return false;
    }
    while (steps[p] === ANY_CHARACTERS) p++;
    return p === steps.length;
  };
}

/** Where the character at `at` ends; what is no UTF-8 counts byte by byte, or with the character before it. */
export function endOfCharacter(text: Uint8Array, at: number, to: number): number {
  at++;
  while (at < to && (text[at]! & 0xc0) === 0x80) at++;
  return at;
}
