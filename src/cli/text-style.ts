import type { CliContext, Screen } from './cli-context.ts';
import { displayWidth } from './text-table.ts';

/** What output fits that goes to no terminal, and a terminal that does not say how wide it is. */
const USUAL_COLUMNS = 80;
const USUAL_ROWS = 24;
/** Narrower, nothing can be read anyway. */
const LEAST_COLUMNS = 40;

const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;
export type Style = keyof typeof CODES;

/** Writes text in a style, where that is wanted. */
export type Paint = (style: Style, text: string) => string;

/** Colours on a terminal alone, and not with NO_COLOR (no-color.org). */
export function paintFor({ screen, env }: Pick<CliContext, 'screen' | 'env'>): Paint {
  const isPlain = (screen?.() ?? null) === null || (env['NO_COLOR'] ?? '') !== '';
  return (style, text) => (isPlain || text === '' ? text : `\x1b[${CODES[style]}m${text}\x1b[0m`);
}

/** How wide output may be. */
export function columnsOf({ screen }: Pick<CliContext, 'screen'>): number {
  return Math.max(LEAST_COLUMNS, screen?.()?.columns ?? USUAL_COLUMNS);
}

/** How text is laid out: as wide as it may be, and in which colours. */
export interface Layout {
  readonly columns: number;
  readonly paint: Paint;
}

/** Whole names and ids, however long, in no colour. */
export const WIDE: Layout = { columns: Infinity, paint: (_style, text) => text };

/** @param options.wide nothing is shortened */
export function layoutFor(context: Pick<CliContext, 'screen' | 'env'>, { wide = false }: { wide?: boolean }): Layout {
  return { columns: wide ? Infinity : columnsOf(context), paint: paintFor(context) };
}

/** Null for what is no terminal. */
export function screenOf(stream: {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}): Screen | null {
  if (stream.isTTY !== true) return null;
  return { columns: stream.columns || USUAL_COLUMNS, rows: stream.rows || USUAL_ROWS };
}

/** {@link wrap}, with all lines but the first indented. */
export function wrapIndented(text: string, columns: number, indent: number): string {
  if (columns === Infinity) return text;
  const begins = /^ */.exec(text)![0];
  const [first = '', ...rest] = wrap(text, columns - begins.length);
  const more = wrap(rest.join(' '), columns - indent);
  return [begins + first, ...more.map((line) => ' '.repeat(indent) + line)].join('\n');
}

/** Lines of at most so many columns; a word that is longer, such as a path, stays whole: it may be copied. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter((each) => each !== '')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && displayWidth(longer) > columns) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return line === '' ? lines : [...lines, line];
}
