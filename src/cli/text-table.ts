/**
 * Lines of aligned columns, two spaces apart, headings in capitals. Numbers (and what counts as one, such as `-`
 * below a heading of numbers) are told by `right`: the indexes of columns that align to the right.
 */
export function renderTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<number> = new Set(),
): string {
  const all = [headings.map((heading) => heading.toUpperCase()), ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => displayWidth(row[column] ?? ''))));
  const pad = (cell: string, column: number) => {
    const spaces = ' '.repeat(widths[column]! - displayWidth(cell));
    return right.has(column) ? spaces + cell : cell + spaces;
  };
  return all.map((row) => `${row.map(pad).join('  ').trimEnd()}\n`).join('');
}

/** A table's name may hold anything; a terminal must not be driven by it. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Columns on a terminal, near enough: code points, combining marks left out. */
function displayWidth(text: string): number {
  return Array.from(text.replace(/\p{Mn}/gu, '')).length;
}
