/** How a table is made to fit. Columns are told by their indexes. */
export interface TableFit {
  /** How wide it may be. */
  readonly columns: number;
  /** Those whose cells may be cut, such as names and ids. */
  readonly shrinks?: readonly number[];
  /** Those that are left out where cutting is not enough, the first of them first. */
  readonly drops?: readonly number[];
  /** Wraps a cell of the body, padded, in what colours it. */
  readonly paint?: (cell: string, column: number, row: number) => string;
}

const GAP = 2;
/** A cell that is cut keeps so much: the first 8 digits tell tablets apart. */
const LEAST_WIDTH = 9;
const CUT = '…';

/**
 * Lines of aligned columns, two spaces apart, headings in capitals. Numbers (and what counts as one, such as `-`
 * below a heading of numbers) are told by `right`: the indexes of columns that align to the right.
 */
export function renderTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
  { columns, shrinks = [], drops = [], paint }: TableFit = { columns: Infinity },
): string {
  const all = [headings.map((heading) => heading.toUpperCase()), ...rows.map((row) => row.map(printable))];
  const natural = headings.map((_, column) => Math.max(...all.map((row) => displayWidth(row[column] ?? ''))));
  const widths = fitted(natural, columns, new Set(shrinks), drops);
  const shown = [...headings.keys()].filter((column) => widths[column] !== null);
  return all
    .map((row, number) => {
      const cells = shown.map((column, place) => {
        const cell = cut(row[column] ?? '', widths[column]!);
        const isLast = place === shown.length - 1;
        const spaces = ' '.repeat(isLast && !right.has(column) ? 0 : widths[column]! - displayWidth(cell));
        const painted = paint && number > 0 ? paint(cell, column, number - 1) : cell;
        return right.has(column) ? spaces + painted : painted + spaces;
      });
      return `${cells.join(' '.repeat(GAP)).trimEnd()}\n`;
    })
    .join('');
}

/** Widths that fit, as far as that can be; null for a column that is left out. */
function fitted(
  natural: readonly number[],
  columns: number,
  shrinks: ReadonlySet<number>,
  drops: readonly number[],
): readonly (number | null)[] {
  const widths: (number | null)[] = [...natural];
  const least = (column: number): number =>
    shrinks.has(column) ? Math.min(natural[column]!, LEAST_WIDTH) : natural[column]!;
  const excess = (): number => {
    const shown = widths.filter((width) => width !== null);
    return shown.reduce((sum, width) => sum + width, 0) + GAP * (shown.length - 1) - columns;
  };
  const reserve = (): number =>
    widths.reduce<number>((sum, width, column) => sum + (width === null ? 0 : width - least(column)), 0);
  for (const column of drops) if (excess() > reserve()) widths[column] = null;
  for (;;) {
    if (excess() <= 0) return widths;
    const widest = [...shrinks]
      .filter((column) => widths[column] !== null && widths[column]! > least(column))
      .sort((a, b) => widths[b]! - widths[a]!)[0];
    if (widest === undefined) return widths;
    widths[widest] = widths[widest]! - 1;
  }
}

/** With a sign that something is missing. */
function cut(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  return (
    Array.from(text)
      .slice(0, width - 1)
      .join('') + CUT
  );
}

/** A table's name may hold anything; a terminal must not be driven by it. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Columns on a terminal, near enough: code points, combining marks left out. */
export function displayWidth(text: string): number {
  return Array.from(text.replace(/\p{Mn}/gu, '')).length;
}
