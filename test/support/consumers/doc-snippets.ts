import { readFileSync } from 'node:fs';

const PAGE = new URL('../../../docs/consumers.md', import.meta.url);
/** A block that is run has its name in a comment above it, which a reader of the page does not see. */
const BLOCK = /<!-- run: (\S+) -->\n+```\w*\n([^]*?)\n```/g;

const blocks = new Map([...readFileSync(PAGE, 'utf8').matchAll(BLOCK)].map(([, name, text]) => [name!, text!]));

/**
 * A block of docs/consumers.md as its reader copies it, with what is his in the place of what stands on the page.
 * @param replacements what stands there → what is meant; each must stand there
 */
export function snippet(name: string, replacements: Readonly<Record<string, string>> = {}): string {
  const text = blocks.get(name);
  if (text === undefined) throw new Error(`docs/consumers.md has no block ${name}`);
  return Object.entries(replacements).reduce((done, [from, to]) => {
    if (!text.includes(from)) throw new Error(`block ${name} of docs/consumers.md does not say ${from}`);
    return done.replaceAll(from, () => to);
  }, text);
}

/** {@link snippet} of a `.properties` file, or of an object in JSON whose values are text. */
export function settings(name: string, replacements: Readonly<Record<string, string>> = {}): Record<string, string> {
  const text = snippet(name, replacements);
  if (text.startsWith('{')) return JSON.parse(text) as Record<string, string>;
  return Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}
