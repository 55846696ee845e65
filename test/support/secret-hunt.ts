import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/**
 * Looks for secrets in all that a program says. Give each a value that nothing else has, feed it to the program, show here
 * whatever comes out, and ask at the end.
 */
export class SecretHunt {
  readonly #secrets: ReadonlyMap<string, readonly string[]>;
  readonly #found: string[] = [];
  #places = 0;
  #bytes = 0;

  /** @param secrets values by what they are; of PEM each line counts */
  constructor(secrets: Readonly<Record<string, string>>) {
    this.#secrets = new Map(Object.entries(secrets).map(([name, value]) => [name, formsOf(value)]));
  }

  /** @param where named in what {@link assertNothing} says */
  look(where: string, text: string): void {
    this.#places++;
    this.#bytes += text.length;
    for (const [name, forms] of this.#secrets) {
      const at = forms.map((form) => text.indexOf(form)).find((each) => each >= 0);
      // Around it, and not itself: what fails here is printed.
      if (at !== undefined)
        this.#found.push(`${name} in ${where}, behind ${JSON.stringify(text.slice(Math.max(0, at - 80), at))}`);
    }
  }

  lookInFile(path: string): void {
    this.look(path, readFileSync(path, 'utf8'));
  }

  /** What every user of a machine sees of a process. (Its environment only its own user does.) */
  lookAtArguments(pid: number): void {
    this.look(`arguments of process ${pid}`, readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @throws {AssertionError} with every place where one was, or where fewer places were looked at than `atLeast` */
  assertNothing(atLeast: number): void {
    assert.deepEqual(this.#found, []);
    assert.ok(this.#places >= atLeast, `${this.#places} places were looked at`);
  }
}

/** As it is, and as it comes in JSON, URLs, base64 and hexadecimal digits. */
function formsOf(value: string): readonly string[] {
  const lines = value.split('\n').filter((line) => line.length > 20 && !line.startsWith('-----'));
  const whole = value.includes('\n') ? lines : [value];
  return [
    ...new Set(
      whole.flatMap((each) => [
        each,
        JSON.stringify(each).slice(1, -1),
        encodeURIComponent(each),
        Buffer.from(each).toString('base64').replace(/=+$/, ''),
        Buffer.from(each).toString('hex'),
      ]),
    ),
  ];
}
