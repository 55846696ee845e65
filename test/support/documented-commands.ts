import { readdirSync, readFileSync } from 'node:fs';
import { codeBlocks } from './markdown.ts';
import { tabletView } from './memory-control-plane.ts';
import { commandsIn, type ShellCommand } from './shell-commands.ts';

const ROOT = new URL('../../', import.meta.url);
export const readPage = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const PAGES = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(new URL('docs', ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
/** In a sentence a command may be named without all that it takes, and its options by a part of their names. */
type Place = 'block' | 'sentence';

export interface DocumentedCommand extends ShellCommand {
  readonly where: string;
  readonly place: Place;
}

/** What a reader puts in himself. */
const MEANT: Readonly<Record<string, string>> = {
  '<stream>': 'orders',
  '<name>': 'orders',
  '<tablet>': tabletView().tabletId,
  '<file>': 'orders.json',
  '<file or folder>': 'streams/',
};

/** The stream that the pages speak of. */
export const EXAMPLE_STREAM = {
  name: 'orders',
  tables: ['shop.orders'],
  start: 'now',
  sink: { type: 'kafka', topic: 'cdc.{table}' },
};

/** Whether a command of spoor does more than ask the API once: it reads Kudu and sinks, waits for what is shipped, or has no end. */
export function isAtWork(args: readonly string[]): boolean {
  return (
    ['run', 'demo', 'verify', 'wal', 'doctor'].includes(args[0]!) || args.includes('--watch') || args.includes('--wait')
  );
}

/** Every command on the pages that begins with one of these words. */
export function commandsOf(programs: readonly string[]): readonly DocumentedCommand[] {
  return PAGES.flatMap((page) => {
    const text = readPage(page);
    const inBlocks = codeBlocks(text)
      .filter(({ info }) => info === 'sh')
      .flatMap(({ text: script, line }) =>
        commandsIn(script).map((command): DocumentedCommand => ({
          ...command,
          where: `${page}:${line}`,
          place: 'block',
        })),
      );
    const inSentences = [...text.replaceAll(/^```.*?^```$/gms, '').matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) =>
      commandsIn(withMeant(code!)).map((command): DocumentedCommand => ({
        ...command,
        where: `${page}: ${code!}`,
        place: 'sentence',
      })),
    );
    return [...inBlocks, ...inSentences].flatMap((found) => {
      const words = found.words.join(' ').startsWith('node dist/cli/main.js')
        ? ['spoor', ...found.words.slice(2)]
        : found.words;
      return programs.includes(words[0]!) && words.length > 1 ? [{ ...found, words }] : [];
    });
  });
}

function withMeant(code: string): string {
  return Object.entries(MEANT).reduce((done, [name, value]) => done.replaceAll(name, value), code);
}
